//! Programs on the calls of this host's own sockets: put on the root cgroup, taken off, and looked at.
//!
//! They are links of their own and chain with everybody else's. The cgroups need not be mounted
//! anywhere.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use aya::maps::{Array, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{CgroupAttachMode, CgroupSockAddr, CgroupSockAddrAttachType};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::net::{AddressFamily, SocketType};
use vnet_common::call::Home;

use super::error::Error;
use super::maps::Maps;
use super::pins::{Pins, remove};
use crate::spec::Call;
use crate::state::Running;

/// Where the socket connects to that shows the namespace: discard, to which nothing is sent.
const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);

/// Where the kernel has the call.
pub(super) const fn attach_type(call: Call) -> CgroupSockAddrAttachType {
    match call {
        Call::Connect4 => CgroupSockAddrAttachType::Connect4,
        Call::Connect6 => CgroupSockAddrAttachType::Connect6,
        Call::Send4 => CgroupSockAddrAttachType::UDPSendMsg4,
        Call::Receive4 => CgroupSockAddrAttachType::UDPRecvMsg4,
        Call::Receive6 => CgroupSockAddrAttachType::UDPRecvMsg6,
        Call::Peer4 => CgroupSockAddrAttachType::GetPeerName4,
        Call::Peer6 => CgroupSockAddrAttachType::GetPeerName6,
    }
}

/// Name of the program for a call.
pub(super) const fn program_name(call: Call) -> &'static str {
    match call {
        Call::Connect4 => "vnet_connect4",
        Call::Connect6 => "vnet_connect6",
        Call::Send4 => "vnet_send4",
        Call::Receive4 => "vnet_receive4",
        Call::Receive6 => "vnet_receive6",
        Call::Peer4 => "vnet_peer4",
        Call::Peer6 => "vnet_peer6",
    }
}

/// `CGROUP2_SUPER_MAGIC` (linux/magic.h).
const MAGIC: u64 = 0x6367_7270;

/// The root of the cgroups, as this process may see them.
pub(super) fn root() -> Result<OwnedFd, Error> {
    let opened = mounted_root().and_then(|root| root.map_or_else(hidden, Ok));
    opened.map_err(|error| Error::hook("open the root cgroup".to_owned(), error))
}

/// The same, if they are mounted somewhere.
fn mounted_root() -> io::Result<Option<OwnedFd>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let is_root = |dir: &&str| {
        rustix::fs::statfs(*dir).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(MAGIC))
    };
    let root = mounted(&mounts).find(is_root);
    root.map(|dir| Ok(File::open(dir)?.into())).transpose()
}

/// Where their root is mounted: lines of that kind whose root is all of it.
fn mounted(mountinfo: &str) -> impl Iterator<Item = &str> {
    mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, dir) = (fields.next()?, fields.next()?);
        (root == "/" && kind.starts_with("cgroup2 ")).then_some(dir)
    })
}

/// The same where they are mounted nowhere: by a mount that nobody else sees, and that ends with the
/// file. (Not where they are: each mount sets the options of all, `nsdelegate` among them.)
fn hidden() -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(rustix::mount::fsmount(&context, flags, MountAttrFlags::empty())?)
}

/// Why programs cannot sit on calls here; nothing when they can. It is tried out with those of the
/// instance, where they are harmless: they lead nobody yet.
#[must_use]
pub fn why_no_calls(pins: &Pins) -> Option<String> {
    let tried = root().and_then(|root| {
        Call::ALL.into_iter().try_for_each(|call| put_on_pinned(pins, call, &root).map(drop))
    });
    tried.err().map(|error| error.to_string())
}

/// Puts the pinned program on a call. The link ends with the value.
fn put_on_pinned(pins: &Pins, call: Call, root: &OwnedFd) -> Result<FdLink, Error> {
    let program = CgroupSockAddr::from_pin(pins.call_program(call), attach_type(call));
    let doing = || format!("open the pinned program for the call {call}");
    put_on(&mut program.map_err(|error| Error::hook(doing(), error))?, call, root)
}

