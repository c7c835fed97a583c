//! Loading the append-only file: what a crash leaves is repaired, other damage is refused.

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use goredis::persist::aof::{Aof, Loader, Options};
use goredis::persist::files::RealFiles;
use support::aof::{load, load_with_keys, resp};

struct Bench {
    dir: tempfile::TempDir,
    options: Options,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().into(), Arc::new(RealFiles), Arc::new(|| ()));
        options.ring_size = 8 * 4096;
        Bench { dir, options }
    }

    /// An AOF of one increment with this content.
    fn with_incr(content: &[u8]) -> Bench {
        let bench = Bench::new();
        let manifest = b"file appendonly.aof.1.incr.aof seq 1 type i\n";
        bench.write("appendonly.aof.manifest", manifest);
        bench.write("appendonly.aof.1.incr.aof", content);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("appendonlydir").join(name)
    }

    fn incr(&self) -> Vec<u8> {
        fs::read(self.path("appendonly.aof.1.incr.aof")).unwrap()
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::create_dir_all(self.dir.path().join("appendonlydir")).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    fn load(&self) -> Result<(Vec<String>, Loader), String> {
        self.load_in_slices(1 << 20)
    }

    fn load_in_slices(&self, slice: u64) -> Result<(Vec<String>, Loader), String> {
        load(&self.options, slice)
    }

    fn error(&self) -> String {
        self.load().err().expect("this should not load")
    }
}

fn resp_all(commands: &[&str]) -> Vec<u8> {
    commands.iter().flat_map(|c| resp(c)).collect()
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    // A value may hold what looks like commands.
    let nested = "set n x\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n";
    let commands = ["set k v", "rpush list a b c", "set empty ", nested, "del k"];
    let whole = resp_all(&commands);
    let mut ends = vec![0];
    for command in commands {
        ends.push(ends[ends.len() - 1] + resp(command).len());
    }
    for cut in 0..=whole.len() {
        for slice in [1, 1 << 20] {
            let bench = Bench::with_incr(&whole[..cut]);
            let n = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(bench.load_in_slices(slice).unwrap().0, commands[..n], "cut at {cut}");
            assert_eq!(bench.incr(), whole[..ends[n]], "cut at {cut}");
        }
        let mut bench = Bench::with_incr(&whole[..cut]);
        bench.options.load_truncated = false;
        let result = bench.load().map(|(commands, _)| commands.len());
        if ends.contains(&cut) {
            result.unwrap();
        } else {
            let wanted = "Unexpected end of file reading the append only file";
            assert!(result.unwrap_err().contains(wanted), "cut at {cut}");
        }
        assert_eq!(bench.incr(), whole[..cut], "left alone");
    }
}

#[test]
fn a_torn_tail_of_zeros_is_cut() {
    let whole = resp_all(&["set k v", "set key value"]);
    let first = resp("set k v").len();
    for kept in first..whole.len() {
        for zeros in [1, 2, 5000, 2_000_000] {
            let mut bytes = whole[..kept].to_vec();
            bytes.resize(kept + zeros, 0);
            let bench = Bench::with_incr(&bytes);
            assert_eq!(bench.load().unwrap().0, ["set k v"], "{kept} and {zeros}");
            assert_eq!(bench.incr().len(), first);
        }
    }
    // Zeros with something behind them are damage.
    let error = Bench::with_incr(&[&whole[..], &[0; 100], &whole[..]].concat()).error();
    assert!(error.contains("Bad file format reading the append only file"), "{error}");
}

#[test]
fn an_unfinished_transaction_is_cut_at_its_multi() {
    let keep = resp_all(&["set k v", "MULTI", "set a 1", "EXEC"]);
    let torn = resp_all(&["multi", "set b 1", "set b 2"]);
    for cut in 1..=torn.len() {
        let bench = Bench::with_incr(&[&keep[..], &torn[..cut]].concat());
        bench.load().unwrap();
        assert_eq!(bench.incr(), keep, "cut at {cut}");
    }
    let mut bench = Bench::with_incr(&[&keep[..], &torn].concat());
    bench.options.load_truncated = false;
    assert!(bench.error().contains("Unexpected end of file reading the append only file"));
}

