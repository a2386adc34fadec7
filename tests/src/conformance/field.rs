//! The network of a probe: two hosts inside, a router that translates, machines outside.
//!
//! ```text
//!   a 10.0.0.2 --\                                        s1 198.51.100.2
//!                 router 198.51.100.1 = the outside address -- s2 198.51.100.3
//!   b 10.0.1.2 --/                                        s3 198.51.100.4
//! ```
//!
//! Hosts and servers are not machines but hands at the ends of cables ([`Station`]): their
//! namespaces have no addresses, so nothing answers but the probe. The router is a real kernel.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::translator::Wish;
use super::{Miss, Translator, fails};
use crate::lab::{self, ETH, Lab, OUTSIDE, Plan};
use crate::link::Port;
use crate::netns::Netns;
use crate::packet::{Endpoint, Mac, Packet, explain};
use crate::wire::Wire;

/// How long a station waits for a packet that should come.
const PATIENCE: Duration = Duration::from_millis(2000);

/// How long it listens for one that should not. A router forwards within the call that sends, so
/// what takes longer than this does so on purpose.
const QUIET: Duration = Duration::from_millis(200);

/// First address outside, at its usual port.
pub const S1: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 5000);
/// Second address outside, at the same port.
pub const S2: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 3), 5000);
/// Third address outside, at the same port.
pub const S3: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 4), 5000);
/// Host a.
pub const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Host b, on another device.
pub const B: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
/// Host b where both are on one device ([`Field::bridged`]).
pub const B_BRIDGED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

/// One end of a cable: sends and hears packets by hand.
#[derive(Debug)]
pub struct Station {
    wire: Wire,
    mac: Mac,
    router: Mac,
}

impl Station {
    fn new(netns: &Netns, port: &Port, router: Mac) -> Self {
        Self { wire: Wire::open(netns, port), mac: port.mac, router }
    }

    /// Sends a packet to the router.
    pub fn send(&self, packet: &Packet) {
        self.wire.send_packet(&packet.clone().frame(self.mac, self.router));
    }

    /// Sends a frame to the router: an EtherType and what follows it.
    pub fn send_raw(&self, kind: u16, body: &[u8]) {
        let header = [self.router.0, self.mac.0].concat();
        self.wire.send(&[&header[..], &kind.to_be_bytes(), body].concat());
    }

    /// The next packet that `wanted` recognises, if it comes in time; others pass by.
    pub fn hear(&self, wanted: impl Fn(&Packet) -> bool) -> Option<Packet> {
        self.hear_until(Instant::now() + PATIENCE, wanted)
    }

    /// As [`Station::hear`], for a packet that should not come.
    pub fn overhear(&self, wanted: impl Fn(&Packet) -> bool) -> Option<Packet> {
        self.hear_until(Instant::now() + QUIET, wanted)
    }

    /// As [`Station::hear`], with a limit of the caller's.
    pub fn hear_until(&self, until: Instant, wanted: impl Fn(&Packet) -> bool) -> Option<Packet> {
        self.hear_frame(until, |frame| Packet::parse(frame).ok().filter(&wanted))
    }

    /// The next frame that means something to `read`, if it comes in time.
    pub fn hear_frame<T>(&self, until: Instant, read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        while let Some(frame) = self.wire.receive(until) {
            let read = read(&frame);
            if read.is_some() {
                return read;
            }
        }
        None
    }

    /// All packets that have come and will come within a moment.
    pub fn all(&self) -> Vec<Packet> {
        let until = Instant::now() + QUIET;
        let frames = std::iter::from_fn(|| self.wire.receive(until));
        frames.filter_map(|frame| Packet::parse(&frame).ok()).collect()
    }
}

/// The network, with a translator at work.
#[derive(Debug)]
pub struct Field {
    /// Host a, inside.
    pub a: Station,
    /// Host b, inside.
    pub b: Station,
    /// All machines outside.
    pub outside: Station,
    /// What it is made of.
    pub lab: Lab,
    /// Who translates.
    pub translator: Translator,
    /// All that left by the uplink, until it is judged at the end.
    captured: Option<Wire>,
    may_leak: AtomicBool,
}

impl Field {
    /// Both translators out of the box.
    pub fn plain(translator: Translator) -> Result<Self, Miss> {
        Self::of(translator, &Wish::plain())
    }

    /// Hosts on devices of their own.
    pub fn of(translator: Translator, wish: &Wish) -> Result<Self, Miss> {
        Self::build(translator, wish, Lab::plan())
    }

    /// Both hosts in one network, behind a bridge: host b is [`B_BRIDGED`].
    pub fn bridged(translator: Translator, wish: &Wish) -> Result<Self, Miss> {
        Self::build(translator, wish, Lab::plan().bridged())
    }