/// Puts a program on a call. The link ends with the value.
pub(super) fn put_on(
    program: &mut CgroupSockAddr,
    call: Call,
    root: &OwnedFd,
) -> Result<FdLink, Error> {
    let doing = || format!("attach to the call {call} of this host's sockets");
    // A link is always one of several.
    let attached = program.attach(root, CgroupAttachMode::Single);
    let link = attached.and_then(|id| program.take_link(id));
    let link = link.map_err(|error| Error::hook(doing(), error))?;
    FdLink::try_from(link).map_err(|error| Error::hook(doing(), error))
}

/// Puts the pinned programs on all calls, each in the place of the former one: for a moment there are
/// both, and who has been led by the first is not led again by the second.
///
/// # Errors
/// When the kernel refuses.
pub fn attach_calls(pins: &Pins) -> Result<(), Error> {
    let root = root()?;
    show_namespace(pins, &root)?;
    for call in Call::ALL {
        let link = put_on_pinned(pins, call, &root)?;
        let (new, place) = (pins.new_call(call), pins.call(call));
        remove(&new)?;
        let doing = || format!("pin the link of call {call}");
        drop(link.pin(&new).map_err(|error| Error::hook(doing(), error))?);
        fs::rename(&new, &place).map_err(|error| Error::file("pin", &place, error))?;
    }
    Ok(())
}

/// Has the programs learn in which network namespace they are: by a socket that connects from there,
/// and by which it is known to them.
fn show_namespace(pins: &Pins, root: &OwnedFd) -> Result<(), Error> {
    let fault = |source| Error::map("write", "home", source);
    let mut map: Array<MapData, Home> = Maps::of(pins).open("home")?;
    if map.get(&0, 0).map_err(fault)?.netns != 0 {
        return Ok(());
    }
    let doing = || "show the network namespace to the programs".to_owned();
    let _link = put_on_pinned(pins, Call::Connect4, root)?;
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None);
    let socket = socket.map_err(|error| Error::hook(doing(), error))?;
    let shown = rustix::net::sockopt::socket_cookie(&socket);
    let shown = shown.map_err(|error| Error::hook(doing(), error))?;
    map.set(0, Home { netns: 0, shown }, 0).map_err(fault)?;
    // It need not get anywhere: the loopback may be down.
    let _ = rustix::net::connect(&socket, &NOWHERE);
    let Home { netns, .. } = map.get(&0, 0).map_err(fault)?;
    map.set(0, Home { netns, shown: 0 }, 0).map_err(fault)?;
    if netns == 0 {
        return Err(Error::hook(doing(), "no program was run when a socket connected"));
    }
    Ok(())
}

/// Takes the programs off all calls.
///
/// # Errors
/// When a pin cannot be removed.
pub fn detach_calls(pins: &Pins) -> Result<(), Error> {
    for call in Call::ALL {
        remove(&pins.call(call))?;
        remove(&pins.new_call(call))?;
    }
    Ok(())
}

/// What sits on the calls, given the ids of the pinned programs; nothing when there is nothing.
pub(super) fn running(pins: &Pins, programs: &BTreeMap<Call, u32>) -> Option<Running> {
    let id = |call: Call| {
        let link = FdLink::from(PinnedLink::from_pin(pins.call(call)).ok()?);
        Some(link.info().ok()?.program_id())
    };
    let ids: Vec<_> = Call::ALL.into_iter().map(|call| (call, id(call))).collect();
    let leftover = Call::ALL.into_iter().any(|call| pins.new_call(call).exists());
    if !leftover && ids.iter().all(|(_, id)| id.is_none()) {
        return None;
    }
    let current = ids.iter().all(|(call, id)| id.is_some() && programs.get(call).copied() == *id);
    Some(if current && !leftover { Running::Current } else { Running::Old })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_the_cgroups_is_found_among_the_mounts() {
        let lines = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     34 22 0:29 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw\n\
                     40 34 0:30 /lxc /mnt rw - cgroup2 cgroup2 rw\n\
                     41 34 0:30 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mounted(lines).collect::<Vec<_>>(), ["/sys/fs/cgroup/unified"]);
    }

    #[test]
    fn each_call_has_its_own_pins() {
        let pins = Pins::at("/x".into());
        let all = Call::ALL.into_iter();
        let all =
            all.flat_map(|call| [pins.call(call), pins.new_call(call), pins.call_program(call)]);
        let all: std::collections::BTreeSet<_> = all.collect();
        assert_eq!(all.len(), 3 * Call::ALL.len());
    }
}
