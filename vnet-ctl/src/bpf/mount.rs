//! bpffs: where pins live.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

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
/// `/sys` was mounted anew and bpffs is hidden: this process moves to the mounts of process 1.
/// Must be called before any thread is started and before relative paths matter.
///
/// # Errors
/// When the process may not move there.
pub fn reach() -> Result<(), Error> {
    if is_mounted() || !is_private() {
        return Ok(());
    }
    let moved = File::open("/proc/1/ns/mnt").and_then(|mounts| {
        let kind = Some(LinkNameSpaceType::Mount);
        Ok(rustix::thread::move_into_link_name_space(mounts.as_fd(), kind)?)
    });
    moved.map_err(|_| Error::PrivateMounts(ROOT))
}

fn is_private() -> bool {
    let inode = |path: &str| std::fs::metadata(path).map(|meta| meta.ino()).ok();
    let (ours, first) = (inode("/proc/self/ns/mnt"), inode("/proc/1/ns/mnt"));
    first.is_some() && ours != first
}

/// Mounts bpffs.
///
/// # Errors
/// When the kernel refuses.
pub fn mount() -> Result<(), Error> {
    let mounted = rustix::mount::mount("bpf", ROOT, "bpf", MountFlags::empty(), Some(c"mode=0700"));
    mounted.map_err(|error| Error::file("mount bpffs on", Path::new(ROOT), io::Error::from(error)))
}

/// Takes the mount back.
///
/// # Errors
/// When something uses it.
pub fn unmount() -> Result<(), Error> {
    let gone = rustix::mount::unmount(ROOT, UnmountFlags::empty());
    gone.map_err(|error| Error::file("unmount", Path::new(ROOT), io::Error::from(error)))
}
