//! Cuts a journal everywhere and looks what a server makes of what is left.

use super::boot::{History, Setup, VOLATILE, boot, rdb_digest};
use super::disk::Disk;
use super::journal::{Choices, Event, Image, Mark, Tracker};
use goredis::base::rng::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// A crash in the midst of recovery is tried after one cut in so many.
const RECOVERY_CUT: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Kill,
    Power,
}

/// What must be there: numbers of commands, as far as there is a promise at all.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub executed: usize,
    pub acknowledged: Option<usize>,
    pub durable: Option<usize>,
    pub saved: Option<usize>,
    /// Of an append-only file that is off.
    pub rewritten: Option<usize>,
}

impl Bounds {
    pub const NOTHING: Bounds =
        Bounds { executed: 0, acknowledged: None, durable: None, saved: None, rewritten: None };

    fn advance(&mut self, event: &Event) {
        let Event::Mark(mark) = event else { return };
        match mark {
            Mark::Executed(at) => self.executed = *at,
            Mark::Acknowledged(at) => self.acknowledged = self.acknowledged.max(Some(*at)),
            Mark::Durable(at) => self.durable = self.durable.max(Some(*at)),
            Mark::Saved(at) => self.saved = self.saved.max(Some(*at)),
            Mark::Rewritten(at) => self.rewritten = self.rewritten.or(Some(*at)),
            Mark::Note(_) => {}
        }
    }

    /// The commands whose effects the append-only file must have.
    fn least(&self, cut: Cut) -> usize {
        let promised = match cut {
            Cut::Kill => self.acknowledged.max(self.durable),
            Cut::Power => self.durable,
        };
        // Without a file, the RDB file becomes its base.
        let saved = self.saved.map(|saved| self.rewritten.map_or(saved, |at| saved.min(at)));
        promised.or(saved).unwrap_or(0)
    }
}

/// A life's journal, behind what was not durable of those before.
pub struct Story {
    /// What was durable before all of it.
    pub base: Image,
    pub before: Vec<Event>,
    /// What was promised before the journal.
    pub bounds: Bounds,
    pub journal: Vec<Event>,
    pub setup: Setup,
    pub seed: u64,
}

/// A cut that shows a defect.
pub struct Failure {
    /// Events of the journal that were done.
    pub at: usize,
    pub cut: Cut,
    pub choices: Vec<u64>,
    pub what: String,
}

/// What became of a cut.
pub struct Survivor {
    pub image: Image,
    /// The torn part of the event that was cut, if it was a kill.
    pub part: Option<Event>,
    pub commands: usize,
}

impl Story {
    /// Where it can be cut: before each operation, and at the end.
    pub fn cuts(&self) -> impl Iterator<Item = usize> {
        let is_operation = |at: &usize| !matches!(self.journal.get(*at), Some(Event::Mark(_)));
        (0..=self.journal.len()).filter(is_operation)
    }

