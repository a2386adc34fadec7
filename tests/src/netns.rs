//! A network namespace of a test's own.
//!
//! It is bound to `/run/netns/<name>`, so a person can look inside while a test is stopped
//! (`nsenter --net=/run/netns/<name>`), and is removed when the value is dropped, by a panic too.
//! Only the network namespace is ever entered, never a mount namespace: pins under /sys/fs/bpf stay
//! visible from inside.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Once};
use std::thread;

use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::{ifreq, instance};

const DIRECTORY: &str = "/run/netns";

/// Settings every new namespace gets, so that tests see only the packets they send and do not
/// depend on the host's defaults. What a kernel was built without is passed over.
const QUIET: &[(&str, &str)] = &[
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // No ICMP is held back, so a test need not wait for a rate limit's token.
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/icmp_ratemask", "0"),
    // No link-local addresses: no DAD, router solicitations or MLD reports in the captures.
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

/// A named network namespace that lives as long as this value.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: Arc<File>,
}

impl Netns {
    /// Makes a namespace called `vt<pid>-<n>-<role>`, with `lo` up.
    ///
    /// # Panics
    /// When not root, with a sentence saying so.
    pub fn new(role: &str) -> Self {
        Self::named(format!("{}-{role}", instance::unique()))
    }

    fn named(name: String) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make network namespaces and need root: run `sudo -E cargo xtask test`"
        );
        prepare_once();
        let path = path_of(&name);
        File::create_new(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
        let made = thread::scope(|scope| scope.spawn(|| make(&path)).join());
        let made = made.unwrap_or_else(|panic| resume_unwind(panic));
        if let Err(error) = made {
            remove(&path);
            panic!("cannot make the network namespace {name}: {error}");
        }
        let file = Arc::new(File::open(&path).expect("the namespace was bound a moment ago"));
        let netns = Self { name, file };
        netns.ip("link set lo up");
        netns
    }

    /// The namespace's name below /run/netns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path that `nsenter --net=` and `ip … netns` take.
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Runs `work` inside, on a thread of its own, and gives back what it returns.
    ///
    /// Sockets made inside keep belonging to this namespace afterwards. A panic inside continues
    /// outside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let joined = thread::scope(|scope| {
            let inside = || {
                enter(self.file.as_fd()).expect("cannot enter a namespace of our own");
                work()
            };
            // The test's name where there is one, so that a panic message says which test it was.
            let name = thread::current().name().unwrap_or(&self.name).to_owned();
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, inside);
            thread.expect("cannot start a thread").join()
        });
        joined.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// A command that will run inside (not by `ip netns exec`, which would remount /sys).
    pub fn command<S: AsRef<OsStr>>(&self, program: &str, args: &[S]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        let file = Arc::clone(&self.file);
        // SAFETY: between fork and exec the closure only makes the setns system call on a file
        // descriptor that it keeps open itself: it takes no lock and allocates nothing.
        unsafe { command.pre_exec(move || enter(file.as_fd())) };
        command
    }

    /// Runs `ip <line>` inside and returns what it printed.
    ///
    /// # Panics
    /// When `ip` fails, with its own words.
    pub fn ip(&self, line: &str) -> String {
        self.must("ip", &line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs a command inside that must succeed, and returns what it printed.
    ///
    /// # Panics
    /// When it cannot be started or fails, with its own words.
    pub fn must(&self, program: &str, args: &[&str]) -> String {
        let shown = format!("{program} {}", args.join(" "));
        let output = self.command(program, args).output();
        let output = output.unwrap_or_else(|e| panic!("cannot run `{program}`: {e}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "in {}: `{shown}` failed: {}", self.name, stderr.trim());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The index of a device.
    ///
    /// # Panics
    /// When there is no such device.
    pub fn index(&self, device: &str) -> u32 {
        let index = self.run(|| ifreq::index(device));
        index.unwrap_or_else(|e| panic!("no device {device} in {}: {e}", self.name))
    }

    /// Reads a sysctl, e.g. `net/ipv4/ip_forward`; None where the kernel has none of that name.
    pub fn sysctl(&self, name: &str) -> Option<String> {
        let path = Path::new("/proc/sys").join(name);
        self.run(|| fs::read_to_string(path)).ok().map(|text| text.trim().to_owned())
    }

    /// Sets a sysctl.
    ///
    /// # Panics
    /// When the kernel does not take the value.
    pub fn set_sysctl(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys").join(name);
        let written = self.run(|| fs::write(path, value));
        written.unwrap_or_else(|e| panic!("cannot set the sysctl {name} to {value}: {e}"));
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.path());
    }
}

fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Moves the calling thread into the network namespace, and into no other kind.
fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

/// Gives the calling thread a new namespace and binds that to `path`.
fn make(path: &Path) -> io::Result<()> {
    // SAFETY: NEWNET splits off this thread's network alone; file descriptors, which other
    // threads rely on, stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET)? };
    for (name, value) in QUIET {
        // A name that is missing is a feature this kernel lacks: nothing to make quiet.
        let _ = fs::write(Path::new("/proc/sys").join(name), value);
    }
    Ok(mount_bind("/proc/thread-self/ns/net", path)?)
}

fn remove(path: &Path) {
    // Neither may fail for a namespace of ours; in a Drop there is no one to tell, and the next
    // run's sweep tries again.
    let _ = unmount(path, UnmountFlags::DETACH);
    let _ = fs::remove_file(path);
}

/// Makes /run/netns what `ip netns` wants it to be and sweeps it, once in this process.
fn prepare_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        share_directory().unwrap_or_else(|e| panic!("cannot prepare {DIRECTORY}: {e}"));
        instance::sweep_pins();
        sweep();
    });
}

/// Makes /run/netns a shared mount of its own, as the first `ip netns add` of a machine does.
///
/// Left to someone's `ip netns add` while we run, that mount would cover the namespaces that are
/// bound already, and nobody could remove them any more. Both take the same lock.
fn share_directory() -> io::Result<()> {
    fs::create_dir_all(DIRECTORY)?;
    let lock = File::open(DIRECTORY)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    match mount_change(DIRECTORY, shared) {
        // Not a mount yet.
        Err(Errno::INVAL) => {
            mount_bind_recursive(DIRECTORY, DIRECTORY)?;
            Ok(mount_change(DIRECTORY, shared)?)
        }
        other => Ok(other?),
    }
}

/// Removes what test processes that were killed have left.
fn sweep() {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(instance::is_orphan) {
            remove(&entry.path());
        }
    }
}
