//! Frees large values in a thread of its own: giving back millions of blocks takes longer than
//! any client should wait, and so does giving memory back to the system.

use super::process;
use crate::store::db::Garbage;
use log::warn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

enum Work {
    Free(Garbage),
    GiveBack,
}

/// What hands garbage to the thread.
pub struct Free {
    sender: Option<Sender<Work>>,
    pending: Arc<AtomicUsize>,
    freed: Arc<AtomicUsize>,
}

impl Default for Free {
    fn default() -> Free {
        Free::new()
    }
}

impl Free {
    pub fn new() -> Free {
        let (sender, receiver) = channel::<Work>();
        let pending = Arc::new(AtomicUsize::new(0));
        let freed = Arc::new(AtomicUsize::new(0));
        let (counter, freed_counter) = (pending.clone(), freed.clone());
        let work = move || {
            process::yield_to_others();
            for work in receiver {
                let Work::Free(garbage) = work else {
                    process::give_memory_back();
                    continue;
                };
                let count = garbage.count();
                drop(garbage);
                freed_counter.fetch_add(count, Ordering::Relaxed);
                if counter.fetch_sub(count, Ordering::Relaxed) == count {
                    process::give_memory_back();
                }
            }
        };
        let thread = std::thread::Builder::new().name("free".to_string()).spawn(work);
        let sender = match thread {
            Ok(_) => Some(sender),
            Err(e) => {
                warn!("Can't start the thread that frees memory, the loop will do it: {e}");
                None
            }
        };
        Free { sender, pending, freed }
    }

    /// Frees it soon.
    pub fn later(&self, garbage: Garbage) {
        if let Some(sender) = &self.sender {
            self.pending.fetch_add(garbage.count(), Ordering::Relaxed);
            // If the thread is gone, what could not be sent is freed here.
            let _ = sender.send(Work::Free(garbage));
        }
    }

    /// Gives freed memory back to the system, soon.
    pub fn give_back(&self) {
        match &self.sender {
            // If the thread is gone, there is nobody to do it without making clients wait.
            Some(sender) => drop(sender.send(Work::GiveBack)),
            None => process::give_memory_back(),
        }
    }

    /// Keys and values waiting to be freed.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Keys and values freed, since the start or [`Free::forget_freed`].
    pub fn freed(&self) -> usize {
        self.freed.load(Ordering::Relaxed)
    }

    /// Counts from 0 again.
    pub fn forget_freed(&self) {
        self.freed.store(0, Ordering::Relaxed);
    }
}
