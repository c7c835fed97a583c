//! Files that the pattern of an `include` names.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::base::glob;

/// Whether a path is a pattern.
pub fn is_pattern(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// The files that match a pattern, in order of their names. As in a shell, a pattern matches
/// within one component of the path, and a name that begins with a dot only if it does, too.
/// Directories that cannot be read have no matches.
pub fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        found = match component {
            Component::Normal(name) if is_pattern(name.as_bytes()) => {
                found.iter().flat_map(|directory| entries(directory, name.as_bytes())).collect()
            }
            other => found.into_iter().map(|path| path.join(other)).collect(),
        };
    }
    found.retain(|path| path.is_file());
    found
}

fn entries(directory: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut paths: Vec<PathBuf> =
        names.filter(|name| matches(pattern, name)).map(|name| directory.join(name)).collect();
    paths.sort();
    paths
}

fn matches(pattern: &[u8], name: &OsStr) -> bool {
    let hidden = name.as_bytes().first() == Some(&b'.') && pattern.first() != Some(&b'.');
    !hidden && glob::matches(pattern, name.as_bytes(), false)
}
