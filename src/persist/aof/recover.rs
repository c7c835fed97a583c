//! After a crash: what the ring holds and the incr files lack is appended to them, before anything
//! is loaded, so that loading sees ordinary files, whoever loads them.
//!
//! A ring is believed only if it is of this AOF and nobody has written to the AOF since. So every
//! frame is compared with what the file has at its place; a frame may only continue the file, not
//! leave a gap, nor follow on another file that lacks its end; what stands before a segment's place
//! must have the hash noted in its header; and where there is nothing before to compare (an empty
//! file), the file must be the very one (device and inode) or the ring must lie beside it. One
//! disagreement and nothing is replayed: the ring is set aside under another name, as it may be the
//! only copy of acknowledged writes.
//!
//! Replaying is repeatable: a crash in the midst of it changes nothing for the next start.

use std::io;
use std::path::{Path, PathBuf};

use log::warn;

use super::Options;
use super::format::{
    Anchor, PAGE, RingHeader, SEGMENT_HEADER, SegmentHeader, frames, is_clean, salt,
};
use super::manifest::{Manifest, with_suffix};
use crate::persist::files::{FileHandle, Files, Open};

/// One segment of a ring that was in use.
struct Segment {
    index: u32,
    header: SegmentHeader,
}

struct RingFile {
    file: Box<dyn FileHandle>,
    header: RingHeader,
}

/// What a run of segments of one file comes to.
struct Plan<'a> {
    file: Box<dyn FileHandle>,
    segments: &'a [Segment],
    /// What the file has, not counting a tail of zeros that the ring can fill.
    len: u64,
    /// Where the file ends when all is replayed.
    end: u64,
}

/// Replays the rings that a crash has left wherever they may be. Returns how many bytes the files
/// lacked; or which ring is to blame.
pub fn all(options: &Options, manifest: &Manifest) -> Result<u64, (PathBuf, io::Error)> {
    let mut missing = 0;
    for ring in options.ring_paths() {
        let is_beside = ring == options.ring_beside();
        missing += recover(&*options.files, &ring, is_beside, &options.aof_dir(), manifest)
            .map_err(|e| (ring, e))?;
    }
    Ok(missing)
}

/// Whether there is a ring here that its server has not done with: it runs, or it crashed.
pub fn is_left(files: &dyn Files, path: &Path) -> io::Result<bool> {
    RingFile::open(files, path).map(|ring| ring.is_some())
}

