//! Channels and who listens to them. Passive: it knows clients by their keys alone, and leaves the
//! messages for the loop, which knows their connections.
//!
//! A message costs what its receivers cost: it is put into the protocol's form once for all of a
//! kind, and only where there is somebody to receive it.

use super::client::Client;
use crate::base::glob;
use crate::base::hash::Seed;
use crate::resp::Reply;
use std::collections::{BTreeSet, HashMap};

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Channel,
    Pattern,
    /// A channel of a shard of a cluster.
    Shard,
}

impl Kind {
    /// What a message says it is.
    pub fn message(self) -> &'static str {
        match self {
            Kind::Channel => "message",
            Kind::Pattern => "pmessage",
            Kind::Shard => "smessage",
        }
    }

    pub fn subscribed(self) -> &'static str {
        match self {
            Kind::Channel => "subscribe",
            Kind::Pattern => "psubscribe",
            Kind::Shard => "ssubscribe",
        }
    }

    pub fn unsubscribed(self) -> &'static str {
        match self {
            Kind::Channel => "unsubscribe",
            Kind::Pattern => "punsubscribe",
            Kind::Shard => "sunsubscribe",
        }
    }
}

/// Something for each kind.
#[derive(Default)]
struct ByKind<T> {
    channels: T,
    patterns: T,
    shards: T,
}

impl<T> ByKind<T> {
    fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }
}

/// What one client listens to.
#[derive(Default)]
pub struct Subscriptions {
    names: ByKind<BTreeSet<Box<[u8]>>>,
    /// Bytes of all names.
    names_bytes: usize,
}

impl Subscriptions {
    pub fn len(&self, kind: Kind) -> usize {
        self.names.of(kind).len()
    }

    /// Bytes of memory taken: each name stands here, and for all who listen to it.
    pub fn memory(&self) -> usize {
        let count: usize =
            [Kind::Channel, Kind::Pattern, Kind::Shard].map(|k| self.len(k)).iter().sum();
        let each = size_of::<Box<[u8]>>() + size_of::<BTreeSet<usize>>();
        size_of::<Subscriptions>() + 2 * (count * each + self.names_bytes)
    }

    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.names.of(kind).iter().map(|name| &**name)
    }

    /// The number a reply about this kind gives: shards are counted by themselves.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Shard => self.len(Kind::Shard),
            _ => self.len(Kind::Channel) + self.len(Kind::Pattern),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count(Kind::Channel) + self.count(Kind::Shard) == 0
    }
}

/// A message on its way.
pub struct Message {
    kind: Kind,
    pub channel: Box<[u8]>,
    pub text: Box<[u8]>,
}

/// The clients that listen to one name, by their keys. Most names have one.
enum Audience {
    One(usize),
    Many(BTreeSet<usize>),
}

impl Audience {
    fn len(&self) -> usize {
        match self {
            Audience::One(_) => 1,
            Audience::Many(clients) => clients.len(),
        }
    }

    fn add(&mut self, client_key: usize) {
        match self {
            Audience::One(other) if *other == client_key => {}
            Audience::One(other) => *self = Audience::Many([*other, client_key].into()),
            Audience::Many(clients) => _ = clients.insert(client_key),
        }
    }

