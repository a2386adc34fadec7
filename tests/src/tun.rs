//! tun and tap devices held by this process, and cables made of them.
//!
//! A tun device is what VPN programs hold: its packets have no MAC header. A tap device is what
//! virtual machines hold. A [`TunCable`] joins two of them, each in a namespace of its own: what one
//! sends, the other receives, unchanged, until the value is dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::link;
use crate::netns::Netns;

const DEVICE: &str = "/dev/net/tun";

/// From linux/if_tun.h: makes the device.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

/// How long a cable waits for a packet before it looks whether it has been pulled, milliseconds.
const PAUSE: libc::c_int = 20;

/// What a device's packets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An IP header: tun.
    Ip,
    /// An Ethernet header: tap.
    Ethernet,
}

impl Layer {
    fn flags(self) -> libc::c_int {
        let mode = match self {
            Self::Ip => libc::IFF_TUN,
            Self::Ethernet => libc::IFF_TAP,
        };
        mode | libc::IFF_NO_PI
    }
}

/// Whether this kernel has tun and tap devices.
pub fn exists() -> bool {
    File::open(DEVICE).is_ok()
}

/// Two devices that are joined by this process.
#[derive(Debug)]
#[must_use = "a cable that is dropped carries nothing"]
pub struct TunCable {
    pulled: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl TunCable {
    /// Makes both devices, sets them up and joins them.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn plug(layer: Layer, a: (&Netns, &str), b: (&Netns, &str)) -> Self {
        let ends = [a, b].map(|(netns, device)| {
            let end = netns.run(|| open(device, layer));
            let end = end.unwrap_or_else(|e| panic!("cannot make {device}: {e}"));
            netns.ip(&format!("link set dev {device} up"));
            link::wait_running(netns, device);
            end
        });
        let pulled = Arc::new(AtomicBool::new(false));
        let is_pulled = Arc::clone(&pulled);
        let carrier = thread::spawn(move || carry(&ends, &is_pulled));
        Self { pulled, carrier: Some(carrier) }
    }
}

impl Drop for TunCable {
    fn drop(&mut self) {
        self.pulled.store(true, Ordering::Relaxed);
        let ended = self.carrier.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || thread::panicking(), "a cable broke");
    }
}

/// Makes a device that lives as long as the file is open, in the namespace of this thread.
fn open(device: &str, layer: Layer) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE)?;
    // SAFETY: an ifreq is bytes and a union of integers and a pointer, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(device.len() < request.ifr_name.len(), "{device} is too long for a device's name");
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = layer.flags() as libc::c_short;
    // SAFETY: TUNSETIFF takes a pointer to an ifreq, which the borrow makes valid.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &mut request) };
    if made < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

fn carry(ends: &[File; 2], pulled: &AtomicBool) {
    let mut buffer = vec![0; 1 << 17];
    while !pulled.load(Ordering::Relaxed) {
        let waits =
            |file: &File| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut polls = [waits(&ends[0]), waits(&ends[1])];
        // SAFETY: the pointer is to an array of two, which the count says.
        unsafe { libc::poll(polls.as_mut_ptr(), 2, PAUSE) };
        for (from, to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
            while let Ok(length) = (&*from).read(&mut buffer) {
                // A device that is down takes nothing, like a machine that is off.
                let _ = (&*to).write(&buffer[..length]);
            }
        }
    }
}
