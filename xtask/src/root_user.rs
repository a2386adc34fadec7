//! Being root, or becoming it with sudo for what needs it.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
