//! Whether two servers said the same, as far as they have to.

use std::path::PathBuf;

use goredis::resp::read::Value;
use regex_lite::Regex;

use super::generate::Command;
use super::grammar::Check;
use crate::support::expect;

/// How far apart in time the servers may be, in milliseconds: a command reaches them one after
/// the other, and on a busy machine a batch can take its time.
const APART_MS: i64 = 5_000;
/// Numbers from here on are points of time in milliseconds.
const TIMES_FROM: i64 = 1_000_000_000_000;
/// Fields of XINFO that are times, tell of radix trees, or are only in 7.2.
const INFO_IGNORED: &[&str] =
    &["radix-tree-keys", "radix-tree-nodes", "idle", "inactive", "seen-time", "active-time"];

/// The replies that may differ, from a file of lines
/// `COMMAND | goredis's reply | redis-server's reply | reason`. The replies are patterns for
/// what [`expect::show`] shows; `*` stands for every command.
pub struct Differences {
    lines: Vec<(String, Regex, Regex)>,
}

impl Differences {
    pub fn load() -> Differences {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/differences");
        let text = std::fs::read_to_string(path).unwrap();
        let pattern = |text: &str| Regex::new(&format!("^(?s:{text})$")).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines = lines.map(|line| match line.split(" | ").collect::<Vec<_>>()[..] {
            [command, ours, theirs, reason] if !reason.trim().is_empty() => {
                (command.trim().to_lowercase(), pattern(ours.trim()), pattern(theirs.trim()))
            }
            _ => panic!("tests/fuzz/differences: not `command | ours | theirs | reason`: {line}"),
        });
        Differences { lines: lines.collect() }
    }

    fn allow(&self, command: &Command, ours: &Value, theirs: &Value) -> bool {
        let Ok(name) = std::str::from_utf8(&command.args[0]) else { return false };
        let name = name.to_lowercase();
        let mut fitting = self.lines.iter().filter(|line| line.0 == "*" || line.0 == name);
        let (ours, theirs) = (expect::show(ours), expect::show(theirs));
        fitting.any(|line| line.1.is_match(&ours) && line.2.is_match(&theirs))
    }

    /// Whether the reply is what the other server's lets one expect. `queued` are the commands
    /// that wait for this one, if it is EXEC.
    pub fn agree(
        &self,
        command: &Command,
        queued: &[Command],
        ours: &Value,
        theirs: &Value,
    ) -> bool {
        if let (Value::Array(ours), Value::Array(theirs)) = (ours, theirs)
            && command.args[0].eq_ignore_ascii_case(b"exec")
            && ours.len() == queued.len()
            && theirs.len() == queued.len()
        {
            let mut each = queued.iter().zip(ours.iter().zip(theirs));
            return each.all(|(command, (ours, theirs))| self.agree(command, &[], ours, theirs));
        }
        are_alike(command.check, ours, theirs) || self.allow(command, ours, theirs)
    }
}

pub fn are_alike(check: Check, ours: &Value, theirs: &Value) -> bool {
    if ours == theirs {
        return true;
    }
    if is_error(ours) || is_error(theirs) {
        return false;
    }
    match check {
        Check::Exact | Check::Spop | Check::Alone => false,
        Check::Kind => std::mem::discriminant(ours) == std::mem::discriminant(theirs),
        Check::Near => is_near(ours, theirs),
        Check::Shape => shape(ours) == shape(theirs),
        _ => canonical(check, ours) == canonical(check, theirs),
    }
}

pub fn is_error(value: &Value) -> bool {
    matches!(value, Value::Error(_))
}

fn is_near(ours: &Value, theirs: &Value) -> bool {
    let (Value::Int(ours), Value::Int(theirs)) = (ours, theirs) else { return false };
    // Negative ones say that there is no time; seconds are allowed as much as milliseconds are,
    // since the times in use differ by more than that.
    *ours >= 0 && *theirs >= 0 && ours.abs_diff(*theirs) <= APART_MS as u64
}

/// The value with one form for all that may stand for each other under this check.
pub fn canonical(check: Check, value: &Value) -> Value {
    match check {
        Check::Doubles => doubles(value),
        Check::Unordered => sorted(value.clone()),
        Check::UnorderedDoubles => sorted(doubles(value)),
        Check::Pairs => sorted(paired(value)),
        Check::Info => without_times(value),
        Check::Pending => without_idle(value),
        _ => value.clone(),
    }
}

fn map_items(value: &Value, change: impl Fn(&Value) -> Value) -> Value {
    let all = |values: &[Value]| values.iter().map(&change).collect();
    match value {
        Value::Array(values) => Value::Array(all(values)),
        Value::Set(values) => Value::Set(all(values)),
        Value::Push(values) => Value::Push(all(values)),
        Value::Map(pairs) => {
            Value::Map(pairs.iter().map(|(k, v)| (change(k), change(v))).collect())
        }
        other => other.clone(),
    }
}

