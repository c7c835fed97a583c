//! What happens to files: bits, lengths, ends and pieces of them; and to commands, arguments.

use goredis::base::rng::Rng;
use goredis::resp::parse::Span;

use super::case::{Case, Form, form, seal};

/// Takes one of them.
fn one<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.index(of.len())]
}

/// Damages one or two files of a case; `other` is another case of its kind, which pieces may come
/// from. In most cases the checksums are made right, so that what is behind them is reached.
pub fn damage(rng: &mut Rng, case: &mut Case, other: &Case) {
    // Half of the cases have a single wound, which more of them survive.
    let (files, wounds) = if rng.index(2) == 0 { (1, 1) } else { (2, 3) };
    for _ in 0..1 + rng.index(files) {
        if case.files.is_empty() {
            return;
        }
        let at = rng.index(case.files.len());
        let (name, bytes) = &mut case.files[at];
        let form = form(name);
        let donor = other.files.iter().find(|(name, _)| self::form(name) == form);
        let donor = donor.map_or(&[][..], |(_, bytes)| &bytes[..]);
        for _ in 0..1 + rng.index(wounds) {
            damage_bytes(rng, form, bytes, donor);
        }
        if rng.index(8) > 0 {
            seal(name, bytes);
        }
    }
    // A file that is missing, or the same again under another name.
    match rng.index(60) {
        0 => {
            case.files.remove(rng.index(case.files.len()));
        }
        1 => {
            let from = rng.index(case.files.len());
            let to = rng.index(case.files.len());
            case.files[to].1 = case.files[from].1.clone();
        }
        _ => {}
    }
}

fn damage_bytes(rng: &mut Rng, form: Form, bytes: &mut Vec<u8>, donor: &[u8]) {
    let by_form = rng.index(3) > 0;
    match form {
        Form::Commands if by_form && damage_commands(rng, bytes) => {}
        Form::Manifest if by_form => damage_manifest(rng, bytes),
        Form::Rdb | Form::Payload if by_form => damage_lengths(rng, bytes),
        Form::Ring if by_form => damage_ring(rng, bytes),
        _ => damage_blindly(rng, bytes, donor),
    }
}

/// A place in the bytes: anywhere, or where there is more to be broken: near the front, near the
/// end.
fn place(rng: &mut Rng, len: usize) -> usize {
    let len = len.max(1);
    match rng.index(6) {
        0 => rng.index(len.min(40)),
        1 => len - 1 - rng.index(len.min(30)),
        _ => rng.index(len),
    }
}

fn damage_blindly(rng: &mut Rng, bytes: &mut Vec<u8>, donor: &[u8]) {
    let len = bytes.len();
    if len == 0 {
        bytes.extend_from_slice(&donor[..donor.len().min(100)]);
        return;
    }
    let at = place(rng, len);
    let run = (1 + rng.index(12)).min(len - at);
    match rng.index(12) {
        0 | 1 => bytes[at] ^= 1 << rng.index(8),
        2 => bytes[at] = rng.below(256) as u8,
        3 => bytes[at] = *one(rng, &[0, 1, 0x3F, 0x7F, 0x80, 0x81, 0xC3, 0xF0, 0xF4, 0xFE, 0xFF]),
        4 => bytes[at..at + run].fill(*one(rng, &[0, 0xFF, 0x7F, 0x80])),
        5 => bytes[at..at + run].iter_mut().for_each(|byte| *byte = rng.below(256) as u8),
        6 => bytes.truncate(at),
        7 => drop(bytes.drain(at..at + run)),
        8 => {
            let piece = bytes[at..(at + 1 + rng.index(200)).min(len)].to_vec();
            let to = place(rng, len);
            bytes.splice(to..to, piece);
        }
        9 => {
            let zeros = rng.index((len - at).min(5000)) + 1;
            bytes[at..at + zeros].fill(0);
        }
        10 => bytes.resize(len + rng.index(5000), *one(rng, &[0, 0xFF, b'*'])),
        _ => splice(rng, bytes, donor),
    }
}

/// The front of one file and the end of another; or a piece of the other in the midst.
fn splice(rng: &mut Rng, bytes: &mut Vec<u8>, donor: &[u8]) {
    if donor.is_empty() {
        return;
    }
    let (to, from) = (place(rng, bytes.len()), place(rng, donor.len()));
    if rng.index(2) == 0 {
        bytes.truncate(to);
        bytes.extend_from_slice(&donor[from..]);
    } else {
        let end = (from + 1 + rng.index(400)).min(donor.len());
        bytes.splice(to..to, donor[from..end].iter().copied());
    }
}

/// Numbers that lengths and counts are least likely to be checked against.
fn extreme(rng: &mut Rng) -> u64 {
    match rng.index(4) {
        0 => *one(rng, &[u64::MAX, i64::MAX as u64, i64::MIN as u64, 1 << 62, 0]),
        1 => *one(rng, &[u32::MAX.into(), i32::MAX as u64, 1 << 31, 1 << 30, 1 << 32]),
        2 => (1u64 << rng.index(64)).wrapping_add(rng.below(3)).wrapping_sub(1),
        _ => rng.below(1 << 17),
    }
}

