//! The ways a packet can take, and what a router needs for each.

use std::net::Ipv4Addr;

use crate::lab::{self, ETH, INSIDE, Lab, UPLINK};

/// One way from the client to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Contender {
    /// One cable, no router: what generator, cables and sockets cost by themselves.
    Direct,
    /// The kernel forwards and translates nothing.
    Kernel,
    /// The kernel forwards and nftables masquerades: what users have today.
    Nft,
    /// The limit at traffic control: redirected at once, neither routed nor translated.
    Tc,
    /// The limit at XDP: the same before the kernel has made a packet of the frame.
    Xdp,
    /// The same with one lookup of the packet's tuple, in a table of the size that vnet's has.
    XdpLookup,
    /// `vnetctl attach --nat --no-shortcut`: every packet takes the kernel's way.
    Slow,
    /// `vnetctl attach --nat`.
    Vnet,
    /// `vnetctl attach --nat --xdp native`.
    VnetXdp,
    /// `vnetctl attach --nat --events`: what telling of mappings costs, where it may cost something.
    Events,
}

impl Contender {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Kernel => "kernel",
            Self::Nft => "nft",
            Self::Tc => "tc",
            Self::Xdp => "xdp",
            Self::XdpLookup => "xdp-lookup",
            Self::Slow => "slow",
            Self::Vnet => "vnet",
            Self::VnetXdp => "vnet-xdp",
            Self::Events => "events",
        }
    }

    /// What it is, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct cable",
            Self::Kernel => "kernel forwarding",
            Self::Nft => "nftables masquerade",
            Self::Tc => "TC redirect (limit)",
            Self::Xdp => "XDP redirect (limit)",
            Self::XdpLookup => "XDP, and one lookup",
            Self::Slow => "vnet, no shortcut",
            Self::Vnet => "vnet",
            Self::VnetXdp => "vnet, XDP",
            Self::Events => "vnet, events on",
        }
    }

    /// The source that the server must see.
    pub(super) fn source(self, client: Ipv4Addr) -> Ipv4Addr {
        match self {
            Self::Direct | Self::Kernel | Self::Tc | Self::Xdp | Self::XdpLookup => client,
            Self::Nft | Self::Slow | Self::Vnet | Self::VnetXdp | Self::Events => lab::OUTSIDE,
        }
    }

    /// Makes the lab's router one of this kind; with only these ports to hand out, if any are named, and
    /// with room for so many connections, if it matters.
    pub(super) fn prepare(self, lab: &Lab, ports: Option<&str>, room: Option<u32>) {
        match self {
            // What is between is made where the scene is.
            Self::Direct | Self::Tc | Self::Xdp | Self::XdpLookup => {}
            Self::Kernel => {
                lab.forward();
                let gateway = lab::OUTSIDE;
                lab.server.ip(&format!("route add {INSIDE} via {gateway} dev {ETH}"));
            }
            Self::Nft => {
                lab.forward();
                lab.router.must("nft", &[&masquerade(ports)]);
            }
            Self::Slow | Self::Vnet | Self::VnetXdp | Self::Events => {
                let events = (self == Self::Events).then_some("--events");
                let xdp = (self == Self::VnetXdp).then_some(["--xdp", "native"]);
                let slow = (self == Self::Slow).then_some(["--no-shortcut", UPLINK]);
                let ports = ports.map_or(vec![], |ports| vec!["--ports", ports]);
                let room = room.map(|room| room.to_string());
                let room = room.as_deref().map_or(vec![], |room| vec!["--max-flows", room]);
                let words = ["attach", "--nat", UPLINK, "--inside", INSIDE].into_iter();
                let words = words.chain(events).chain(slow.into_iter().flatten());
                let words = words.chain(xdp.into_iter().flatten()).chain(ports);
                let words: Vec<_> = words.chain(room).collect();
                lab.vnetctl(&words).ok();
            }
        }
    }
}

impl Contender {
    /// Changes what runs, as far as it can be: vnet loads its programs anew and replaces those that run,
    /// nftables its rules.
    pub(super) fn change(self, lab: &Lab) {
        if self == Self::Nft {
            let rules = format!("delete table ip bench; {}", masquerade(None));
            lab.router.must("nft", &[&rules]);
        } else {
            let words = ["attach", "--nat", UPLINK, "--inside", INSIDE, "--log-level", "warn"];
            lab.vnetctl(&words).ok();
        }
    }
}

fn masquerade(ports: Option<&str>) -> String {
    // Ports belong to protocols.
    let ports = ports.map_or(String::new(), |ports| format!(" to :{ports}"));
    let udp = if ports.is_empty() { "" } else { " meta l4proto udp" };
    format!(
        "add table ip bench; \
         add chain ip bench out {{ type nat hook postrouting priority srcnat; }}; \
         add rule ip bench out oifname {UPLINK}{udp} masquerade{ports}"
    )
}
