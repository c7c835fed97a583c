//! What took long, for LATENCY: for each kind of event the worst of each second in which there was
//! one, as far back as there is room. Must not know what the events are, nor when they are worth
//! telling: that is for those who measure.

use std::collections::{BTreeMap, VecDeque};

/// Samples kept of each kind of event; as many as Redis keeps.
const SAMPLES: usize = 160;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since 1970.
    pub at_s: i64,
    pub took_ms: u64,
}

/// Events of one kind, the oldest first.
#[derive(Debug, Default)]
pub struct Series {
    samples: VecDeque<Sample>,
    /// The worst there ever was, which the samples may have forgotten.
    pub worst_ms: u64,
}

/// What the samples of a kind have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub samples: u64,
    pub mean_ms: u64,
    /// The mean of how far they are from the mean.
    pub deviation_ms: u64,
    /// Seconds since the first of them, at least one.
    pub period_s: i64,
}

/// By the events' names.
#[derive(Debug, Default)]
pub struct Latency {
    events: BTreeMap<&'static str, Series>,
}

impl Latency {
    /// Notes that something took `took_ms`, and ended just now. Names are few: each has memory of
    /// its own.
    #[cold]
    pub fn add(&mut self, event: &'static str, took_ms: u64, now_s: i64) {
        self.events.entry(event).or_default().add(Sample { at_s: now_s, took_ms });
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, &Series)> {
        self.events.iter().map(|(event, series)| (*event, series))
    }

    pub fn get(&self, event: &[u8]) -> Option<(&'static str, &Series)> {
        self.iter().find(|(name, _)| name.as_bytes() == event)
    }

    /// Forgets the events with this name in any case of letters, or all without one; returns how
    /// many kinds there were.
    pub fn reset(&mut self, event: Option<&[u8]>) -> usize {
        let before = self.events.len();
        self.events.retain(|name, _| {
            event.is_some_and(|event| !name.as_bytes().eq_ignore_ascii_case(event))
        });
        before - self.events.len()
    }
}

impl Series {
    fn add(&mut self, sample: Sample) {
        self.worst_ms = self.worst_ms.max(sample.took_ms);
        if let Some(last) = self.samples.back_mut()
            && last.at_s == sample.at_s
        {
            last.took_ms = last.took_ms.max(sample.took_ms);
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// There is at least one.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> {
        self.samples.iter().copied()
    }

    pub fn summary(&self, now_s: i64) -> Summary {
        let samples = self.samples.len().max(1) as u64;
        let mean =
            |values: &mut dyn Iterator<Item = u64>| values.fold(0, u64::saturating_add) / samples;
        let mean_ms = mean(&mut self.samples().map(|sample| sample.took_ms));
        let deviation_ms = mean(&mut self.samples().map(|s| s.took_ms.abs_diff(mean_ms)));
        let first_s = self.samples.front().map_or(now_s, |sample| sample.at_s);
        let period_s = (now_s - first_s).max(1);
        Summary { samples, mean_ms, deviation_ms, period_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(latency: &Latency, event: &str) -> Vec<(i64, u64)> {
        let (_, series) = latency.get(event.as_bytes()).unwrap();
        series.samples().map(|sample| (sample.at_s, sample.took_ms)).collect()
    }

    #[test]
    fn the_worst_of_a_second_is_kept() {
        let mut latency = Latency::default();
        for (at_s, took_ms) in [(10, 5), (10, 9), (10, 3), (11, 2)] {
            latency.add("command", took_ms, at_s);
        }
        assert_eq!(samples(&latency, "command"), [(10, 9), (11, 2)]);
        assert_eq!(latency.get(b"command").unwrap().1.worst_ms, 9);
        assert!(latency.get(b"COMMAND").is_none());
    }

    #[test]
    fn the_oldest_samples_go_but_the_worst_is_remembered() {
        let mut latency = Latency::default();
        (0..200).for_each(|s| latency.add("command", 1000 - s, s as i64));
        let kept = samples(&latency, "command");
        assert_eq!((kept.len(), kept[0], kept[159]), (160, (40, 960), (199, 801)));
        assert_eq!(latency.get(b"command").unwrap().1.worst_ms, 1000);
    }

    #[test]
    fn kinds_are_forgotten_by_name_or_all() {
        let mut latency = Latency::default();
        for event in ["command", "fast-command", "expire-cycle"] {
            latency.add(event, 7, 1);
        }
        assert_eq!(latency.reset(Some(b"nosuch")), 0);
        assert_eq!(latency.reset(Some(b"Fast-Command")), 1);
        assert_eq!(
            latency.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["command", "expire-cycle"]
        );
        assert_eq!(latency.reset(None), 2);
        assert!(latency.is_empty());
    }

    #[test]
    fn samples_are_summed_up() {
        let mut latency = Latency::default();
        for (at_s, took_ms) in [(100, 300), (110, 400), (120, 500)] {
            latency.add("command", took_ms, at_s);
        }
        let (_, series) = latency.get(b"command").unwrap();
        let summary = Summary { samples: 3, mean_ms: 400, deviation_ms: 66, period_s: 30 };
        assert_eq!(series.summary(130), summary);
        assert_eq!(series.summary(100).period_s, 1);
    }
}
