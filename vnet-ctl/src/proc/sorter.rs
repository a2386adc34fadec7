//! The network namespace in which the kernel puts fragments in order: made, kept by a mount, removed.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::spec::Instance;

/// What lives as long as the machine runs.
const RUN: &str = "/run";
/// Where the namespaces of all instances are.
pub const HOME: &str = "/run/vnet";

/// Where the namespace of one instance is.
#[must_use]
pub fn path(instance: &Instance) -> PathBuf {
    Path::new(HOME).join(instance.as_str())
}

/// The instances that have one, or what is left of one.
#[must_use]
pub fn all() -> Vec<Instance> {
    let entries = fs::read_dir(HOME).into_iter().flatten().flatten();
    entries.filter_map(|entry| Instance::parse(entry.file_name().to_str()?).ok()).collect()
}

/// Makes the namespace, and returns it.
///
/// # Errors
/// When the kernel refuses.
pub fn make(instance: &Instance) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(HOME) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let path = path(instance);
    File::create(&path)?;
    apart(|| -> io::Result<()> {
        own_network()?;
        Ok(mount_bind("/proc/thread-self/ns/net", &path)?)
    })?;
    File::open(&path)
}

/// Removes the namespace; one that is gone is fine.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(instance: &Instance) -> io::Result<()> {
    let path = path(instance);
    // Whatever was left by commands that were killed lies on top of each other.
    loop {
        match unmount(&path, UnmountFlags::DETACH) {
            Ok(()) => {}
            // Nothing is mounted there, or there is nothing.
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(error) => return Err(error.into()),
        }
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // The last one takes the directory along.
    let _ = fs::remove_dir(HOME);
    Ok(())
}

/// Does something in a namespace, on a thread of its own.
///
/// # Errors
/// When the namespace cannot be entered, or what is done there fails.
pub fn inside<T: Send, E: From<io::Error> + Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    apart(|| {
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
            .map_err(io::Error::from)?;
        work()
    })
}

/// Tries out all that a sorter takes, `work` included, in namespaces that end with this: a container
/// may have no right to some of it, however much else it may do.
///
/// # Errors
/// When the kernel has no further namespaces, or what is done there fails.
pub fn try_out<T: Send, E: From<io::Error> + Send>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    apart(|| {
        let home = if Path::new(HOME).exists() { HOME } else { RUN };
        access(home, Access::WRITE_OK | Access::EXEC_OK).map_err(because("write to /run"))?;
        own_network()?;
        settle(1).map_err(because("write to /proc/sys"))?;
        try_mount().map_err(because("mount"))?;
        work()
    })
}

/// Mounts a namespace on this very program, where nobody else can see it.
fn try_mount() -> io::Result<()> {
    #[expect(deprecated, reason = "only with FILES it is not safe, and this is NEWNS alone")]
    rustix::thread::unshare(UnshareFlags::NEWNS)?;
    let apart = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", apart)?;
    Ok(mount_bind("/proc/thread-self/ns/net", std::env::current_exe()?)?)
}

/// Says what could not be done.
fn because<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("cannot {doing}: {error}"))
    }
}

/// What the namespace is told, by names below `/proc/sys/net/ipv4`. To be called there.
///
/// # Errors
/// When the kernel refuses.
pub fn settle(seconds: u32) -> io::Result<()> {
    let seconds = seconds.to_string();
    for (name, value) in [
        // However many packets of others come between two fragments.
        ("ipfrag_max_dist", "0"),
        ("ipfrag_time", seconds.as_str()),
        ("ipfrag_high_thresh", MEMORY),
        ("conf/all/rp_filter", "0"),
        ("conf/default/rp_filter", "0"),
        ("conf/all/send_redirects", "0"),
        ("conf/default/send_redirects", "0"),
        ("ip_forward", "1"),
    ] {
        fs::write(Path::new("/proc/sys/net/ipv4").join(name), value)?;
    }
    Ok(())
}

/// Whether this kernel has IPv6.
#[must_use]
pub fn has_ipv6() -> bool {
    Path::new(IPV6).exists()
}

/// The same as [`settle`] for IPv6, where there is any. To be called where fragments are joined, and
/// there is no device yet: it forwards, and has no address and nothing to say.
///
/// # Errors
/// When the kernel refuses.
pub fn settle6(seconds: u32) -> io::Result<()> {
    if !has_ipv6() {
        return Ok(());
    }
    let seconds = seconds.to_string();
    for (name, value) in [
        ("netfilter/nf_conntrack_frag6_timeout", seconds.as_str()),
        ("netfilter/nf_conntrack_frag6_high_thresh", MEMORY),
        ("ipv6/conf/all/disable_ipv6", "0"),
        ("ipv6/conf/default/disable_ipv6", "0"),
        // With an address it would tell that fragments did not come in time.
        ("ipv6/conf/lo/disable_ipv6", "1"),
        ("ipv6/conf/default/addr_gen_mode", "1"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/all/forwarding", "1"),
    ] {
        fs::write(Path::new("/proc/sys/net").join(name), value)?;
    }
    Ok(())
}

const IPV6: &str = "/proc/sys/net/ipv6";

/// Bytes that fragments may take while they wait: the kernel's own default.
const MEMORY: &str = "4194304";

/// Keeps IPv6 off a device of this namespace.
pub fn quiet(device: &str) {
    // Where there is no IPv6, there is nothing to keep quiet.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "1");
}

fn own_network() -> io::Result<()> {
    #[expect(deprecated, reason = "only with FILES it is not safe, and this is NEWNET alone")]
    let apart = rustix::thread::unshare(UnshareFlags::NEWNET);
    Ok(apart?)
}

/// On a thread of its own, because a namespace is a thread's.
fn apart<T: Send, E: From<io::Error> + Send>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|_| Err(io::Error::other("the thread for a namespace ended early").into()))
}
