//! A signature of the data: what DEBUG DIGEST and DIGEST-VALUE answer. Two servers with the same
//! keys and values have the same, however they keep them: that is what tests compare.
//!
//! Redis defines it (`debug.c`). Where order matters, data is mixed in: d = SHA1(d xor SHA1(data)).
//! Where it does not, data is added: d = d xor SHA1(data).

use super::record::View;
use super::{Keyspace, table::Records};
use crate::base::number::push_f64_17;
use crate::types::Type;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::stream::Stream;
use crate::types::string::Str;
use crate::types::zset::Zset;
use sha1::{Digest as _, Sha1};

/// 20 bytes, all zero at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    /// Of all databases. Looks at each key and value: it takes long.
    pub fn of_all(keys: &Keyspace) -> Digest {
        let mut all = Digest::default();
        for index in 0..keys.databases() {
            let records = keys.records(index);
            if !records.is_empty() {
                // As many as a file may say.
                all.mix(&(index as u32).to_be_bytes());
                all.add_records(records);
            }
        }
        all
    }

    /// Keys whose time has come count as long as they are there.
    fn add_records(&mut self, records: &Records) {
        for view in records.iter() {
            let mut one = Digest::default();
            one.mix(view.key());
            one.mix_value(&view);
            self.add(&one.0);
        }
    }

    /// Of one value and of whether it expires, not of its key.
    pub fn of_value(view: &View<'_>) -> Digest {
        let mut digest = Digest::default();
        digest.mix_value(view);
        digest
    }

    fn mix_value(&mut self, view: &View<'_>) {
        let value = view.value();
        self.mix(&number(value.kind()).to_be_bytes());
        if let Some(string) = Str::of(value) {
            string.with(|bytes| self.mix(bytes));
        } else if let Some(hash) = Hash::of(value) {
            for ((field, value), expire_at) in hash.with_times() {
                let mut pair = Digest::default();
                pair.mix(field);
                pair.mix(value);
                if expire_at.is_some() {
                    // Redis 7.4 does.
                    pair.add(b"!!hexpire!!");
                }
                self.add(&pair.0);
            }
        } else if let Some(zset) = Zset::of(value) {
            let mut text = Vec::new();
            for (member, score) in zset.iter() {
                let mut pair = Digest::default();
                pair.mix(member);
                text.clear();
                push_f64_17(&mut text, score);
                pair.mix(&text);
                self.add(&pair.0);
            }
        } else if let Some(set) = Set::of(value) {
            set.iter().for_each(|member| member.with_text(|text| self.add(text)));
        } else if let Some(list) = List::of(value) {
            list.for_each(|element| self.mix(element));
        } else if let Some(stream) = Stream::of(value) {
            for entry in stream.log.iter() {
                entry.id.with_separator(b'.', |id| self.mix(id));
                for (field, value) in entry.pairs() {
                    self.mix(field);
                    value.with(|bytes| self.mix(bytes));
                }
            }
        }
        if view.expire_at().is_some() {
            self.add(b"!!expire!!");
        }
    }

    fn add(&mut self, data: &[u8]) {
        let hash = Sha1::digest(data);
        self.0.iter_mut().zip(hash).for_each(|(byte, other)| *byte ^= other);
    }

    fn mix(&mut self, data: &[u8]) {
        self.add(data);
        self.0 = Sha1::digest(self.0).into();
    }

    /// 40 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Redis's number of the type.
fn number(kind: Type) -> u32 {
    match kind {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::Zset => 3,
        Type::Hash => 4,
        Type::Stream => 6,
    }
}