#[test]
fn damage_is_refused_with_its_place() {
    let ok = resp("set foo hello");
    let len = ok.len();
    let error = Bench::with_incr(&[&ok, &b"!!!"[..], &ok].concat()).error();
    assert!(error.contains("Bad file format reading the append only file"), "{error}");
    assert!(error.contains(&format!("unexpected byte at offset {len}")), "{error}");
    // A length that a flipped bit has made larger swallows what follows: that is not a torn tail.
    let bad = String::from_utf8(resp("set foo hellohello")).unwrap().replace("$10", "$90");
    let bytes = [&ok, bad.as_bytes(), &ok, &ok].concat();
    let bench = Bench::with_incr(&bytes);
    let error = bench.error();
    assert!(error.contains(&format!("command at offset {len} claims")), "{error}");
    assert!(error.contains(&format!("follows at offset {}", len + bad.len())), "{error}");
    assert_eq!(bench.incr(), bytes, "left alone");
    // A command that cannot be run.
    let error = Bench::with_incr(&resp_all(&["set a b", "bla foo"])).error();
    assert!(error.contains("Unknown command 'bla' reading the append only file"), "{error}");
    assert!(error.contains("offset 27"), "{error}");
}

#[test]
fn annotations_are_skipped_and_a_torn_one_is_cut() {
    let bytes =
        [&b"#TS:1628217470\r\n"[..], &resp("set a b"), b"#TS:1628217472\r\n#TS:16"].concat();
    let bench = Bench::with_incr(&bytes);
    assert_eq!(bench.load().unwrap().0, ["set a b"]);
    assert_eq!(bench.incr(), bytes[..bytes.len() - 6]);
}

#[test]
fn only_the_last_file_may_be_torn() {
    let bench = Bench::with_incr(&resp("set a b")[..20]);
    bench.write(
        "appendonly.aof.manifest",
        b"file appendonly.aof.1.incr.aof seq 1 type i\n\
          file appendonly.aof.2.incr.aof seq 2 type i\n",
    );
    bench.write("appendonly.aof.2.incr.aof", &resp("set c d"));
    let error = bench.error();
    assert!(error.contains("the truncated file is not the last file"), "{error}");
    assert_eq!(bench.incr().len(), 20);
}

/// Power was lost when the next file had been begun and nothing been written to it.
#[test]
fn a_file_before_empty_ones_may_be_torn() {
    let whole = resp_all(&["set a b", "set c d"]);
    let bench = Bench::with_incr(&whole[..whole.len() - 1]);
    bench.write(
        "appendonly.aof.manifest",
        b"file appendonly.aof.1.incr.aof seq 1 type i\n\
          file appendonly.aof.2.incr.aof seq 2 type i\n\
          file appendonly.aof.3.incr.aof seq 3 type i\n",
    );
    bench.write("appendonly.aof.2.incr.aof", b"");
    bench.write("appendonly.aof.3.incr.aof", b"");
    let (commands, loader) = bench.load().unwrap();
    assert_eq!(commands, ["set a b"]);
    assert_eq!(bench.incr(), resp("set a b"));
    let mut aof = Aof::start(&bench.options, loader.finish()).unwrap();
    aof.buffer().extend_from_slice(&resp("set e f"));
    aof.shutdown().unwrap();
    assert_eq!(bench.load().unwrap().0, ["set a b", "set e f"]);
    assert_eq!(fs::read(bench.path("appendonly.aof.3.incr.aof")).unwrap(), resp("set e f"));
}

