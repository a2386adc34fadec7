//! One of the twin labs: what is sent into it comes out, and nothing is waited for longer than it
//! takes.
//!
//! A veth hands a frame to the receiver's stack on the CPU that sent it, first come first served.
//! The sender stays on one CPU, so a marker that is sent last arrives last, and when it has come
//! back too, all that the frames before it caused has been heard.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::address;
use super::mapping::Ownership;
use super::step::Way;
use crate::lab::{self, ETH, INSIDE, Lab, UPLINK};
use crate::packet::{Mac, Packet, explain};
use crate::wire::Wire;

/// How long a marker may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The uplink cuts packets that the inside does not.
pub const UPLINK_MTU: u32 = 1400;
const MARKER_INSIDE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 9, 9), 4096);
const MARKER_SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 9, 9), 4096);
/// How often a marker goes out and comes back: a router may hand fragments to a helper of its own,
/// which takes a few turns more than the straight way.
const TURNS: u32 = 3;

/// Where a frame was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// At the inside hosts.
    Inside,
    /// At the servers.
    Outside,
}

/// A frame or packet, and where it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Where.
    pub side: Side,
    /// What.
    pub bytes: Vec<u8>,
}

/// Who translates in a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    /// `vnetctl attach --nat`.
    Vnet,
    /// nftables masquerade.
    Nft,
    /// nftables masquerade that also changes what is no business of NAT: DSCP, towards one port.
    /// To see whether that is found.
    Meddler,
}

/// A lab with ears at both ends.
pub struct Rig {
    lab: Lab,
    inside: Wire,
    outside: Wire,
    markers: u32,
    /// The ports seen so far.
    pub ownership: Ownership,
}

impl Rig {
    /// Builds the lab.
    pub fn new(router: Router) -> Self {
        let lab = Lab::plan().uplink_mtu(UPLINK_MTU).build();
        lab.fix_neighbours();
        // What is too long for the uplink is dropped there, as on any wire, and not refused here.
        lab.server.ip(&format!("link set dev {ETH} mtu 1500"));
        let client = lab.client();
        lab.router.ip(&format!("route add {INSIDE} via {}", client.address));
        lab.router.ip(&format!("route add {} via {}", address::SERVERS, lab::server_address(0)));
        // Every error that is due is sent: none is held back because of others.
        lab.router.set_sysctl("net/ipv4/icmp_ratemask", "0");
        // Hosts behind one device are not told that they could talk without the router.
        for device in ["all", "in0"] {
            lab.router.set_sysctl(&format!("net/ipv4/conf/{device}/send_redirects"), "0");
        }
        // Nor is a fragment forgotten because many others wait.
        lab.router.set_sysctl("net/ipv4/ipfrag_high_thresh", "268435456");
        // Nor does the router tell, half a minute later, that one never came.
        lab.router.set_sysctl("net/ipv4/ipfrag_time", "3600");
        match router {
            Router::Vnet => {
                let ports = format!("1024-{}", address::END_OF_PORTS - 1);
                // Hairpins are met where they come in.
                lab.attach(&["--inside", "in0", "--ports", &ports]);
            }
            Router::Nft => {
                lab.forward();
                lab.router.must("nft", &[&masquerade()]);
            }
            Router::Meddler => {
                lab.forward();
                lab.router.must("nft", &[&masquerade()]);
                lab.router.must("nft", &[&meddling()]);
            }
        }
        let inside = Wire::open(&client.netns, &client.port);
        let outside = Wire::open(&lab.server, &lab.server_port);
        Self { lab, inside, outside, markers: 0, ownership: Ownership::default() }
    }

    /// Sender and receiver of a frame that goes this way.
    pub fn stations(&self, way: Way) -> (Mac, Mac) {
        let (client, lab) = (self.lab.client(), &self.lab);
        match way {
            Way::Out | Way::Hairpin => (client.port.mac, client.router_port.mac),
            Way::In => (lab.server_port.mac, lab.uplink.mac),
        }
    }

    /// Sends a frame.
    pub fn send(&self, way: Way, frame: &[u8]) {
        match way {
            Way::Out | Way::Hairpin => self.inside.send(frame),
            Way::In => self.outside.send(frame),
        }
    }

    /// All that has come out since the last time, by the slot it belongs to.
    ///
    /// # Panics
    /// When a marker does not come, or something that belongs to nobody does.
    pub fn listen(&mut self) -> HashMap<u32, Vec<Heard>> {
        let mut heard = HashMap::new();
        for _ in 0..TURNS {
            self.markers += 1;
            let marker =
                Packet::udp(MARKER_INSIDE, MARKER_SERVER).payload(&self.markers.to_be_bytes());
            let seen = self.pass(Way::Out, &marker, &mut heard);
            let answer =
                Packet::udp(MARKER_SERVER, seen.source()).payload(&self.markers.to_be_bytes());
            self.pass(Way::In, &answer, &mut heard);
        }
        heard
    }

    /// Sends a marker and hears all that comes before it.
    fn pass(&self, way: Way, marker: &Packet, heard: &mut HashMap<u32, Vec<Heard>>) -> Packet {
        let (source, destination) = self.stations(way);
        self.send(way, &marker.clone().frame(source, destination).bytes());
        let (wire, side) = match way {
            Way::Out => (&self.outside, Side::Outside),
            Way::In | Way::Hairpin => (&self.inside, Side::Inside),
        };
        let until = Instant::now() + PATIENCE;
        while let Some(frame) = wire.receive(until) {
            let packet = Packet::parse(&frame).ok();
            if let Some(packet) = packet.filter(|packet| is_marker(packet, marker)) {
                return packet;
            }
            note(heard, side, &frame);
        }
        panic!("a marker was lost: {marker}")
    }
}

fn is_marker(packet: &Packet, marker: &Packet) -> bool {
    let whose = [MARKER_SERVER, MARKER_INSIDE];
    let ours = whose.contains(&packet.source()) || whose.contains(&packet.destination());
    ours && packet.data() == marker.data()
}

fn note(heard: &mut HashMap<u32, Vec<Heard>>, side: Side, frame: &[u8]) {
    // The destination, wherever a whole IP header is: all that comes here is on its way to somebody.
    let to: Option<[u8; 4]> = frame.get(30..34).and_then(|four| four.try_into().ok());
    let slot = to.and_then(|to| address::slot(to.into()));
    let slot = slot.unwrap_or_else(|| panic!("heard what belongs to nobody: {}", explain(frame)));
    heard.entry(slot).or_default().push(Heard { side, bytes: frame.to_vec() });
}

fn masquerade() -> String {
    format!(
        "add table ip differential; \
         add chain ip differential out {{ type nat hook postrouting priority srcnat; }}; \
         add rule ip differential out oifname {UPLINK} masquerade"
    )
}

fn meddling() -> String {
    format!(
        "add chain ip differential meddle {{ type filter hook forward priority 0; }}; \
         add rule ip differential meddle oifname {UPLINK} udp dport 443 ip dscp set cs1"
    )
}
