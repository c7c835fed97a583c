//! Values of several words: save points, output buffer limits, event classes and the like. As
//! [`super::values`], it knows no directive by name.

use super::values::{ClientMemory, Input, Kind, Refusal, Unit, Value, WRONG_NUMBER, not_one_of};
use crate::base::args;
use crate::store::event::class;

/// A snapshot is due when there were `changes` within `seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: u64,
    pub changes: u64,
}

impl Value for Vec<SavePoint> {
    /// Lines of a configuration file add up, the first one instead of the defaults; a lone empty
    /// word takes away what there is.
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        let reset = matches!(input.words, [word] if word.is_empty());
        let words = if reset { &[] } else { input.words };
        let pairs = words.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err("Invalid save parameters".into());
        }
        let points: Option<Vec<_>> = pairs.map(read_save_point).collect();
        let points = points.ok_or("Invalid save parameters")?;
        if reset || !input.again {
            self.clear();
        }
        self.extend(points);
        Ok(())
    }

    fn show(&self, kind: &Kind) -> Vec<u8> {
        if self.is_empty() { Vec::new() } else { self.lines(kind).join(&b' ') }
    }

    fn lines(&self, _: &Kind) -> Vec<Vec<u8>> {
        if self.is_empty() {
            return vec![b"\"\"".to_vec()];
        }
        let line = |point: &SavePoint| format!("{} {}", point.seconds, point.changes).into_bytes();
        self.iter().map(line).collect()
    }
}

fn read_save_point(pair: &[Vec<u8>]) -> Option<SavePoint> {
    let seconds = u64::from(read_decimal::<u32>(&pair[0])?);
    let changes = u64::from(read_decimal::<u32>(&pair[1])?);
    (seconds >= 1).then_some(SavePoint { seconds, changes })
}

fn read_decimal<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// How much output may wait for a client: it is cut off at `hard` bytes, or after `soft_seconds`
/// above `soft` bytes. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard: u64,
    pub soft: u64,
    pub soft_seconds: u64,
}

/// The limits of each class of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    pub const DEFAULT: Self = Self {
        normal: OutputLimit { hard: 0, soft: 0, soft_seconds: 0 },
        replica: OutputLimit { hard: 256 << 20, soft: 64 << 20, soft_seconds: 60 },
        pubsub: OutputLimit { hard: 32 << 20, soft: 8 << 20, soft_seconds: 60 },
    };

    fn class(&mut self, name: &[u8]) -> Option<&mut OutputLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"replica" | b"slave" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

impl Value for OutputLimits {
    /// Classes that are not named keep what they have.
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        let quads = input.words.chunks_exact(4);
        if !quads.remainder().is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut limits = *self;
        for quad in quads {
            let class = limits
                .class(&quad[0])
                .ok_or("Invalid client class specified in buffer limit configuration.")?;
            *class = read_output_limit(quad).ok_or(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            )?;
        }
        *self = limits;
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        // CONFIG GET has kept the old name of the class.
        let classes = [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)];
        let texts = classes.map(|(name, OutputLimit { hard, soft, soft_seconds })| {
            format!("{name} {hard} {soft} {soft_seconds}")
        });
        texts.join(" ").into_bytes()
    }

    fn lines(&self, kind: &Kind) -> Vec<Vec<u8>> {
        let classes = [("normal", self.normal), ("replica", self.replica), ("pubsub", self.pubsub)];
        let line = |(name, limit): (&str, OutputLimit)| {
            let size = |bytes| ClientMemory::Bytes(bytes).lines(kind).concat();
            let seconds = limit.soft_seconds.to_string().into_bytes();
            [name.as_bytes().to_vec(), size(limit.hard), size(limit.soft), seconds].join(&b' ')
        };
        classes.map(line).to_vec()
    }
}

fn read_output_limit(quad: &[Vec<u8>]) -> Option<OutputLimit> {
    let size = |word: &[u8]| {
        let mut bytes = 0u64;
        let kind = Kind::Number { min: 0, max: u64::MAX as i128, unit: Unit::Bytes };
        let words = [word.to_vec()];
        let input = Input { words: &words, place: &super::values::Place::Client, again: false };
        bytes.assign(&kind, &input).ok().map(|()| bytes)
    };
    let soft_seconds = u64::from(read_decimal::<u32>(&quad[3])?);
    Some(OutputLimit { hard: size(&quad[1])?, soft: size(&quad[2])?, soft_seconds })
}

/// The kernel's out-of-memory score for a primary, a replica, and a process that saves.
impl Value for [i32; 3] {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        const RANGE: &str =
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
        let [primary, replica, background] = input.words else {
            return Err(WRONG_NUMBER.into());
        };
        let mut values = [0; 3];
        for (value, word) in values.iter_mut().zip([primary, replica, background]) {
            *value =
                read_decimal(word).filter(|value| (-2000..=2000).contains(value)).ok_or(RANGE)?;
        }
        *self = values;
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        self.map(|value| value.to_string()).join(" ").into_bytes()
    }
}

/// Classes of keyspace events, and the two ways to publish them: a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyspaceEvents(u16);