#[test]
fn files_load_in_the_manifests_order_with_empty_ones_between() {
    let bench = Bench::new();
    bench.write(
        "appendonly.aof.manifest",
        b"file appendonly.aof.1.base.aof seq 1 type b newkey newvalue\n\
          file appendonly.aof.1.incr.aof seq 1 type i\n\
          file appendonly.aof.3.incr.aof seq 3 type i\n",
    );
    bench.write("appendonly.aof.1.base.aof", &resp("set k1 v1"));
    bench.write("appendonly.aof.1.incr.aof", b"");
    bench.write("appendonly.aof.3.incr.aof", &resp("set k3 v3"));
    let (commands, loader) = bench.load().unwrap();
    assert_eq!(commands, ["set k1 v1", "set k3 v3"]);
    let progress = loader.progress();
    assert_eq!((progress.loaded, progress.commands), (progress.total, 2));
    let mut aof = Aof::start(&bench.options, loader.finish()).unwrap();
    aof.buffer().extend_from_slice(&resp("set k4 v4"));
    aof.commit();
    aof.shutdown().unwrap();
    assert_eq!(bench.load().unwrap().0.len(), 3);
    let last = fs::read(bench.path("appendonly.aof.3.incr.aof")).unwrap();
    assert_eq!(last, resp_all(&["set k3 v3", "set k4 v4"]));
    fs::remove_file(bench.path("appendonly.aof.1.incr.aof")).unwrap();
    let wanted = "appendonly.aof.1.incr.aof length. stat: No such file or directory";
    assert!(bench.error().contains(wanted));
}

#[test]
fn a_large_value_is_read_in_pieces() {
    let value = "v".repeat(5 << 20);
    let commands = [format!("set k {value}"), "set k2 v2".to_string()];
    let bench = Bench::with_incr(&resp_all(&[&commands[0], &commands[1]]));
    assert!(bench.load().unwrap().0 == commands);
}

/// Many commands, more than are read at once, and how long they are.
fn many(count: usize) -> (Vec<String>, Vec<u8>) {
    let commands: Vec<String> =
        (0..count).map(|i| format!("set key:{i} {}", "v".repeat(i % 97))).collect();
    let bytes = commands.iter().flat_map(|command| resp(command)).collect();
    (commands, bytes)
}

#[test]
fn many_commands_come_in_order_in_slices_of_any_size() {
    let (commands, bytes) = many(20_000);
    assert!(bytes.len() > 1 << 20);
    let bench = Bench::with_incr(&bytes);
    for slice in [1, 1000, 100_000, u64::MAX] {
        let (loaded, loader) = bench.load_in_slices(slice).unwrap();
        assert!(loaded == commands, "{slice}");
        let progress = loader.progress();
        assert_eq!((progress.loaded, progress.commands), (progress.total, 20_000));
    }
}

#[test]
fn damage_far_behind_is_told_with_its_place() {
    let (commands, bytes) = many(20_000);
    let at = bytes.len();
    let error = Bench::with_incr(&[&bytes[..], b"!"].concat()).error();
    let wanted = format!("unexpected byte at offset {at}, in the command at offset {at}");
    assert!(error.contains(&wanted), "{error}");
    let bad = resp("bla foo");
    let error = Bench::with_incr(&[&bytes[..], &bad, &bytes].concat()).error();
    assert!(error.contains(&format!("(at offset {at})")), "{error}");
    // A torn tail, and a transaction that is open for longer than anything is read ahead.
    let bench = Bench::with_incr(&[&bytes[..], &bad[..bad.len() - 1]].concat());
    assert!(bench.load().unwrap().0 == commands);
    assert!(bench.incr() == bytes);
    let open = [&bytes[..], &resp("multi"), &bytes].concat();
    let bench = Bench::with_incr(&open);
    assert_eq!(bench.load().unwrap().0.len(), 40_001);
    assert!(bench.incr() == bytes);
}

