//! goredis: a Redis-compatible server. The life of one request:
//!
//! 1. [`net`] wakes: a connection is readable. Its bytes are read once, into a buffer that all
//!    connections share (`net/conn.rs`, `server/tick.rs`).
//! 2. [`resp::parse`] cuts commands out of the buffer in place. [`resp::Args`] is a view of spans;
//!    nothing is copied. A few commands are cut ahead, and the memory of their keys is fetched.
//! 3. `server::gate` asks, in one place and for every origin, whether this command may run now.
//!    The common case is one test of a bit mask. Between MULTI and EXEC it queues instead; EXEC is
//!    a loop over `execute` (`server/transactions.rs`).
//! 4. `server::execute` runs the handler (`commands/`), which opens keys through the one door
//!    ([`store::Keyspace`]) and writes its reply straight into the client's output.
//! 5. `server::effects` records what changed, as bytes for the append-only file. Who waits for a
//!    key that changed (`server/blocking.rs`), watches it, or listens to its events or to a channel
//!    (`server/pubsub.rs`) hears of it right away: who waits comes before who asks next.
//! 6. At the end of the tick (`server/tick.rs`, `end_tick`): the append-only file's buffer is
//!    committed, then replies are written.
//!
//! A tick also serves the clock: keys that expire, periodic work. What takes long is not done
//! here: disks are written by [`persist`]'s thread, large values freed by `server::free`'s.
//!
//! Imports point one way: `base <- resp <- types <- store <- persist`, `base <- net`, and all of
//! them `<- server <- commands <- main`. [`check`] are tools beside the server, on [`persist`].

#![deny(unsafe_code)]

pub mod base;
pub mod check;
pub mod commands;
pub mod net;
pub mod persist;
pub mod resp;
pub mod server;
pub mod store;
pub mod types;

// Miri has an allocator of its own, which sees more.
#[cfg(not(miri))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