    fn tracker(&self) -> Tracker<'_> {
        let mut tracker = Tracker::new(&self.base, VOLATILE);
        self.before.iter().for_each(|event| tracker.advance(event));
        tracker
    }

    /// Tries all cuts on two threads; the failure is the one with the fewest events.
    pub fn check_all(&self, history: &History) -> Result<usize, Failure> {
        let results = thread::scope(|scope| {
            let workers = [0, 1].map(|share| scope.spawn(move || self.check_share(history, share)));
            workers.map(|worker| worker.join().expect("a worker"))
        });
        let mut cuts = 0;
        let mut failures = Vec::new();
        for result in results {
            match result {
                Ok(checked) => cuts += checked,
                Err(failure) => failures.push(failure),
            }
        }
        match failures.into_iter().min_by_key(|failure| failure.at) {
            Some(failure) => Err(failure),
            None => Ok(cuts),
        }
    }

    fn check_share(&self, history: &History, share: usize) -> Result<usize, Failure> {
        let (mut tracker, mut bounds) = (self.tracker(), self.bounds);
        let mut done = 0;
        let mut checked = 0;
        for at in self.cuts() {
            for event in &self.journal[done..at] {
                tracker.advance(event);
                bounds.advance(event);
            }
            done = at;
            if at % 2 != share {
                continue;
            }
            checked += 1;
            for cut in [Cut::Kill, Cut::Power] {
                let mut choices = Choices::random(self.choice_seed(at, cut));
                let found = self.check(&tracker, &bounds, at, cut, &mut choices, history);
                if let Err(what) = found {
                    let failure = Failure { at, cut, choices: choices.made, what };
                    return Err(self.simpler(&tracker, &bounds, failure, history));
                }
            }
        }
        Ok(checked)
    }

    fn choice_seed(&self, at: usize, cut: Cut) -> u64 {
        let mut rng = Rng::from_seed(self.seed ^ (at as u64) << 20 ^ cut as u64);
        rng.next_u64()
    }

    /// The same failure with fewer of the disk's liberties.
    fn simpler(
        &self,
        tracker: &Tracker<'_>,
        bounds: &Bounds,
        mut failure: Failure,
        history: &History,
    ) -> Failure {
        let mut i = 0;
        while i < failure.choices.len() {
            let mut simpler = failure.choices.clone();
            i += 1;
            if std::mem::take(&mut simpler[i - 1]) == 0 {
                continue;
            }
            let mut choices = Choices::given(simpler);
            let (at, cut) = (failure.at, failure.cut);
            if let Err(what) = self.check(tracker, bounds, at, cut, &mut choices, history) {
                failure = Failure { at, cut, choices: choices.made, what };
            }
        }
        failure
    }

    /// What a cut leaves, and what a server has of it.
    pub fn survive(&self, at: usize, cut: Cut, history: &History) -> Survivor {
        let (mut tracker, mut bounds) = (self.tracker(), self.bounds);
        for event in &self.journal[..at] {
            tracker.advance(event);
            bounds.advance(event);
        }
        let mut choices = Choices::random(self.choice_seed(at, cut));
        let (image, part) = left(&tracker, self.journal.get(at), cut, &mut choices);
        let found = recover(&image, &self.setup_after()).expect("as it was checked");
        let found = history.find(&found.0, bounds.least(cut), bounds.executed);
        Survivor { image, part, commands: found.expect("as it was checked") }
    }

    /// Loses power at the end, with these choices of the disk.
    pub fn check_end(&self, history: &History, choices: Vec<u64>) -> Result<(), Failure> {
        let (mut tracker, at) = (self.tracker(), self.journal.len());
        self.journal.iter().for_each(|event| tracker.advance(event));
        let mut choices = Choices::given(choices);
        let bounds = self.bounds_at(at);
        let found = self.check(&tracker, &bounds, at, Cut::Power, &mut choices, history);
        let choices = choices.made;
        found.map_err(|what| Failure { at, cut: Cut::Power, choices, what })
    }

    /// The bounds at a cut.
    pub fn bounds_at(&self, at: usize) -> Bounds {
        let mut bounds = self.bounds;
        self.journal[..at].iter().for_each(|event| bounds.advance(event));
        bounds
    }

    fn check(
        &self,
        tracker: &Tracker<'_>,
        bounds: &Bounds,
        at: usize,
        cut: Cut,
        choices: &mut Choices,
        history: &History,
    ) -> Result<(), String> {
        let next = self.journal.get(at);
        let (image, part) = left(tracker, next, cut, choices);
        let least = bounds.least(cut);
        let (state, journal) = recover(&image, &self.setup_after())?;
        let found = history.find(&state, least, bounds.executed)?;
        self.check_rdb(&image, bounds, history)?;
        if self.seed.wrapping_add(at as u64).is_multiple_of(RECOVERY_CUT) {
            let mut tracker = match cut {
                Cut::Kill => tracker.clone(),
                Cut::Power => Tracker::new(&image, VOLATILE),
            };
            if let Some(part) = &part {
                tracker.advance(part);
            }
            // What was recovered from a disk that lost power is there again.
            let least = if cut == Cut::Power { found } else { bounds.least(Cut::Power) };
            let most = bounds.executed;
            self.check_recovery(tracker, &journal, (least, most), choices, history)?;
        }
        Ok(())
    }

    /// How the server is started again: with its append-only file.
    fn setup_after(&self) -> Setup {
        Setup { appendonly: true, ..self.setup }
    }

    /// Power is lost while a server recovers.
    fn check_recovery<'a>(
        &self,
        mut tracker: Tracker<'a>,
        journal: &'a [Event],
        (least, most): (usize, usize),
        choices: &mut Choices,
        history: &History,
    ) -> Result<(), String> {
        let at = choices.pick(journal.len() + 1);
        let at = journal.len() - at;
        journal[..at].iter().for_each(|event| tracker.advance(event));
        let image = tracker.powerless(journal.get(at), choices);
        let again = "after a recovery that lost power behind so many operations";
        let (state, _) = recover(&image, &self.setup_after())
            .map_err(|e| format!("{again}: {at} of {}: {e}", journal.len()))?;
        let found = history.find(&state, least, most);
        found.map(|_| ()).map_err(|e| {
            let done = journal[..at].iter().map(|event| format!("\n    {event}"));
            format!("{again}: {e}{}", done.collect::<String>())
        })
    }

    fn check_rdb(&self, image: &Image, bounds: &Bounds, history: &History) -> Result<(), String> {
        let state = rdb_digest(image).map_err(|e| format!("the RDB file: {e}"))?;
        let Some(least) = bounds.saved else {
            // It may be of an earlier life, with commands that the present one has lost.
            let was = history.ever_was(&state);
            return was.then_some(()).ok_or("the RDB file: the data never were so".to_string());
        };
        let found = history.find(&state, least, bounds.executed);
        found.map(|_| ()).map_err(|e| format!("the RDB file: {e}"))
    }

    /// The case, for somebody to look into.
    pub fn describe(&self, failure: &Failure) -> String {
        let mut text = format!("{:?}\n", self.setup);
        let before = self.before.iter().map(|event| format!("      {event}\n"));
        text.extend(before);
        for (number, event) in self.journal[..failure.at].iter().enumerate() {
            text += &format!("{number:5} {event}\n");
        }
        match self.journal.get(failure.at) {
            Some(event) => text += &format!("{:?} during: {event}\n", failure.cut),
            None => text += &format!("{:?} at the end\n", failure.cut),
        }
        text + &format!("the disk's choices: {:?}\n{}\n", failure.choices, failure.what)
    }
}

/// What a cut leaves, with the part of the event that was done if all else is in memory still.
fn left(
    tracker: &Tracker<'_>,
    next: Option<&Event>,
    cut: Cut,
    choices: &mut Choices,
) -> (Image, Option<Event>) {
    match cut {
        Cut::Kill => tracker.killed(next, choices),
        Cut::Power => (tracker.powerless(next, choices), None),
    }
}

/// The data of a server that starts there, and what it did to the disk.
fn recover(image: &Image, setup: &Setup) -> Result<([u8; 20], Vec<Event>), String> {
    let disk = Disk::recording(image.clone());
    let booted = catch_unwind(AssertUnwindSafe(|| boot(&disk, setup)));
    let booted = booted.map_err(|_| "it panics".to_string())?;
    let booted = booted.map_err(|e| format!("it does not start: {e}"))?;
    Ok((booted.digest(), disk.take_journal()))
}
