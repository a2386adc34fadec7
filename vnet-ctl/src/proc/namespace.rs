//! Network namespaces: which one this is, and which ones live.
//!
//! A namespace is identified by device and inode of its `/proc/…/ns/net`. The kernel gives the
//! inode of a namespace that ended to a later one, so this identity alone never proves that two
//! are the same: whoever compares it also looks at whether the hooks of before are still there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Identity of the namespace this process is in.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn current() -> io::Result<u64> {
    identity(Path::new("/proc/self/ns/net"))
}

/// Identities of all namespaces that a process is in or a mount holds, as far as they can be
/// seen from here: a container sees only its own processes. One that is not among them may live.
#[must_use]
pub fn alive() -> BTreeSet<u64> {
    let mut alive = BTreeSet::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered =
        processes.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit());
    let mut mounts = BTreeSet::new();
    for process in numbered.map(|entry| entry.path()) {
        alive.extend(identity(&process.join("ns/net")));
        // Most processes share their mounts, which are looked at once.
        if identity(&process.join("ns/mnt")).is_ok_and(|shared| mounts.insert(shared)) {
            let mountinfo = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
            alive.extend(mounted(&mountinfo));
        }
    }
    alive
}

fn identity(path: &Path) -> io::Result<u64> {
    let meta = fs::metadata(path)?;
    Ok(combine(meta.dev(), meta.ino()))
}

fn combine(device: u64, inode: u64) -> u64 {
    device << 32 | inode
}

/// Namespaces bind-mounted anywhere: lines whose root is `net:[INODE]`.
fn mounted(mountinfo: &str) -> impl Iterator<Item = u64> + '_ {
    mountinfo.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let (major, minor) = fields.next()?.split_once(':')?;
        let inode = fields.next()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
        let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
        Some(combine(device, inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_namespace_lives() {
        assert!(alive().contains(&current().unwrap()));
    }

    #[test]
    fn mounts_of_namespaces_are_recognised() {
        let lines = "68 25 0:4 net:[4026532230] /run/netns/lab rw shared:5 - nsfs nsfs rw\n\
                     22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
        let expected = combine(rustix::fs::makedev(0, 4), 4_026_532_230);
        assert_eq!(mounted(lines).collect::<Vec<_>>(), [expected]);
    }
}
