//! Pings from inside a namespace, without the `ping` program.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use rustix::net::{recv, sendto, socket_with};

use crate::netns::Netns;
use crate::packet::{Body, Ether, Icmp, IcmpBody, IcmpKind, Packet};

/// A raw ICMP socket: sends echo requests with an id of the test's choice, hears all ICMP.
#[derive(Debug)]
pub struct Pinger {
    socket: OwnedFd,
}

impl Pinger {
    /// Opens one inside a namespace.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn new(netns: &Netns) -> Self {
        let open = || {
            let protocol = Some(ipproto::ICMP);
            socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
        };
        Self { socket: netns.run(open).expect("root may open a raw ICMP socket") }
    }

    /// Sends one echo request.
    pub fn send(&self, to: Ipv4Addr, id: u16, sequence: u16, data: &[u8]) -> io::Result<()> {
        let mut icmp = Icmp::echo(IcmpKind::ECHO_REQUEST, id, sequence);
        if let IcmpBody::Echo { payload, .. } = &mut icmp.body {
            *payload = data.to_vec();
        }
        let message = icmp.bytes();
        let to = std::net::SocketAddrV4::new(to, 0);
        sendto(&self.socket, &message, SendFlags::empty(), &to)?;
        Ok(())
    }

    /// The next ICMP packet that `wanted` recognises, if it comes in time.
    pub fn receive(&self, patience: Duration, wanted: impl Fn(&Packet) -> bool) -> Option<Packet> {
        let until = Instant::now() + patience;
        let mut buffer = vec![0u8; 1 << 16];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            set_socket_timeout(&self.socket, Timeout::Recv, Some(left)).ok()?;
            let (length, _) = recv(&self.socket, &mut buffer, RecvFlags::empty()).ok()?;
            let packet = Packet::parse_ip(Ether::default(), &buffer[..length]);
            if let Some(packet) = packet.ok().filter(&wanted) {
                return Some(packet);
            }
        }
    }

    /// Pings and waits for the answer to just that ping.
    pub fn ping(&self, to: Ipv4Addr, id: u16, patience: Duration) -> Option<Packet> {
        let data = b"the answer carries what the question did";
        self.send(to, id, 1, data).ok()?;
        self.receive(patience, |packet| {
            packet.ip.source == to && is_reply(packet, id) && packet.data() == data
        })
    }
}

/// Whether this is an echo reply with this id.
pub fn is_reply(packet: &Packet, wanted: u16) -> bool {
    match &packet.body {
        Body::Icmp(Icmp { kind, body: IcmpBody::Echo { id, .. }, .. }) => {
            *kind == IcmpKind::ECHO_REPLY && *id == wanted
        }
        Body::Icmp(_) | Body::Tcp(_) | Body::Udp(_) | Body::Raw(_) => false,
    }
}
