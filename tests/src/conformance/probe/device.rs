//! Uplinks of other kinds than a cable, and two at once. Here real stacks talk.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::conformance::Level::Must;
use crate::conformance::translator::Wish;
use crate::conformance::{Requirement, Seen, Translator, ensure, fails};
use crate::lab::{Lab, OUTSIDE, server};
use crate::link;
use crate::ping::Pinger;
use crate::socket::{PATIENCE, try_receive};
use crate::tun::{Layer, TunCable};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "vnet"),
        "nat_uplink_without_a_mac_header",
        "The uplink may be a device without a MAC header (tun, as VPN programs hold it).",
        over_tun,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_uplink_macvlan",
        "The uplink may be a macvlan child of a device.",
        over_macvlan,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_several_uplinks",
        "Two uplinks at once: what leaves by each leaves with its own address.",
        two_uplinks,
    ),
];

const WAN: &str = "wan0";
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 2), 5000);

/// The other network, which only the device under test reaches.
fn addresses(lab: &Lab) {
    for (netns, address) in [(&lab.router, "203.0.113.1/24"), (&lab.server, "203.0.113.2/24")] {
        link::address(netns, WAN, address);
        netns.ip(&format!("link set {WAN} up"));
        link::wait_running(netns, WAN);
    }
}

fn over_tun(translator: Translator) -> Seen {
    let lab = Lab::new();
    let _cable = TunCable::plug(Layer::Ip, (&lab.router, WAN), (&lab.server, WAN));
    addresses(&lab);
    Wish::plain().uplink(WAN).rule("oifname wan0 masquerade").apply(translator, &lab)?;
    talk(&lab, SERVER, ROUTER)
}

fn over_macvlan(translator: Translator) -> Seen {
    let lab = Lab::new();
    for (netns, below) in [(&lab.router, "up0"), (&lab.server, "eth0")] {
        netns.ip(&format!("link add link {below} name {WAN} type macvlan mode bridge"));
        // Each device answers for its own address only, though another hears the question too.
        netns.set_sysctl("net/ipv4/conf/all/arp_ignore", "1");
    }
    addresses(&lab);
    Wish::plain().uplink(WAN).rule("oifname wan0 masquerade").apply(translator, &lab)?;
    talk(&lab, SERVER, ROUTER)
}

fn two_uplinks(translator: Translator) -> Seen {
    let lab = Lab::new();
    let _cable = TunCable::plug(Layer::Ip, (&lab.router, WAN), (&lab.server, WAN));
    addresses(&lab);
    let wish = Wish::plain().words(&["--nat", WAN]).rule("oifname { up0, wan0 } masquerade");
    wish.apply(translator, &lab)?;
    talk(&lab, SERVER, ROUTER)?;
    talk(&lab, server(0, 5000), OUTSIDE)
}

/// A datagram, a connection and a ping through the router, which the server takes for `seen`.
fn talk(lab: &Lab, server: SocketAddrV4, seen: Ipv4Addr) -> Seen {
    let client = lab.client();
    let (remote, local) = (lab.server.udp(server), client.netns.udp((client.address, 4000)));
    ensure(local.send_to(b"question", server).is_ok(), "a datagram cannot be sent")?;
    let Ok((_, from)) = try_receive(&remote) else { return fails("a datagram did not arrive") };
    ensure(*from.ip() == seen, format!("it came from {from}"))?;
    ensure(remote.send_to(b"answer", from).is_ok(), "an answer cannot be sent")?;
    ensure(try_receive(&local).is_ok(), "the answer did not arrive")?;
    let _listener = lab.server.listen(server);
    let connected = client.netns.connect((client.address, 4000), server);
    ensure(connected.is_ok(), "a connection was not opened")?;
    let answered = Pinger::new(&client.netns).ping(*server.ip(), 7, PATIENCE);
    ensure(answered.is_some(), "a ping was not answered")
}