/// Puts a length in one of the forms that RDB files and packed values have, or a double.
fn damage_lengths(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = place(rng, bytes.len());
    let number = extreme(rng);
    let four = number.min(u32::MAX.into()) as u32;
    let text = match rng.index(9) {
        0 => vec![0x80].into_iter().chain(four.to_be_bytes()).collect(),
        1 => vec![0x81].into_iter().chain(number.to_be_bytes()).collect(),
        2 => vec![0x40 | (number >> 8) as u8 & 0x3F, number as u8],
        3 => four.to_le_bytes().to_vec(),
        4 => (number as u16).to_le_bytes().to_vec(),
        5 => number.to_le_bytes().to_vec(),
        6 => number.to_be_bytes().to_vec(),
        7 => {
            let double = [f64::NAN, f64::INFINITY, -0.0, 5e-324, f64::MAX, -f64::NAN];
            one(rng, &double).to_le_bytes().to_vec()
        }
        // A string that is compressed: its two lengths.
        _ => [&[0xC3, 0x80][..], &four.to_be_bytes(), &[0x81], &number.to_be_bytes()].concat(),
    };
    let overwritten = match rng.index(3) {
        0 => 0,
        1 => 1,
        _ => text.len(),
    };
    let end = (at + overwritten).min(bytes.len());
    bytes.splice(at..end, text);
}

fn damage_ring(rng: &mut Rng, bytes: &mut [u8]) {
    if bytes.len() < 8192 {
        return;
    }
    // Words of the header, of segments' headers, and of their indexes.
    let segment = (bytes.len() - 4096) / 8;
    let header = 4096 + segment * (1 + rng.index(8)) - 80;
    let at = match rng.index(4) {
        0 => 8 * rng.index(9),
        1 | 2 => header + 8 * rng.index(10),
        _ => header - 8 * (1 + rng.index(12)),
    };
    let word = match rng.index(3) {
        0 => extreme(rng),
        1 => rng.below(4096),
        _ => {
            let old = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            old ^ 1 << rng.index(64)
        }
    };
    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
}

fn damage_manifest(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    if lines.is_empty() {
        return;
    }
    let at = rng.index(lines.len());
    let mut words: Vec<String> = lines[at].split(' ').map(String::from).collect();
    let word = rng.index(words.len());
    match rng.index(6) {
        0 => words[word] = (extreme(rng) as i64).to_string(),
        1 => {
            let odd = ["b", "h", "i", "\"\"", "\"\\x00\"", "'", "..", ".", "file", "seq", "-1"];
            words[word] = one(rng, &odd).to_string();
        }
        2 => words[word] = "x".repeat(1 + rng.index(1100)),
        3 => drop(words.remove(word)),
        4 => {
            let line = lines[at].clone();
            lines.push(line);
        }
        _ => {
            let other = rng.index(lines.len());
            lines.swap(at, other);
        }
    }
    if at < lines.len() {
        lines[at] = words.join(" ");
    }
    *bytes = (lines.join("\n") + "\n").into_bytes();
}

type Command = Vec<Vec<u8>>;

/// The commands that bytes are, with what leads to them if that is in another form.
fn parse(bytes: &[u8]) -> Option<(Vec<u8>, Vec<Command>)> {
    let start = match bytes.first()? {
        b'*' | b'#' => 0,
        _ => return None,
    };
    let mut commands = Vec::new();
    let mut at = start;
    while at < bytes.len() {
        let (command, len) = parse_one(&bytes[at..])?;
        commands.push(command);
        at += len;
    }
    (!commands.is_empty()).then(|| (bytes[..start].to_vec(), commands))
}

fn parse_one(bytes: &[u8]) -> Option<(Command, usize)> {
    let line = |at: usize, sign: u8| -> Option<(usize, usize)> {
        let rest = bytes.get(at..)?;
        let end = memchr::memchr(b'\n', rest)?;
        let digits = rest.strip_prefix(&[sign])?.get(..end.checked_sub(2)?)?;
        Some((std::str::from_utf8(digits).ok()?.parse().ok()?, at + end + 1))
    };
    let (count, mut at) = line(0, b'*')?;
    let mut command = Vec::new();
    for _ in 0..count {
        let (len, start) = line(at, b'$')?;
        let span = Span { start, len };
        command.push(bytes.get(span.start..span.start.checked_add(span.len)?)?.to_vec());
        at = start + len + 2;
    }
    Some((command, at))
}