/// Numbers in strings in the shortest way to write them.
fn doubles(value: &Value) -> Value {
    match value {
        Value::Bulk(bytes) => {
            let text = std::str::from_utf8(bytes).ok();
            let number: Option<f64> = text.and_then(|text| text.parse().ok());
            // A sum with 0 is one without the sign of -0.
            let shortest = |number: f64| Value::Bulk((number + 0.0).to_string().into_bytes());
            number.map_or(value.clone(), shortest)
        }
        // No NaN is equal to another.
        Value::Double(x) if x.is_nan() => Value::Simple(b"nan".to_vec()),
        other => map_items(other, doubles),
    }
}

fn sort(values: &mut [Value]) {
    values.sort_by_cached_key(|value| format!("{value:?}"));
}

/// The elements at the top in an order of our own.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut values) => {
            sort(&mut values);
            Value::Array(values)
        }
        Value::Set(mut values) => {
            sort(&mut values);
            Value::Set(values)
        }
        Value::Map(mut pairs) => {
            pairs.sort_by_cached_key(|pair| format!("{pair:?}"));
            Value::Map(pairs)
        }
        other => other,
    }
}

/// A flat array of keys and values as pairs.
fn paired(value: &Value) -> Value {
    match value {
        Value::Array(values) => {
            Value::Array(values.chunks(2).map(|pair| Value::Array(pair.to_vec())).collect())
        }
        other => other.clone(),
    }
}

fn shape(value: &Value) -> Value {
    match value {
        Value::Bulk(_) => Value::Bulk(Vec::new()),
        Value::Double(_) => Value::Double(0.0),
        Value::Int(_) => Value::Int(0),
        other => map_items(other, shape),
    }
}

fn is_ignored(name: &Value) -> bool {
    let name = name.bytes().unwrap_or_default();
    INFO_IGNORED.iter().any(|ignored| ignored.as_bytes() == name)
}

fn without_times(value: &Value) -> Value {
    match value {
        Value::Int(n) if *n >= TIMES_FROM => Value::Int(0),
        Value::Array(values) if values.len().is_multiple_of(2) => {
            let pairs = values.chunks(2).filter(|pair| !is_ignored(&pair[0]));
            Value::Array(pairs.flatten().map(without_times).collect())
        }
        Value::Map(pairs) => {
            let pairs = pairs.iter().filter(|(name, _)| !is_ignored(name));
            Value::Map(pairs.map(|(k, v)| (k.clone(), without_times(v))).collect())
        }
        other => map_items(other, without_times),
    }
}

/// Entries of an id, a consumer, the idle time and a count.
fn without_idle(value: &Value) -> Value {
    map_items(value, |entry| match entry {
        Value::Array(parts) if parts.len() == 4 => {
            let mut parts = parts.clone();
            parts[2] = Value::Null;
            Value::Array(parts)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn list(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    #[test]
    fn what_may_differ_does_not_hide_what_may_not() {
        let cases = [
            (Check::Exact, bulk("1.0"), bulk("1"), false),
            (Check::Doubles, bulk("0.1"), bulk("0.10000000000000001"), true),
            (Check::Doubles, bulk("0.1"), bulk("0.2"), false),
            (Check::Doubles, bulk("-0"), bulk("0"), true),
            (Check::Doubles, Value::Double(f64::NAN), Value::Double(f64::NAN), true),
            (Check::Unordered, list(&["a", "b"]), list(&["b", "a"]), true),
            (Check::Unordered, list(&["a", "a"]), list(&["a", "b"]), false),
            (Check::UnorderedDoubles, list(&["1.0", "b"]), list(&["b", "1"]), true),
            (Check::Pairs, list(&["a", "1", "b", "2"]), list(&["b", "2", "a", "1"]), true),
            (Check::Pairs, list(&["a", "1", "b", "2"]), list(&["b", "1", "a", "2"]), false),
            (Check::Shape, list(&["a", "b"]), list(&["c", "a"]), true),
            (Check::Shape, list(&["a"]), list(&["c", "a"]), false),
            (Check::Shape, Value::NullBulk, bulk(""), false),
            (Check::Kind, list(&["a"]), list(&[]), true),
            (Check::Kind, list(&["a"]), bulk("a"), false),
            (Check::Near, Value::Int(70_000), Value::Int(70_001), true),
            (Check::Near, Value::Int(70_000), Value::Int(79_001), false),
            (Check::Near, Value::Int(-1), Value::Int(-2), false),
            (Check::Info, list(&["idle", "5", "x", "1"]), list(&["x", "1"]), true),
            (Check::Info, list(&["length", "5"]), list(&["length", "6"]), false),
            (Check::Kind, Value::Error(b"ERR a".to_vec()), Value::Error(b"ERR b".to_vec()), false),
        ];
        for (check, ours, theirs, expected) in cases {
            assert_eq!(are_alike(check, &ours, &theirs), expected, "{check:?} {ours:?} {theirs:?}");
        }
    }
}
