//! Raw frames on a device: send what no socket would, see what no socket shows.
//!
//! A [`Wire`] hears what arrives at its device. On the router, what it hears has not met the
//! ingress program yet; listen at the receiving end of a cable to hear what a program let out.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::link::Port;
use crate::netns::Netns;
use crate::packet::{EtherType, Mac, Packet, explain};
use crate::patience;

/// How long [`Wire::expect`] waits for what must come.
pub const PATIENCE: Duration = patience::seconds(3);

/// How long [`Wire::expect_none`] lets a packet be on its way before it sends its probe.
const GRACE: Duration = Duration::from_millis(50);

/// linux/if_packet.h: do not show what this machine sends.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Longer than any frame, one that segmentation offload joined included.
const BUFFER: usize = 1 << 17;

/// Bytes that may wait to be heard.
const QUEUE: libc::c_int = 64 << 20;

/// An open packet socket on one device.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    shown: String,
}

impl Wire {
    /// Opens the device; every frame that arrives from now on is heard.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn open(netns: &Netns, port: &Port) -> Self {
        let shown = format!("{} in {}", port.device, netns.name());
        let socket = netns.run(|| open(port.index));
        let socket = socket.unwrap_or_else(|e| panic!("cannot open {shown}: {e}"));
        Self { socket, shown }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When the device does not take it.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: pointer and length are those of `frame`, which is only read.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        let error = io::Error::last_os_error();
        assert!(sent >= 0, "cannot send {} on {}: {error}", explain(frame), self.shown);
    }

    /// Sends a packet.
    ///
    /// # Panics
    /// When the device does not take it.
    pub fn send_packet(&self, packet: &Packet) {
        self.send(&packet.bytes());
    }

    /// The next frame, or None when none comes before `until`. What is queued already comes however
    /// late it is.
    pub fn receive(&self, until: Instant) -> Option<Vec<u8>> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut poll =
                [libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
            let millis = libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX);
            // SAFETY: the pointer is to an array of one, which the count says.
            let ready = unsafe { libc::poll(poll.as_mut_ptr(), 1, millis) };
            if ready == 0 {
                return None;
            }
            let mut frame = vec![0u8; BUFFER];
            // SAFETY: pointer and length are those of `frame`, which is writable.
            let length = unsafe {
                libc::recv(self.socket.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0)
            };
            // An interruption, or a device that went down for a moment, is not silence.
            let Ok(length) = usize::try_from(length) else { continue };
            frame.truncate(length);
            return Some(frame);
        }
    }

    /// Waits for the first packet that `wanted` recognises, and returns it. Others pass by.
    ///
    /// # Panics
    /// When it does not come, listing what came instead.
    #[track_caller]
    pub fn expect(&self, what: &str, wanted: impl Fn(&Packet) -> bool) -> Packet {
        let mut seen = Seen::default();
        let until = Instant::now() + PATIENCE;
        while let Some(frame) = self.receive(until) {
            match Packet::parse(&frame) {
                Ok(packet) if wanted(&packet) => return packet,
                Ok(_) | Err(_) => seen.0.push(frame),
            }
        }
        panic!("{what} did not arrive at {}; what did: {seen}", self.shown)
    }

    /// Asserts that no packet which `unwanted` recognises arrives: neither what is queued now, nor
    /// until a probe, sent from the other end of this cable after a grace time, has come through.
    ///
    /// The probe proves that the socket was listening and the cable plugged all along.
    ///
    /// # Panics
    /// When such a packet arrives, or the probe does not.
    #[track_caller]
    pub fn expect_none(&self, what: &str, other_end: &Self, unwanted: impl Fn(&Packet) -> bool) {
        let probe = probe();
        let send = || other_end.send(&probe);
        self.expect_none_until(what, unwanted, |frame| *frame == probe, send);
    }

    /// As [`Wire::expect_none`], with a probe of the caller's: `send` makes it come, by a way of
    /// the test's choice, and `is_probe` recognises it when it does.
    ///
    /// # Panics
    /// When an unwanted packet arrives, or the probe does not.
    #[track_caller]
    pub fn expect_none_until(
        &self,
        what: &str,
        unwanted: impl Fn(&Packet) -> bool,
        is_probe: impl Fn(&Vec<u8>) -> bool,
        send: impl FnOnce(),
    ) {
        let refuse = |frame: &[u8]| {
            let bad = Packet::parse(frame).is_ok_and(|packet| unwanted(&packet));
            assert!(!bad, "{what} arrived at {}: {}", self.shown, explain(frame));
        };
        let grace = Instant::now() + GRACE;
        while let Some(frame) = self.receive(grace) {
            refuse(&frame);
        }
        send();
        let until = Instant::now() + PATIENCE;
        while let Some(frame) = self.receive(until) {
            refuse(&frame);
            if is_probe(&frame) {
                return;
            }
        }
        panic!("the probe did not arrive at {}: nothing is proved about {what}", self.shown);
    }
}

/// A broadcast frame that no other is equal to and every stack ignores.
fn probe() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut frame = [Mac::BROADCAST.0, [2, 0, 0, 0, 0, 0xfe]].concat();
    frame.extend(EtherType::EXPERIMENT.0.to_be_bytes());
    frame.extend(NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    frame.resize(60, 0);
    frame
}

#[derive(Default)]
struct Seen(Vec<Vec<u8>>);

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 20;
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for frame in self.0.iter().take(SHOWN) {
            write!(f, "\n    {}", explain(frame))?;
        }
        let more = self.0.len().saturating_sub(SHOWN);
        if more > 0 { write!(f, "\n    and {more} more") } else { Ok(()) }
    }
}

fn open(index: u32) -> io::Result<OwnedFd> {
    let every_protocol = u16::to_be(libc::ETH_P_ALL as u16);
    // Protocol 0 until bound, so that no frame of another device slips in.
    // SAFETY: socket takes plain numbers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(socket)?;
    // SAFETY: the kernel gave this descriptor a moment ago, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
    // Root may have more than the usual limit: a burst must not go by unheard.
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, QUEUE)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: every_protocol,
        sll_ifindex: i32::try_from(index).expect("an index is a small number"),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: pointer and length are those of `address`.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    })?;
    Ok(socket)
}

fn set(
    socket: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: pointer and length are those of `value`.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
