//! Uplinks of every kind translate alike: the same conversations over each.
//!
//! The lab's own uplink is the cable below where a kind needs one, and is not managed then.

use vnet_tests::lab::{INSIDE, Lab, OUTSIDE, UPLINK, server_address};
use vnet_tests::link;
use vnet_tests::netns::Netns;
use vnet_tests::sentry::Sentry;
use vnet_tests::skip;
use vnet_tests::tun::{self, Layer, TunCable};

use crate::passage::{End, Passage};

const WAN: &str = "wan0";
/// The router on a network that only the uplink of a story reaches.
const ROUTER: [u8; 4] = [203, 0, 113, 1];
/// The server there.
const SERVER: [u8; 4] = [203, 0, 113, 2];

/// Gives both ends of an uplink named [`WAN`] their addresses, and talks over it.
fn talk_over_wan(lab: &Lab, layer: Layer) {
    talk_by(lab, layer, |passage| passage.is_open());
}

/// The same; `talk` is what is said.
fn talk_by(lab: &Lab, layer: Layer, talk: fn(&Passage<'_>)) {
    for (netns, address) in [(&lab.router, "203.0.113.1/24"), (&lab.server, "203.0.113.2/24")] {
        link::address(netns, WAN, address);
        // Each device answers for its own address only, though another hears the question too.
        netns.set_sysctl("net/ipv4/conf/all/arp_ignore", "1");
        netns.ip(&format!("link set {WAN} up"));
    }
    let joins = lab.server.ip(&format!("-d link show dev {WAN}")).contains("wireguard");
    let post = if joins { Sentry::at_joining } else { Sentry::at };
    let sentry = post(&lab.server, WAN, layer);
    let passage = Passage {
        lab,
        uplink: WAN,
        outside: ROUTER.into(),
        client: End { netns: &lab.client().netns, address: lab.client().address },
        server: End { netns: &lab.server, address: SERVER.into() },
    };
    passage.attach(INSIDE);
    talk(&passage);
    lab.vnetctl(&["detach", WAN]).ok();
    assert!(sentry.relieve() > 50, "the sentry has seen it");
}

/// Makes a device, or says that this kernel has none of that kind.
fn made(netns: &Netns, line: &str) -> bool {
    let words: Vec<_> = ["link", "add"].into_iter().chain(line.split_whitespace()).collect();
    let output = netns.command("ip", &words).output().expect("ip can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    let unknown = ["Unknown device type", "not supported"].iter().any(|word| said.contains(word));
    assert!(output.status.success() || unknown, "`ip link add {line}`: {said}");
    output.status.success()
}

#[test]
fn a_tun_device_as_uplink() {
    if !tun::exists() {
        skip!("this kernel has no tun devices");
    }
    let lab = Lab::new();
    let _cable = TunCable::plug(Layer::Ip, (&lab.router, WAN), (&lab.server, WAN));
    talk_over_wan(&lab, Layer::Ip);
}

#[test]
fn a_tap_device_as_uplink() {
    if !tun::exists() {
        skip!("this kernel has no tap devices");
    }
    let lab = Lab::new();
    let _cable = TunCable::plug(Layer::Ethernet, (&lab.router, WAN), (&lab.server, WAN));
    talk_over_wan(&lab, Layer::Ethernet);
}

#[test]
fn a_macvlan_device_as_uplink() {
    for mode in ["bridge", "private", "vepa"] {
        let lab = Lab::new();
        for (netns, below) in [(&lab.router, UPLINK), (&lab.server, "eth0")] {
            let line = format!("link {below} name {WAN} type macvlan mode {mode}");
            if !made(netns, &line) {
                skip!("this kernel has no macvlan");
            }
        }
        talk_over_wan(&lab, Layer::Ethernet);
    }
}

#[test]
fn a_macvlan_device_that_is_the_whole_uplink() {
    let lab = Lab::new();
    if !made(&lab.router, &format!("link {UPLINK} name {WAN} type macvlan mode passthru")) {
        skip!("this kernel has no macvlan");
    }
    // Older kernels rename a device only while it is down.
    lab.server.ip("link set eth0 down");
    lab.server.ip(&format!("link set eth0 name {WAN}"));
    talk_over_wan(&lab, Layer::Ethernet);
}

#[test]
fn a_vlan_device_as_uplink() {
    // With the tag beside the packet and, without header reordering, in its bytes: those take the
    // kernel's way.
    let untagged: fn(&Passage<'_>) = |passage| passage.is_open();
    let tagged: fn(&Passage<'_>) = |passage| {
        passage.lets_talk();
        passage.is_long();
    };
    for (reorder, talk) in [("on", untagged), ("off", tagged)] {
        let lab = Lab::new();
        for (netns, below) in [(&lab.router, UPLINK), (&lab.server, "eth0")] {
            let line = format!("link {below} name {WAN} type vlan id 100 reorder_hdr {reorder}");
            if !made(netns, &line) {
                skip!("this kernel has no 802.1Q VLAN devices");
            }
        }
        talk_by(&lab, Layer::Ethernet, talk);
    }
}

#[test]
fn a_wireguard_device_as_uplink() {
    let lab = Lab::new();
    if std::process::Command::new("wg").arg("--version").output().is_err() {
        skip!("wireguard-tools are not installed");
    }
    for netns in [&lab.router, &lab.server] {
        if !made(netns, &format!("{WAN} mtu 1420 type wireguard")) {
            skip!("this kernel has no wireguard");
        }
    }
    let ends = [(&lab.router, OUTSIDE), (&lab.server, server_address(0))];
    let keys = ends.map(|(netns, _)| own_key(netns));
    for (n, (netns, _)) in ends.iter().enumerate() {
        let endpoint = format!("{}:51820", ends[1 - n].1);
        let peer = ["set", WAN, "peer", &keys[1 - n], "endpoint", &endpoint];
        netns.must("wg", &[&peer[..], &["allowed-ips", "0.0.0.0/0,::/0"]].concat());
    }
    talk_over_wan(&lab, Layer::Ip);
}

/// Gives a wireguard device a private key and a port; returns the public key.
fn own_key(netns: &Netns) -> String {
    let file = std::env::temp_dir().join(netns.name());
    let shown = file.to_string_lossy();
    std::fs::write(&file, netns.must("wg", &["genkey"])).expect("a file can be written");
    netns.must("wg", &["set", WAN, "listen-port", "51820", "private-key", &shown]);
    std::fs::remove_file(&file).expect("a file of ours can be removed");
    netns.must("wg", &["show", WAN, "public-key"]).trim().to_owned()
}

#[test]
fn a_bridge_as_uplink() {
    let lab = Lab::new();
    for (netns, below) in [(&lab.router, UPLINK), (&lab.server, "eth0")] {
        assert!(made(netns, &format!("{WAN} type bridge forward_delay 0 mcast_snooping 0")));
        netns.ip(&format!("link set {below} master {WAN}"));
    }
    talk_over_wan(&lab, Layer::Ethernet);
}