/// Replays the ring at `path` into the increments in `dir`. Returns how many bytes were missing.
/// That there is no ring is not an error, nor that it is not to be used: that is logged.
pub fn recover(
    files: &dyn Files,
    path: &Path,
    is_beside: bool,
    dir: &Path,
    manifest: &Manifest,
) -> io::Result<u64> {
    let Some(ring) = RingFile::open(files, path)? else { return Ok(0) };
    let mut segments = ring.segments()?;
    segments.sort_by_key(|s| s.header.generation);
    let mut plans = Vec::new();
    // What comes before the last file that is written to.
    let mut earlier = &manifest.incrs[..0];
    for run in segments.chunk_by(|a, b| a.header.file_seq == b.header.file_seq) {
        let seq = run[0].header.file_seq;
        // Not in the manifest: a rewrite has replaced that file since.
        let Some(index) = manifest.incrs.iter().position(|e| e.seq == seq) else { continue };
        let entry = &manifest.incrs[index];
        if let Some(before) = index.checked_sub(1).map(|i| &manifest.incrs[i])
            && !is_complete(files, &Manifest::path(dir, before), run[0].header.before_end, &plans)?
        {
            let name = before.name.to_string_lossy();
            warn!("What followed on {name} is not replayed, as its own end is lost");
            break;
        }
        let file = match files.open(&Manifest::path(dir, entry), Open::Read) {
            Ok(file) => file,
            // Loading will complain about it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        match ring.plan(file, run, is_beside)? {
            Ok(plan) => {
                plans.push((plan, Manifest::path(dir, entry)));
                earlier = &manifest.incrs[..index];
            }
            Err(why) => {
                let name = entry.name.to_string_lossy();
                warn!("The ring {} is not replayed into {name}: {why}", path.display());
                return set_aside(files, path).map(|()| 0);
            }
        }
    }
    for before in earlier {
        // What the ring has let go of may be in memory only, if fsync is left to the system; and a
        // file must not last longer than one before it.
        match files.open(&Manifest::path(dir, before), Open::Read) {
            Ok(file) => file.sync_all()?,
            // Loading will complain about it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    let mut missing = 0;
    for (mut plan, path) in plans {
        plan.file = files.open(&path, Open::Write)?;
        missing += plan.end - plan.len;
        // Where nothing is missing, too: the next file must not last longer than this one.
        ring.replay(&plan)?;
    }
    if missing > 0 {
        warn!("Replayed {missing} bytes that the AOF lacked from the ring {}", path.display());
    }
    Ok(missing)
}

/// Whether a file is, or will be, as long as it was when the next one was begun. A power loss can
/// have taken its end from the file and from the ring alike.
fn is_complete(
    files: &dyn Files,
    path: &Path,
    end: u64,
    plans: &[(Plan<'_>, PathBuf)],
) -> io::Result<bool> {
    if let Some((plan, _)) = plans.iter().find(|(_, of)| of == path) {
        return Ok(plan.end >= end);
    }
    match files.open(path, Open::Read) {
        Ok(file) => Ok(len_without_zeros(&*file, 0)? >= end),
        // Loading will complain about it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Keeps a ring under a name by which no server finds it.
pub fn set_aside(files: &dyn Files, path: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let aside = path.with_file_name(with_suffix(name, ".unused"));
    warn!("It is kept as {}", aside.display());
    files.rename(path, &aside)
}

impl RingFile {
    /// None if there is no ring, or no more need of it.
    fn open(files: &dyn Files, path: &Path) -> io::Result<Option<RingFile>> {
        let file = match files.open(path, Open::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut page = vec![0; PAGE];
        let n = file.read_full_at(&mut page, 0)?;
        if let Some(version) = RingHeader::other_version(&page[..n]) {
            return Err(io::Error::other(format!(
                "the ring is of version {version} and may hold acknowledged writes that the file \
                 lacks: start and stop the goredis that made it, or move it away to do without"
            )));
        }
        let Some(header) = RingHeader::decode(&page[..n], file.len()?) else { return Ok(None) };
        if is_clean(&page[..n], header.epoch) {
            return Ok(None);
        }
        Ok(Some(RingFile { file, header }))
    }

    fn segment_at(&self, index: u32) -> u64 {
        PAGE as u64 + u64::from(index) * self.header.segment_size
    }

    fn segments(&self) -> io::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        for index in 0..self.header.segments {
            let mut bytes = [0; SEGMENT_HEADER];
            let at = self.segment_at(index + 1) - SEGMENT_HEADER as u64;
            let n = self.file.read_full_at(&mut bytes, at)?;
            if let Some(header) = SegmentHeader::decode(&bytes[..n], self.header.epoch) {
                segments.push(Segment { index, header });
            }
        }
        Ok(segments)
    }

    /// Calls `visit` for each whole frame of the segments, with its place in the AOF file; stops
    /// where it says false.
    fn each_frame(
        &self,
        segments: &[Segment],
        visit: &mut dyn FnMut(u64, &[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        // The header's sizes fit the file's length, so this is memory for bytes that are there.
        let mut bytes = vec![0; self.header.segment_size as usize];
        for segment in segments {
            let n = self.file.read_full_at(&mut bytes, self.segment_at(segment.index))?;
            let salt = salt(self.header.epoch, segment.header.generation);
            let mut at = segment.header.file_offset;
            for payload in frames(&bytes[..n], at, salt) {
                if !visit(at, payload)? {
                    return Ok(());
                }
                at = at.saturating_add(payload.len() as u64);
            }
        }
        Ok(())
    }

    /// What of the segments the file lacks, or why they are not to be believed.
    fn plan<'a>(
        &self,
        file: Box<dyn FileHandle>,
        segments: &'a [Segment],
        is_beside: bool,
    ) -> io::Result<Result<Plan<'a>, String>> {
        let first = segments.iter().map(|s| s.header.file_offset).min().unwrap_or(0);
        let len = len_without_zeros(&*file, first)?;
        if first > len {
            return Ok(Err(format!("it begins at offset {first}, and the file ends at {len}")));
        }
        let mut evidence = false;
        for Segment { header, .. } in segments {
            let at = header.file_offset;
            let before = at.min(header.anchor.len.into());
            if at > len || before == 0 {
                continue;
            }
            let mut bytes = vec![0; before as usize];
            let n = file.read_full_at(&mut bytes, at - before)?;
            if Anchor::of(&bytes[..n]) != header.anchor {
                return Ok(Err(format!("the file has changed before offset {at}")));
            }
            evidence = true;
        }
        let mut end = len;
        let mut differs = None;
        self.each_frame(segments, &mut |at, payload| {
            if at > end {
                // A power loss has taken what was between from both places.
                return Ok(false);
            }
            let have = len.saturating_sub(at).min(payload.len() as u64) as usize;
            let mut bytes = vec![0; have];
            let n = file.read_full_at(&mut bytes, at)?;
            if n < have || bytes != payload[..have] {
                differs = Some(at);
                return Ok(false);
            }
            evidence |= have > 0;
            end = end.max(at + payload.len() as u64);
            Ok(true)
        })?;
        if let Some(at) = differs {
            return Ok(Err(format!("the file differs from it behind offset {at}")));
        }
        let identity = file.identity()?;
        let is_same = segments.iter().all(|s| s.header.identity == identity);
        if end > len && !evidence && !is_beside && !is_same {
            return Ok(Err("it was made for another file of that name".to_string()));
        }
        Ok(Ok(Plan { file, segments, len, end }))
    }

    /// Writes what the file lacks, and again what it shows: after a failed fsync that may have been
    /// in memory only, and would not be synced now.
    fn replay(&self, plan: &Plan<'_>) -> io::Result<()> {
        let mut end = plan.len;
        self.each_frame(plan.segments, &mut |at, payload| {
            if at > end {
                return Ok(false);
            }
            plan.file.write_all_at(payload, at)?;
            end = end.max(at + payload.len() as u64);
            Ok(true)
        })?;
        plan.file.sync_all()
    }
}

/// The file's length, less the zeros at its end from `first` on. A power loss can leave those; the
/// ring, where it has something for their place, knows better.
fn len_without_zeros(file: &dyn FileHandle, first: u64) -> io::Result<u64> {
    let mut len = file.len()?;
    let mut window = vec![0; 1 << 16];
    while len > first {
        let n = (len - first).min(window.len() as u64);
        let got = file.read_full_at(&mut window[..n as usize], len - n)?;
        match window[..got].iter().rposition(|&b| b != 0) {
            Some(last) => return Ok(len - n + last as u64 + 1),
            None => len -= n,
        }
    }
    Ok(len)
}
