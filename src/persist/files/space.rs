//! How much room a file system has, which the standard library does not tell. Must not know what
//! it is wanted for.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes that this process may still write to the file system `path` lies on.
pub fn free(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut told = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a zero byte, and the structure is there to be written to.
    if unsafe { libc::statvfs(path.as_ptr(), told.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros is a valid value of it, and the call has filled it in.
    let told = unsafe { told.assume_init() };
    // Their types differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    let (all, blocks, size) = (told.f_blocks as u64, told.f_bavail as u64, told.f_frsize as u64);
    // Some that are no disks have no size at all.
    Ok(if all == 0 { u64::MAX } else { blocks.saturating_mul(size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_df_tells() {
        let dir = tempfile::tempdir().unwrap();
        let df = || {
            let mut df = std::process::Command::new("df");
            let output = df.arg("-Pk").arg(dir.path()).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let available = text.lines().nth(1).unwrap().split_whitespace().nth(3).unwrap();
            available.parse::<u64>().unwrap() * 1024
        };
        // Others write meanwhile.
        let (before, free, after) = (df(), free(dir.path()).unwrap(), df());
        let near = before.abs_diff(free).min(after.abs_diff(free));
        assert!(near < 1 << 30, "{before} {free} {after}");
        assert!(super::free(&dir.path().join("missing")).is_err());
    }
}
