//! The few device properties that only ioctl tells or sets everywhere: flags, index, offloads.
//!
//! ethtool's program is not needed, so this works in the smallest guest. Each call acts in the
//! network namespace of the calling thread.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// From linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const SIOCGIFFLAGS: libc::c_ulong = 0x8913;

/// A switch of linux/ethtool.h that takes 0 or 1.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Offload {
    /// Transmit checksums (ETHTOOL_STXCSUM).
    TxChecksum = 0x17,
    /// Large TCP segments cut by the device (ETHTOOL_STSO).
    Tso = 0x1f,
    /// Large packets cut just before the driver (ETHTOOL_SGSO).
    Gso = 0x24,
    /// Small packets joined on receive (ETHTOOL_SGRO).
    Gro = 0x2c,
}

#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// `struct ethtool_channels` of linux/ethtool.h: the most there can be, then how many there are.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// Gives a device so many queues to receive and to send (ETHTOOL_GCHANNELS, ETHTOOL_SCHANNELS).
pub(crate) fn set_queues(device: &str, queues: u32) -> io::Result<()> {
    let mut channels = Channels { command: 0x3c, ..Channels::default() };
    let mut request = request_for(device);
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut channels).cast();
    // `channels` is alive for both calls, and is what they read and write.
    ioctl(SIOCETHTOOL, &mut request)?;
    (channels.command, channels.rx, channels.tx) = (0x3d, queues, queues);
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut channels).cast();
    ioctl(SIOCETHTOOL, &mut request)
}

/// Switches one offload of a device.
pub(crate) fn set_offload(device: &str, offload: Offload, on: bool) -> io::Result<()> {
    let mut value = EthtoolValue { command: offload as u32, data: u32::from(on) };
    let mut request = request_for(device);
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
    // `value` is alive for the call, and a SET command of one value reads just those eight bytes.
    ioctl(SIOCETHTOOL, &mut request)
}

/// Whether a device is up and has a carrier that the kernel has acted upon (IFF_RUNNING).
pub(crate) fn is_running(device: &str) -> io::Result<bool> {
    let mut request = request_for(device);
    ioctl(SIOCGIFFLAGS, &mut request)?;
    // SAFETY: SIOCGIFFLAGS succeeded, so the kernel wrote this member of the union.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    Ok(flags & libc::IFF_RUNNING != 0)
}

/// The index of a device.
pub(crate) fn index(device: &str) -> io::Result<u32> {
    Ok(rustix::net::netdevice::name_to_index(any_socket()?, device)?)
}

fn any_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

fn request_for(device: &str) -> libc::ifreq {
    // SAFETY: an ifreq is bytes and a union of integers and a pointer, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(device.len() < request.ifr_name.len(), "{device} is too long for a device's name");
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn ioctl(number: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    let socket = any_socket()?;
    // SAFETY: both numbers of this module take a pointer to an ifreq, which the borrow makes
    // valid; where it holds a pointer in turn, the caller's value outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), number as _, request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
