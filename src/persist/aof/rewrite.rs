//! Replaces all that was before an increment by a new base: how the AOF stays short. The data of
//! the base are somebody else's business; here are the files' names and the manifest.
//!
//! The order makes each moment safe: the increment exists and is in the manifest before anything
//! goes to it (`Aof::switch_incr`); the base is durable under its name before the manifest has it;
//! what it replaces is removed when the manifest without it is durable.

use super::log::{Effort, Shared};
use super::manifest::{Kind, Manifest};
use super::{Options, buffer};
use crate::persist::files::reason;
use log::info;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A base to be written, for everything that precedes the present increment.
pub struct Rewrite {
    pub(super) options: Options,
    pub(super) manifest: Manifest,
    pub(super) done: Sender<(Manifest, u64)>,
    /// The log thread, if the AOF is being appended to.
    pub(super) log: Option<Arc<Shared>>,
}

impl Rewrite {
    /// The same for an AOF that is not appended to: `manifest` is what there was of it, of which
    /// nothing stays. What to [start](super::Aof::start) with is sent in the end.
    pub fn anew(options: &Options, manifest: Manifest) -> (Rewrite, Receiver<(Manifest, u64)>) {
        let (mut manifest, (done, made)) = (manifest, channel());
        manifest.retire();
        (Rewrite { options: options.clone(), manifest, done, log: None }, made)
    }

    /// Where to write it to, before [`Rewrite::finish`].
    pub fn temporary(&self) -> PathBuf {
        let name = format!("temp-rewriteaof-bg-{}.aof", std::process::id());
        self.options.aof_dir().join(name)
    }

    /// The temporary file is complete and durable: makes it the base, and removes what it
    /// replaces. `is_rdb`: it is in RDB format, and not made of commands. Waits for the disk.
    ///
    /// # Errors
    /// As text; then all is as before.
    pub fn finish(self, is_rdb: bool) -> Result<(), String> {
        let Rewrite { ref options, .. } = self;
        let (files, dir) = (&*options.files, options.aof_dir());
        if let Some(log) = &self.log {
            // What was committed before the increment began is still on its way to files that are
            // about to go: the log thread must be done with them.
            log.wait(log.request(Effort::Sync))?;
        }
        let mut manifest = self.manifest.clone();
        manifest.keep_last_incr();
        let suffix = if is_rdb { "rdb" } else { "aof" };
        let path = Manifest::path(&dir, manifest.add_base(&options.filename, suffix));
        let made = files.rename(&self.temporary(), &path).and_then(|()| {
            files.sync_dir(&dir)?;
            let size = files.metadata(&path)?.len;
            manifest.write(files, &dir, &options.filename)?;
            Ok(size)
        });
        let size = made.map_err(|e| format!("Can't make the new AOF base: {}", reason(&e)))?;
        info!("Background AOF rewrite: {} is the new base", path.display());
        buffer::delete_history(options, &dir, &mut manifest);
        debug_assert!(manifest.base.as_ref().is_some_and(|base| base.kind == Kind::Base));
        // Nobody listens any more if the AOF has been turned off meanwhile.
        let _ = self.done.send((manifest, size));
        Ok(())
    }
}
