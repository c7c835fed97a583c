//! Work done ahead: pieces that one function makes and another uses up. Where there is a processor
//! to spare a thread makes them, a few pieces ahead of their use; else they are made when they are
//! asked for. Must not know what the pieces are.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Pieces there are, and so how far the thread can be ahead.
const PIECES: usize = 4;
/// Who waits for a piece has something else to do after this time.
const PATIENCE: Duration = Duration::from_millis(1);

/// See the module's description. `T` is made empty once, and then filled again and again.
pub struct Ahead<T>(Worker<T>);

/// Fills a piece; false if no other can come behind it.
type Fill<T> = Box<dyn FnMut(&mut T) -> bool + Send>;

enum Worker<T> {
    Here { fill: Fill<T>, spare: T, more: bool },
    Thread { full: Receiver<T>, empty: Sender<T> },
}

/// What there is of the next piece.
pub enum Next<T> {
    Piece(T),
    /// It is not made yet.
    Later,
    /// There is none: the one before was the last, or the thread has panicked.
    Gone,
}

impl<T: Default + Send + 'static> Ahead<T> {
    /// `fill` is called until it says that there is no more, or nobody wants any.
    ///
    /// # Errors
    /// A thread that is wanted cannot be started.
    pub fn new(
        in_thread: bool,
        mut fill: impl FnMut(&mut T) -> bool + Send + 'static,
    ) -> io::Result<Ahead<T>> {
        if !in_thread {
            let (fill, spare) = (Box::new(fill), T::default());
            return Ok(Ahead(Worker::Here { fill, spare, more: true }));
        }
        let (to_loop, full) = channel();
        let (empty, from_loop) = channel::<T>();
        // The first send cannot fail: both ends are here.
        (0..PIECES).for_each(|_| _ = empty.send(T::default()));
        let work = move || {
            for mut piece in from_loop {
                let more = fill(&mut piece);
                if to_loop.send(piece).is_err() || !more {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("load".to_string()).spawn(work)?;
        Ok(Ahead(Worker::Thread { full, empty }))
    }

    /// Takes the next piece; waits a little if that is being made.
    pub fn next(&mut self) -> Next<T> {
        match &mut self.0 {
            Worker::Here { more: false, .. } => Next::Gone,
            Worker::Here { fill, spare, more } => {
                let mut piece = std::mem::take(spare);
                *more = fill(&mut piece);
                Next::Piece(piece)
            }
            Worker::Thread { full, .. } => match full.recv_timeout(PATIENCE) {
                Ok(piece) => Next::Piece(piece),
                Err(RecvTimeoutError::Timeout) => Next::Later,
                Err(RecvTimeoutError::Disconnected) => Next::Gone,
            },
        }
    }

    /// Gives a piece back that was used up, for its memory.
    pub fn give_back(&mut self, piece: T) {
        match &mut self.0 {
            Worker::Here { spare, .. } => *spare = piece,
            // If the thread has ended it needs no more.
            Worker::Thread { empty, .. } => _ = empty.send(piece),
        }
    }
}

/// Whether so many bytes of a file are worth a thread that takes them apart: not if they would be
/// one piece, nor where the thread would only take the processor from who uses the pieces.
pub fn is_worth_a_thread(bytes: u64, piece: u64) -> bool {
    bytes > piece
        && std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in vectors of ten.
    fn numbers(in_thread: bool, until: u32) -> Ahead<Vec<u32>> {
        let mut next = 0;
        let fill = move |piece: &mut Vec<u32>| {
            piece.clear();
            piece.extend(next..until.min(next + 10));
            next += 10;
            next < until
        };
        Ahead::new(in_thread, fill).unwrap()
    }

    #[test]
    fn pieces_come_in_order_and_end() {
        for in_thread in [false, true] {
            let mut ahead = numbers(in_thread, 1005);
            let mut all: Vec<u32> = Vec::new();
            loop {
                match ahead.next() {
                    Next::Piece(piece) => {
                        all.extend(&piece);
                        ahead.give_back(piece);
                    }
                    Next::Later => {}
                    Next::Gone => break,
                }
            }
            assert_eq!(all, (0..1005).collect::<Vec<u32>>());
        }
    }

    /// Ends when it is dropped, and tells so.
    struct Flag(Sender<()>);

    impl Drop for Flag {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn a_thread_makes_few_pieces_ahead_and_ends_when_nobody_wants_them() {
        let (made, count) = channel();
        let (ended, end) = channel();
        let flag = Flag(ended);
        let fill = move |_: &mut ()| {
            let _keeps = &flag;
            made.send(()).is_ok()
        };
        let mut ahead = Ahead::new(true, fill).unwrap();
        let soon = Duration::from_secs(60);
        (0..PIECES).for_each(|_| count.recv_timeout(soon).unwrap());
        // The next is made only for a piece that was given back.
        assert!(count.try_recv().is_err());
        let Next::Piece(piece) = ahead.next() else { panic!("there are four") };
        assert!(count.try_recv().is_err());
        ahead.give_back(piece);
        count.recv_timeout(soon).unwrap();
        drop(ahead);
        end.recv_timeout(soon).unwrap();
    }

    #[test]
    fn a_panic_is_the_end() {
        let mut ahead = Ahead::<()>::new(true, |()| panic!("of this test")).unwrap();
        while !matches!(ahead.next(), Next::Gone) {}
    }
}
