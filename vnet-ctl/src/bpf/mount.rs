//! bpffs: where pins live.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::thread::LinkNameSpaceType;

use super::error::Error;
use super::pins::ROOT;

/// `BPF_FS_MAGIC` (linux/magic.h).
const MAGIC: u64 = 0xcafe_4a11;

/// Whether bpffs is there.
#[must_use]
pub fn is_mounted() -> bool {
    rustix::fs::statfs(ROOT).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(MAGIC))
}

/// Makes pins reachable from a private mount namespace such as `ip netns exec` makes, where
/// `/sys` was mounted anew and bpffs is hidden: this process moves to the mounts of the process
/// that started it. Must be called before any thread is started; relative paths mean nothing
/// afterwards.
///
/// # Errors
/// When the process may not move there: pins made here would vanish with it.
pub fn reach() -> Result<(), Error> {
    if is_mounted() {
        return Ok(());
    }
    let Some(mounts) = outer_mounts() else { return Ok(()) };
    let moved = File::open(mounts).and_then(|mounts| {
        let kind = Some(LinkNameSpaceType::Mount);
        Ok(rustix::thread::move_into_link_name_space(mounts.as_fd(), kind)?)
    });
    moved.map_err(|_| Error::PrivateMounts(ROOT))
}

/// Mount namespace of the nearest ancestor that has another one than this process; `None` when
/// all have the same, as in a container, whose mounts last as long as it does.
fn outer_mounts() -> Option<PathBuf> {
    let ours = fs::metadata("/proc/self/ns/mnt").ok()?.ino();
    let mut process = "self".to_owned();
    loop {
        process = parent(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)?;
        let mounts = PathBuf::from(format!("/proc/{process}/ns/mnt"));
        // Not every process lets itself be looked at; the next one may.
        if fs::metadata(&mounts).is_ok_and(|meta| meta.ino() != ours) {
            return Some(mounts);
        }
    }
}

/// The parent in a process's status; 0 is outside of what can be seen.
fn parent(status: &str) -> Option<String> {
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    (parent != "0").then(|| parent.to_owned())
}

/// Mounts bpffs where it is not mounted; whether it was not. Of those who find it missing at once, one
/// mounts it: the directory that is below the mount is what they all can lock.
///
/// # Errors
/// When the kernel refuses.
pub fn mount() -> Result<bool, Error> {
    if is_mounted() {
        return Ok(false);
    }
    let mounted = File::open(ROOT).and_then(|below| {
        rustix::fs::flock(&below, FlockOperation::LockExclusive)?;
        if is_mounted() {
            return Ok(false);
        }
        rustix::mount::mount("bpf", ROOT, "bpf", MountFlags::empty(), Some(c"mode=0700"))?;
        Ok(true)
    });
    mounted.map_err(|error| Error::file("mount bpffs on", Path::new(ROOT), error))
}

/// Takes the mount back.
///
/// # Errors
/// When something uses it.
pub fn unmount() -> Result<(), Error> {
    let gone = rustix::mount::unmount(ROOT, UnmountFlags::empty());
    gone.map_err(|error| Error::file("unmount", Path::new(ROOT), io::Error::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_followed_up_to_the_first() {
        assert_eq!(parent("Name:\tx\nPPid:\t42\n"), Some("42".to_owned()));
        assert_eq!(parent("Name:\tx\nPPid:\t0\n"), None);
    }
}
