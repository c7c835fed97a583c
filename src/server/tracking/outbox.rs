//! Messages of client-side caching on their way to connections, in the order in which they were
//! written. Must not know why they are sent.

use crate::resp::Reply;
use std::ops::Range;

/// Where those who use RESP2 hear of keys: a subscriber of this channel gets what is redirected
/// to it.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Buffers larger than this are given back to the allocator instead of being kept, in bytes.
const KEPT: usize = 64 * 1024;

/// What is told.
#[derive(Clone)]
pub enum News {
    /// These keys have changed: part of [`Outbox::keys`].
    Keys(Range<usize>),
    /// All keys may have changed.
    All,
    /// The client to which messages were to be redirected, known by its id, is gone.
    Broken(u64),
}

#[derive(Default)]
pub struct Outbox {
    /// Arrays of names, in the form both protocols share.
    keys: Reply,
    letters: Vec<(usize, News)>,
}

impl Outbox {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Writes names down once for all who shall be told them.
    pub fn write_keys<'k>(&mut self, count: usize, keys: impl Iterator<Item = &'k [u8]>) -> News {
        let start = self.keys.len();
        self.keys.array(count);
        keys.for_each(|key| self.keys.bulk(key));
        News::Keys(start..self.keys.len())
    }

    /// Addresses news to a client.
    pub fn post(&mut self, client_key: usize, news: &News) {
        self.letters.push((client_key, news.clone()));
    }

    /// The messages in their order: the client's key, and what [`Outbox::write`] needs.
    pub fn letters(&self) -> impl Iterator<Item = (usize, &News)> {
        self.letters.iter().map(|(client_key, news)| (*client_key, news))
    }

    /// Appends a message in the form of the protocol that its reader uses.
    pub fn write(&self, news: &News, out: &mut Reply) {
        if let News::Broken(id) = news {
            out.push(2);
            out.bulk(b"tracking-redir-broken");
            out.int(*id as i64);
            return;
        }
        if out.is_resp3() {
            out.push(2);
            out.bulk(b"invalidate");
        } else {
            out.array(3);
            out.bulk(b"message");
            out.bulk(CHANNEL);
        }
        match news {
            News::Keys(range) => out.raw(&self.keys.as_bytes()[range.clone()]),
            News::All | News::Broken(_) => out.null(),
        }
    }

    /// Forgets what has been delivered.
    pub fn clear(&mut self) {
        self.letters.clear();
        self.letters.shrink_to(KEPT / size_of::<(usize, News)>());
        let mut names = std::mem::take(&mut self.keys).into_buf();
        names.clear();
        names.shrink_to(KEPT);
        self.keys = Reply::new(names, false);
    }
}