    /// Any plan of the lab; clients and servers are added here.
    pub fn build(translator: Translator, wish: &Wish, plan: Plan) -> Result<Self, Miss> {
        let lab = plan.clients(2).server_addresses(3).build();
        lab.fix_neighbours();
        let inside = |n: usize| {
            let client = &lab.clients[n];
            let gateway = gateway(&lab, n);
            client.netns.ip(&format!("address flush dev {ETH}"));
            Station::new(&client.netns, &client.port, gateway)
        };
        let (a, b) = (inside(0), inside(1));
        lab.server.ip(&format!("address flush dev {ETH}"));
        let outside = Station::new(&lab.server, &lab.server_port, lab.uplink.mac);
        wish.apply(translator, &lab)?;
        let vnet = translator == Translator::Vnet;
        let captured = vnet.then(|| Wire::open(&lab.server, &lab.server_port));
        Ok(Self { a, b, outside, lab, translator, captured, may_leak: AtomicBool::new(false) })
    }

    /// Inside sources may leave: the probe asks for that.
    pub fn may_leak(&self) {
        self.may_leak.store(true, Ordering::Relaxed);
    }

    /// The host that has this address.
    pub fn host(&self, address: Ipv4Addr) -> &Station {
        if address == A { &self.a } else { &self.b }
    }

    /// Sends a packet from its source, inside, and returns it as it arrives outside.
    pub fn out(&self, packet: &Packet) -> Option<Packet> {
        carry(self.host(packet.ip.source), &self.outside, packet)
    }

    /// Sends a packet from outside, and returns it as it arrives at a host.
    pub fn back(&self, packet: &Packet, host: Ipv4Addr) -> Option<Packet> {
        carry(&self.outside, self.host(host), packet)
    }

    /// As [`Field::back`], for a packet that should not arrive.
    pub fn intrudes(&self, packet: &Packet, host: Ipv4Addr) -> bool {
        let packet = packet.clone().id(unique_id());
        self.outside.send(&packet);
        self.host(host).overhear(|heard| is_same(heard, &packet)).is_some()
    }

    /// A datagram from inside; as whose it arrives outside.
    pub fn udp(&self, from: impl Endpoint, to: impl Endpoint) -> Result<SocketAddrV4, Miss> {
        let (from, to) = (from.endpoint(), to.endpoint());
        let heard = self.out(&Packet::udp(from, to).payload(b"question"));
        match heard {
            Some(packet) => Ok(packet.source()),
            None => fails(format!("a datagram to {to} did not leave")),
        }
    }

    /// A datagram from outside; whether it arrives at a host, at the port given.
    pub fn answer(&self, from: impl Endpoint, to: impl Endpoint, host: impl Endpoint) -> bool {
        let host = host.endpoint();
        let answer = Packet::udp(from, to).payload(b"answer");
        self.back(&answer, *host.ip()).is_some_and(|heard| heard.destination() == host)
    }
}

impl Drop for Field {
    /// In no probe at all does vnet let a packet with an inside source leave.
    fn drop(&mut self) {
        let Some(wire) = self.captured.take() else { return };
        // Nothing more comes: all that was sent was heard, or waited for.
        while let Some(frame) = wire.receive(Instant::now()) {
            let leaked = Packet::parse(&frame).is_ok_and(|packet| is_inside(packet.ip.source));
            let forbidden = leaked && !self.may_leak.load(Ordering::Relaxed);
            assert!(!forbidden || thread::panicking(), "this left: {}", explain(&frame));
        }
    }
}

/// Whether an address is one that must not be seen outside.
fn is_inside(address: Ipv4Addr) -> bool {
    address.octets()[0] == 10
}

/// Sends a packet and hears it arrive elsewhere. It is known by an IP id of its own.
pub fn carry(from: &Station, to: &Station, packet: &Packet) -> Option<Packet> {
    let packet = packet.clone().id(unique_id());
    from.send(&packet);
    to.hear(|heard| is_same(heard, &packet))
}

fn is_same(heard: &Packet, sent: &Packet) -> bool {
    heard.ip.id == sent.ip.id && heard.ip.protocol == sent.ip.protocol
}

/// An IP id that no other packet of a probe has.
pub fn unique_id() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0x4000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The router's outside address with a port.
pub fn outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(OUTSIDE, port)
}

/// The hardware address of the router as a client sees it.
fn gateway(lab: &Lab, n: usize) -> Mac {
    let client = &lab.clients[n];
    let shown = client.netns.ip(&format!("-4 neighbour show dev {ETH} nud permanent"));
    let mac = shown.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
    mac.and_then(|mac| mac.parse().ok()).expect("the lab has fixed its neighbours")
}

const _: () = assert!(lab::OUTSIDE.octets()[3] == 1, "the servers follow the router");