    /// Takes one of several away; true if it was the last.
    fn remove(&mut self, client_key: usize) -> bool {
        match self {
            Audience::One(other) => *other == client_key,
            Audience::Many(clients) => {
                clients.remove(&client_key);
                clients.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let (one, many) = match self {
            Audience::One(client_key) => (Some(*client_key), None),
            Audience::Many(clients) => (None, Some(clients.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// The listeners of each name.
type Listeners = HashMap<Box<[u8]>, Audience, Seed>;

/// Receivers whose memory is fetched ahead, while others get their message.
const FETCHED_AHEAD: usize = 4;

#[derive(Default)]
pub struct PubSub {
    listeners: ByKind<Listeners>,
    /// Messages that the loop has not delivered yet. There is somebody to receive each.
    outbox: Vec<Message>,
    /// Confirmations by the command being executed, in the protocol's form, where its client wants
    /// no replies: these reach it all the same.
    pub confirmations: Vec<u8>,
}

impl PubSub {
    /// How many names of a kind somebody listens to.
    pub fn len(&self, kind: Kind) -> usize {
        self.listeners.of(kind).len()
    }

    pub fn is_empty(&self) -> bool {
        [Kind::Channel, Kind::Pattern, Kind::Shard].iter().all(|&kind| self.len(kind) == 0)
    }

    /// Names of a kind that somebody listens to.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.listeners.of(kind).keys().map(|name| &**name)
    }

    /// How many listen to a name of a kind.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.listeners.of(kind).get(name).map_or(0, Audience::len)
    }

    pub fn subscribe(&mut self, client_key: usize, client: &mut Client, kind: Kind, name: &[u8]) {
        let own = client.subscriptions.get_or_insert_default();
        if own.names.of_mut(kind).insert(name.into()) {
            own.names_bytes += name.len();
            let entry = self.listeners.of_mut(kind).entry(name.into());
            entry
                .and_modify(|audience| audience.add(client_key))
                .or_insert(Audience::One(client_key));
        }
        client.update_state();
    }

    pub fn unsubscribe(&mut self, client_key: usize, client: &mut Client, kind: Kind, name: &[u8]) {
        let Some(own) = &mut client.subscriptions else { return };
        if own.names.of_mut(kind).remove(name) {
            own.names_bytes -= name.len();
            self.forget(client_key, kind, name);
        }
        if own.is_empty() {
            client.subscriptions = None;
            client.update_state();
        }
    }

    fn forget(&mut self, client_key: usize, kind: Kind, name: &[u8]) {
        let listeners = self.listeners.of_mut(kind);
        if listeners.get_mut(name).is_some_and(|audience| audience.remove(client_key)) {
            listeners.remove(name);
        }
    }

    /// The client listens to nothing any more.
    pub fn forget_client(&mut self, client_key: usize, client: &mut Client) {
        let Some(own) = client.subscriptions.take() else { return };
        client.update_state();
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            own.names(kind).for_each(|name| self.forget(client_key, kind, name));
        }
    }

    /// Sends a message to those who listen to a channel, or to a pattern that it matches; returns
    /// how many receive it, counting one twice that listens to both.
    pub fn publish(&mut self, kind: Kind, channel: &[u8], text: &[u8]) -> usize {
        let mut receivers = self.subscribers(kind, channel);
        if kind == Kind::Channel {
            receivers += self.matching(channel).map(|(_, clients)| clients.len()).sum::<usize>();
        }
        if receivers > 0 {
            self.outbox.push(Message { kind, channel: channel.into(), text: text.into() });
        }
        receivers
    }

    fn matching<'a>(&'a self, channel: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a Audience)> {
        let patterns = self.listeners.patterns.iter();
        patterns
            .filter(|(pattern, _)| glob::matches(pattern, channel, false))
            .map(|(pattern, clients)| (&**pattern, clients))
    }

    #[inline]
    pub fn has_messages(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.outbox)
    }

    /// Hands out each receiver of a message with what to send it, which is made for RESP2 and for
    /// RESP3 at most once for each name that was subscribed to; and with it a receiver whose turn
    /// comes some time later.
    pub fn deliver(
        &self,
        message: &Message,
        mut send: impl FnMut(usize, Option<usize>, &mut Encoded),
    ) {
        let mut deliver = |audience: &Audience, encoded: &mut Encoded| {
            let mut later = audience.iter().skip(FETCHED_AHEAD);
            audience.iter().for_each(|client_key| send(client_key, later.next(), encoded));
        };
        let Message { kind, channel, .. } = message;
        if let Some(audience) = self.listeners.of(*kind).get(channel) {
            deliver(audience, &mut Encoded::new(message, None));
        }
        if *kind == Kind::Channel {
            for (pattern, audience) in self.matching(channel) {
                deliver(audience, &mut Encoded::new(message, Some(pattern)));
            }
        }
    }
}

/// A message in the form of each protocol, made when it is first wanted.
pub struct Encoded<'a> {
    message: &'a Message,
    pattern: Option<&'a [u8]>,
    resp2: Option<Vec<u8>>,
    resp3: Option<Vec<u8>>,
}

impl<'a> Encoded<'a> {
    fn new(message: &'a Message, pattern: Option<&'a [u8]>) -> Encoded<'a> {
        Encoded { message, pattern, resp2: None, resp3: None }
    }

    pub fn bytes(&mut self, resp3: bool) -> &[u8] {
        let Encoded { message, pattern, .. } = *self;
        let form = if resp3 { &mut self.resp3 } else { &mut self.resp2 };
        form.get_or_insert_with(|| {
            let mut out = Reply::new(Vec::new(), resp3);
            let kind = if pattern.is_some() { Kind::Pattern } else { message.kind };
            out.push(3 + usize::from(pattern.is_some()));
            out.bulk(kind.message().as_bytes());
            if let Some(pattern) = pattern {
                out.bulk(pattern);
            }
            out.bulk(&message.channel);
            out.bulk(&message.text);
            out.into_buf()
        })
    }
}