pub fn write(commands: &[Command], out: &mut Vec<u8>) {
    for command in commands {
        out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
        for word in command {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Commands that do not belong into such a file, or where they are put.
const STRAY: &[&str] = &[
    "MULTI",
    "EXEC",
    "DISCARD",
    "SELECT 99",
    "SELECT -1",
    "SELECT 3",
    "WATCH k:str:0",
    "SUBSCRIBE a",
    "PSUBSCRIBE *",
    "SSUBSCRIBE a",
    "MONITOR",
    "CLIENT REPLY OFF",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON BCAST",
    "CLIENT KILL ID 0",
    "CLIENT PAUSE 100000",
    "CLIENT LIST",
    "CLIENT NO-EVICT ON",
    "HELLO 3",
    "AUTH a b",
    "ACL SETUSER default off",
    "ACL LOG",
    "RESET",
    "QUIT",
    "BLPOP k:list:0 0",
    "BLMPOP 0 1 k:none:1 LEFT",
    "BZPOPMIN k:none:1 0",
    "XREAD BLOCK 0 STREAMS k:none:1 $",
    "XREADGROUP GROUP g1 alice BLOCK 0 STREAMS k:stream:0 >",
    "WAIT 1 0",
    "WAITAOF 1 0 0",
    "BGSAVE",
    "SAVE",
    "BGREWRITEAOF",
    "LASTSAVE",
    "FLUSHALL",
    "FLUSHALL ASYNC",
    "SWAPDB 0 1",
    "SWAPDB 0 9999",
    "INFO everything",
    "CONFIG SET hash-max-listpack-entries 1",
    "CONFIG SET maxmemory 1",
    "CONFIG SET appendonly no",
    "CONFIG REWRITE",
    "COMMAND DOCS",
    "DEBUG RELOAD",
    "DEBUG LOADAOF",
    "DEBUG JMAP",
    "DEBUG OBJECT k:list:0",
    "DEBUG SET-ACTIVE-EXPIRE 0",
    "MEMORY DOCTOR",
    "LATENCY DOCTOR",
    "SLOWLOG GET",
    "SLOWLOG RESET",
    "REPLICAOF localhost 1",
    "SHUTDOWN NOSAVE",
    "PING",
    "PUBLISH a b",
    "OBJECT FREQ k:str:0",
    "SCRIPT FLUSH",
    "FUNCTION LOAD x",
    "EVAL x 0",
    "RANDOMKEY",
    "SORT k:list:0 BY nosort STORE k:list:1",
    "SETRANGE k:str:0 1000000 x",
    "SETBIT k:str:0 8000000 1",
    "SETRANGE k:str:0 4611686018427387904 x",
    "SETBIT k:str:0 9223372036854775807 1",
    "BITFIELD k:str:0 SET u8 9223372036854775700 1",
    "MIGRATE 127.0.0.1 1 k:str:0 0 100",
    "RESTORE k:str:0 0 x REPLACE",
    "PEXPIREAT k:str:0 9223372036854775807",
    "XADD k:stream:0 18446744073709551615-18446744073709551615 a b",
    "XSETID k:stream:0 18446744073709551615-18446744073709551615",
    "LTRIM k:list:0 -9223372036854775808 9223372036854775807",
    "HPEXPIREAT k:hash:0 9223372036854775807 FIELDS 1 f1",
];

fn damage_commands(rng: &mut Rng, bytes: &mut Vec<u8>) -> bool {
    let Some((mut out, mut commands)) = parse(bytes) else { return false };
    let at = rng.index(commands.len());
    let word = rng.index(commands[at].len().max(1));
    match rng.index(12) {
        0 => drop(commands.remove(at)),
        1 => {
            let command = commands[at].clone();
            let to = rng.index(commands.len());
            commands.insert(to, command);
        }
        2 => {
            let other = rng.index(commands.len());
            commands.swap(at, other);
        }
        3..6 => {
            let stray = one(rng, STRAY).split(' ').map(|word| word.as_bytes().to_vec());
            commands.insert(at, stray.collect());
        }
        6 => {
            let number = extreme(rng);
            let number = if rng.index(2) == 0 { number.to_string() } else { format!("-{number}") };
            set(&mut commands[at], word, number.into_bytes());
        }
        7 => {
            // A word of another command.
            let other = rng.index(commands.len());
            let from = rng.index(commands[other].len().max(1));
            let taken = commands[other].get(from).cloned().unwrap_or_default();
            set(&mut commands[at], word, taken);
        }
        8 => {
            if word < commands[at].len() {
                commands[at].remove(word);
            }
        }
        9 => {
            let odd: [&[u8]; 6] =
                [b"", b"nan", b"1e400", b"\x00\xff", b"18446744073709551615-1", b"*"];
            let odd = one(rng, &odd).to_vec();
            set(&mut commands[at], word, odd);
        }
        _ => return damage_header(rng, bytes),
    }
    commands.retain(|command| !command.is_empty());
    write(&commands, &mut out);
    *bytes = out;
    true
}

fn set(command: &mut Command, word: usize, text: Vec<u8>) {
    if let Some(place) = command.get_mut(word) {
        *place = text;
    }
}

/// Another number in one of the lines that begin with `*` or `$`.
fn damage_header(rng: &mut Rng, bytes: &mut Vec<u8>) -> bool {
    let places: Vec<usize> = memchr::memchr2_iter(b'*', b'$', bytes).collect();
    if places.is_empty() {
        return false;
    }
    let at = *one(rng, &places) + 1;
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match rng.index(4) {
        0 => format!("-{}", extreme(rng)),
        1 => rng.below(100).to_string(),
        _ => extreme(rng).to_string(),
    };
    bytes.splice(at..at + digits, number.into_bytes());
    true
}