impl KeyspaceEvents {
    pub const NONE: Self = Self(0);
    /// `K`: to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: Self = Self(1 << 14);
    /// `E`: to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: Self = Self(1 << 15);
    pub const GENERIC: Self = Self(class::GENERIC);
    pub const STRING: Self = Self(class::STRING);
    pub const LIST: Self = Self(class::LIST);
    pub const SET: Self = Self(class::SET);
    pub const HASH: Self = Self(class::HASH);
    pub const ZSET: Self = Self(class::ZSET);
    pub const EXPIRED: Self = Self(class::EXPIRED);
    pub const EVICTED: Self = Self(class::EVICTED);
    pub const STREAM: Self = Self(class::STREAM);
    pub const KEY_MISS: Self = Self(class::MISS);
    pub const NEW: Self = Self(class::NEW);
    /// Of modules, which there are none of.
    pub const MODULE: Self = Self(1 << 13);

    /// `A`: every class but misses and new keys, which are many and were added later.
    pub const ALL: Self = Self(
        Self::GENERIC.0
            | Self::STRING.0
            | Self::LIST.0
            | Self::SET.0
            | Self::HASH.0
            | Self::ZSET.0
            | Self::EXPIRED.0
            | Self::EVICTED.0
            | Self::STREAM.0
            | Self::MODULE.0,
    );

    /// The letters, in the order they are shown in. Those before `K` are left out beside `A`,
    /// which holds them.
    const LETTERS: [(u8, Self); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
    ];

    /// Whether all of `others` are in it.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether one of `others` is in it.
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl KeyspaceEvents {
    /// The classes of events, as [`class`] has them, that go to any channel at all.
    pub fn wanted_classes(self) -> u16 {
        let channels = Self::KEYSPACE.0 | Self::KEYEVENT.0;
        if self.0 & channels == 0 { 0 } else { self.0 & !channels }
    }
}

impl Value for KeyspaceEvents {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        let [word] = input.words else { return Err(WRONG_NUMBER.into()) };
        let mut events = Self::NONE;
        for &byte in word {
            let known = Self::LETTERS.iter().find(|(letter, _)| *letter == byte);
            events.0 |= match known {
                Some((_, class)) => class.0,
                None if byte == b'A' => Self::ALL.0,
                None => {
                    return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
                }
            };
        }
        *self = events;
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        let all = self.contains(Self::ALL);
        let mut letters = if all { b"A".to_vec() } else { Vec::new() };
        for (letter, class) in Self::LETTERS {
            let told = all && Self::ALL.contains(class);
            if self.contains(class) && !told {
                letters.push(letter);
            }
        }
        letters
    }

    fn lines(&self, kind: &Kind) -> Vec<Vec<u8>> {
        vec![args::quote(&self.show(kind))]
    }
}

/// What a signal does, beside the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    pub save: bool,
    pub nosave: bool,
    pub now: bool,
    pub force: bool,
}

impl ShutdownOptions {
    const NAMES: [&'static str; 5] = ["default", "save", "nosave", "now", "force"];

    /// In the order of the names behind `default`.
    fn options(&mut self) -> [&mut bool; 4] {
        [&mut self.save, &mut self.nosave, &mut self.now, &mut self.force]
    }
}

impl Value for ShutdownOptions {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        if input.words.is_empty() {
            return Err(not_one_of(&Self::NAMES));
        }
        let mut new = Self::default();
        for word in input.words {
            let index = Self::NAMES
                .iter()
                .position(|name| word.eq_ignore_ascii_case(name.as_bytes()))
                .ok_or_else(|| not_one_of(&Self::NAMES))?;
            if index > 0 {
                *new.options()[index - 1] = true;
            }
        }
        if new.save && new.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        *self = new;
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        let mut copy = *self;
        let named = copy.options().into_iter().zip(&Self::NAMES[1..]);
        let words: Vec<&str> = named.filter(|(on, _)| **on).map(|(_, name)| *name).collect();
        if words.is_empty() { b"default".to_vec() } else { words.join(" ").into_bytes() }
    }
}

/// Percentiles, 0 to 100, with up to six decimals shown.
impl Value for Vec<f64> {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        const FORM: &str = "Invalid latency-tracking-info-percentiles parameters";
        const RANGE: &str =
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
        let words = match input.words {
            [word] if word.is_empty() => &[],
            words => words,
        };
        let mut percentiles = Vec::new();
        for word in words {
            let number: f64 =
                read_decimal(word).filter(|number: &f64| !number.is_nan()).ok_or(FORM)?;
            if !(0.0..=100.0).contains(&number) {
                return Err(RANGE.into());
            }
            percentiles.push(number);
        }
        *self = percentiles;
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        let texts = self.iter().map(|number| {
            let text = format!("{number:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        });
        texts.collect::<Vec<_>>().join(" ").into_bytes()
    }

    fn lines(&self, kind: &Kind) -> Vec<Vec<u8>> {
        vec![if self.is_empty() { b"\"\"".to_vec() } else { self.show(kind) }]
    }
}

/// The primary of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    pub host: String,
    pub port: u16,
}

impl Value for Option<Primary> {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        let [host, port] = input.words else { return Err(WRONG_NUMBER.into()) };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            *self = None;
            return Ok(());
        }
        let port = read_decimal(port).ok_or("Invalid master port")?;
        let host = std::str::from_utf8(host).map_err(|_| "argument must be valid UTF-8")?;
        *self = Some(Primary { host: host.to_owned(), port });
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        match self {
            Some(Primary { host, port }) => format!("{host} {port}").into_bytes(),
            None => Vec::new(),
        }
    }

    fn lines(&self, _: &Kind) -> Vec<Vec<u8>> {
        let Some(Primary { host, port }) = self else { return Vec::new() };
        let host = super::words::quote_if_needed(host.as_bytes());
        vec![[host, port.to_string().into_bytes()].join(&b' ')]
    }
}
