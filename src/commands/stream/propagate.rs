//! What the append-only file and the replicas see of commands that hand entries to consumers: each
//! step by itself, with all times and counts, so that it comes to the same whenever it is repeated.

use super::Place;
use crate::resp::parse::OwnedArgs;
use crate::server::ctx::{Ctx, Propagation};
use crate::types::stream::{Group, Pending, StreamId};

/// Steps taken so far.
pub struct Steps {
    /// None has been taken.
    is_empty: bool,
    /// What they are; none where nobody reads it.
    commands: Option<Vec<OwnedArgs>>,
}

impl Steps {
    pub fn new(ctx: &Ctx) -> Steps {
        Steps { is_empty: true, commands: ctx.recorded.then(Vec::new) }
    }

    /// An entry was given to a consumer, or taken out of the pending ones because it is no longer
    /// in the stream: XCLAIM does either.
    pub fn claim(&mut self, place: &Place<'_>, group: &Group, id: StreamId, pending: &Pending) {
        self.is_empty = false;
        let Some(commands) = &mut self.commands else { return };
        let mut digits = (itoa::Buffer::new(), itoa::Buffer::new());
        let (id, last_id) = (id.text(), group.last_id.text());
        let words: [&[u8]; 14] = [
            b"XCLAIM",
            place.key,
            place.group,
            &group.consumer(pending.consumer).name,
            b"0",
            &id,
            b"TIME",
            digits.0.format(pending.delivered_ms).as_bytes(),
            b"RETRYCOUNT",
            digits.1.format(pending.deliveries).as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            &last_id,
        ];
        commands.push(words.iter().collect());
    }

    /// The group went on to its last ID.
    pub fn set_id(&mut self, place: &Place<'_>, group: &Group) {
        self.is_empty = false;
        let Some(commands) = &mut self.commands else { return };
        let mut digits = itoa::Buffer::new();
        let last_id = group.last_id.text();
        let words: [&[u8]; 7] = [
            b"XGROUP",
            b"SETID",
            place.key,
            place.group,
            &last_id,
            b"ENTRIESREAD",
            digits.format(group.entries_read.unwrap_or(-1)).as_bytes(),
        ];
        commands.push(words.iter().collect());
    }

    /// A consumer showed up for the first time.
    pub fn create_consumer(&mut self, place: &Place<'_>, consumer: &[u8]) {
        self.is_empty = false;
        let Some(commands) = &mut self.commands else { return };
        let words: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", place.key, place.group, consumer];
        commands.push(words.iter().collect());
    }

    /// Leaves the steps in place of the command; if there are none, nothing has changed.
    pub fn tell(self, ctx: &mut Ctx) {
        if !self.is_empty {
            ctx.keys.mark_changed();
        }
        if let Some(commands) = self.commands {
            ctx.propagation = Propagation::Rewritten(commands);
        }
    }
}
