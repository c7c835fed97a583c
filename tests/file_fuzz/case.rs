//! A case: files as a server may find them, and how they come to be right in their checksums.

use std::fs;
use std::path::{Path, PathBuf};

use goredis::base::crc64::crc64;

use super::ring;

/// What is done with the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A server without an append-only file loads `dump.rdb`.
    Rdb,
    /// A server with one loads what is in `appendonlydir`.
    Aof,
    /// RESTORE of what is in `payload`.
    Payload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub kind: Kind,
    /// Of the commands behind the load, and of the configuration.
    pub seed: u64,
    /// Names within the server's directory, and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

pub const RDB: &str = "dump.rdb";
pub const PAYLOAD: &str = "payload";

/// What bytes are a file of; by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Rdb,
    Payload,
    Commands,
    Manifest,
    Ring,
}

pub fn form(name: &str) -> Form {
    match name {
        PAYLOAD => Form::Payload,
        name if name.ends_with(".rdb") => Form::Rdb,
        name if name.ends_with(".manifest") => Form::Manifest,
        name if name.ends_with(".ring") => Form::Ring,
        _ => Form::Commands,
    }
}

/// Makes the checksums of a file right, as far as there are any.
pub fn seal(name: &str, bytes: &mut [u8]) {
    match form(name) {
        Form::Rdb | Form::Payload => {
            if let Some(at) = bytes.len().checked_sub(8) {
                let sum = crc64(0, &bytes[..at]);
                bytes[at..].copy_from_slice(&sum.to_le_bytes());
            }
        }
        Form::Ring => ring::seal(bytes),
        Form::Commands | Form::Manifest => {}
    }
}

impl Case {
    /// Bytes of all files.
    pub fn len(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Rdb => "rdb",
            Kind::Aof => "aof",
            Kind::Payload => "payload",
        };
        let mut out = format!("{kind} {}\n", self.seed).into_bytes();
        for (name, bytes) in &self.files {
            out.extend_from_slice(format!("{name} {}\n", bytes.len()).as_bytes());
            out.extend_from_slice(bytes);
            out.push(b'\n');
        }
        out
    }

    /// # Panics
    /// If the bytes are no case.
    pub fn decode(bytes: &[u8]) -> Case {
        let mut cases = Case::decode_all(bytes);
        assert_eq!(cases.len(), 1);
        cases.remove(0)
    }

    /// Several, one behind the other.
    ///
    /// # Panics
    /// If the bytes are no cases.
    pub fn decode_all(bytes: &[u8]) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = rest.iter().position(|b| *b == b'\n').expect("a line");
            let line = std::str::from_utf8(&rest[..end]).expect("a line of text");
            rest = &rest[end + 1..];
            let (first, number) = line.rsplit_once(' ').expect("two words");
            let number: u64 = number.parse().expect("a number");
            let kind = match first {
                "rdb" => Some(Kind::Rdb),
                "aof" => Some(Kind::Aof),
                "payload" if !cases.last().is_some_and(Case::lacks_payload) => Some(Kind::Payload),
                _ => None,
            };
            if let Some(kind) = kind {
                cases.push(Case { kind, seed: number, files: Vec::new() });
                continue;
            }
            let (content, behind) = rest.split_at(number as usize);
            let files = &mut cases.last_mut().expect("a case before its files").files;
            files.push((first.to_string(), content.to_vec()));
            rest = &behind[1..];
        }
        cases
    }

    fn lacks_payload(&self) -> bool {
        self.kind == Kind::Payload && self.files.is_empty()
    }

    pub fn read(path: &Path) -> Case {
        Case::decode(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// Puts the files into a directory.
    pub fn lay_out(&self, dir: &Path) {
        for (name, bytes) in &self.files {
            let path: PathBuf = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn cases_come_back() {
    let aof = Case {
        kind: Kind::Aof,
        seed: 7,
        files: vec![("a/b c".into(), b"x\ny".to_vec()), ("empty".into(), Vec::new())],
    };
    let payload = Case { kind: Kind::Payload, seed: 8, files: vec![(PAYLOAD.into(), vec![0, 10])] };
    assert_eq!(Case::decode(&aof.encode()), aof);
    let both = [aof.encode(), payload.encode(), payload.encode()].concat();
    assert_eq!(Case::decode_all(&both), [aof, payload.clone(), payload]);
}
