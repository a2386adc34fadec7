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
    /// `vnetctl attach --nat`.
    Vnet,
}

impl Contender {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Kernel => "kernel",
            Self::Nft => "nft",
            Self::Vnet => "vnet",
        }
    }

    /// What it is, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct cable",
            Self::Kernel => "kernel forwarding",
            Self::Nft => "nftables masquerade",
            Self::Vnet => "vnet",
        }
    }

    /// The source that the server must see.
    pub(super) fn source(self, client: Ipv4Addr) -> Ipv4Addr {
        match self {
            Self::Direct | Self::Kernel => client,
            Self::Nft | Self::Vnet => lab::OUTSIDE,
        }
    }

    /// Makes the lab's router one of this kind.
    pub(super) fn prepare(self, lab: &Lab) {
        match self {
            Self::Direct => {}
            Self::Kernel => {
                lab.forward();
                let gateway = lab::OUTSIDE;
                lab.server.ip(&format!("route add {INSIDE} via {gateway} dev {ETH}"));
            }
            Self::Nft => {
                lab.forward();
                lab.router.must("nft", &[&masquerade()]);
            }
            Self::Vnet => {
                lab.vnetctl(&["attach", "--nat", UPLINK, "--inside", INSIDE]).ok();
            }
        }
    }
}

fn masquerade() -> String {
    format!(
        "add table ip bench; \
         add chain ip bench out {{ type nat hook postrouting priority srcnat; }}; \
         add rule ip bench out oifname {UPLINK} masquerade"
    )
}