#[test]
fn the_single_file_of_older_versions_is_taken_over() {
    let old = resp_all(&["set k1 v1", "set k2 v2"]);
    let interrupted = b"file appendonly.aof seq 1 type b\n";
    for manifest in [None, Some(interrupted)] {
        let bench = Bench::new();
        fs::write(bench.dir.path().join("appendonly.aof"), &old).unwrap();
        if let Some(manifest) = manifest {
            bench.write("appendonly.aof.manifest", manifest);
        }
        let (commands, loader) = bench.load().unwrap();
        assert_eq!(commands, ["set k1 v1", "set k2 v2"]);
        assert!(!bench.dir.path().join("appendonly.aof").exists());
        assert_eq!(fs::read(bench.path("appendonly.aof")).unwrap(), old);
        drop(Aof::start(&bench.options, loader.finish()).unwrap());
        assert_eq!(
            fs::read_to_string(bench.path("appendonly.aof.manifest")).unwrap(),
            "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
        );
    }
    // In both places: the one in the AOF directory counts, the other is left alone.
    let bench = Bench::new();
    fs::write(bench.dir.path().join("appendonly.aof"), &old).unwrap();
    bench.write("appendonly.aof.manifest", interrupted);
    bench.write("appendonly.aof", &resp("set k3 v3"));
    assert_eq!(bench.load().unwrap().0, ["set k3 v3"]);
    assert!(bench.dir.path().join("appendonly.aof").exists());
    // In neither.
    let bench = Bench::new();
    bench.write("appendonly.aof.manifest", interrupted);
    assert!(bench.error().contains("appendonly.aof length. stat: No such file or directory"));
}

#[test]
fn rdb_bases_are_loaded_before_the_commands_behind_them() {
    let empty = b"REDIS0010\xff\0\0\0\0\0\0\0\0";
    let data = b"REDIS0010\xfe\x01\xfb\x01\x00\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
    let bench = Bench::with_incr(&[&empty[..], &resp("set k v")].concat());
    assert_eq!(bench.load().unwrap().0, ["set k v"], "an old-style preamble");
    for slice in [1, 1 << 20] {
        let bench = Bench::with_incr(&[&data[..], &resp("set k v"), &resp("del k")].concat());
        let (commands, loader, keys) = load_with_keys(&bench.options, slice).unwrap();
        assert_eq!(commands, ["set k v", "del k"]);
        assert_eq!(keys.records(1).len(), 1);
        assert_eq!(loader.progress().loaded, loader.progress().total);
    }
    let error = Bench::with_incr(&empty[..12]).error();
    assert!(error.contains("AOF loading aborted: unexpected end of file"), "{error}");
    let error = Bench::with_incr(&data[..20]).error();
    assert!(error.contains("AOF loading aborted: unexpected end of file"), "{error}");
}

#[test]
fn a_bad_manifest_is_refused_in_the_words_redis_uses() {
    let bench = Bench::new();
    bench.write("appendonly.aof.manifest", b"");
    let wanted = "*** FATAL AOF MANIFEST FILE ERROR ***\nFound an empty AOF manifest";
    assert_eq!(bench.error(), wanted);
}

#[test]
fn history_is_deleted_at_start_unless_it_is_to_be_kept() {
    for auto_gc in [true, false] {
        let mut bench = Bench::with_incr(b"");
        bench.options.auto_gc = auto_gc;
        bench.write(
            "appendonly.aof.manifest",
            b"file appendonly.aof.1.base.aof seq 1 type h\n\
              file appendonly.aof.1.incr.aof seq 1 type i\n",
        );
        bench.write("appendonly.aof.1.base.aof", b"");
        let (_, loader) = bench.load().unwrap();
        drop(Aof::start(&bench.options, loader.finish()).unwrap());
        assert_eq!(bench.path("appendonly.aof.1.base.aof").exists(), !auto_gc);
        let manifest = fs::read_to_string(bench.path("appendonly.aof.manifest")).unwrap();
        assert_eq!(manifest.contains("type h"), !auto_gc);
    }
}
