//! A lab with one of the contenders in it. The same addresses, cables and offloads for all.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::contender::Contender;
use super::limit::{Hook, Wire};
use super::mapping;
use crate::ifreq::{self, Offload};
use crate::lab::{self, ETH, INSIDE, Lab, UPLINK};
use crate::link::{self, Cable, Port};
use crate::netns::Netns;
use crate::packet::Mac;

/// The generator's first source port.
const FIRST_PORT: u32 = 1024;
/// The client's address in every scene.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// A client and a server, and what is between them.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) contender: Contender,
    wiring: Wiring,
    /// Goes before the devices that it joins.
    wire: Option<Wire>,
}

#[derive(Debug)]
enum Wiring {
    Direct { client: Netns, client_port: Port, server: Netns, server_port: Port },
    Routed(Lab),
}

impl Scene {
    /// Builds it; with room for so many connections, if it matters.
    pub(super) fn new(contender: Contender, object: &[u8], room: Option<u32>) -> Result<Self> {
        Self::of(contender, (None, room), 1, object)
    }

    /// Builds it with so many queues for each device.
    pub(super) fn with_queues(contender: Contender, object: &[u8], queues: u32) -> Result<Self> {
        Self::of(contender, (None, None), queues, object)
    }

    /// Builds it with a range of ports that can be filled.
    pub(super) fn narrow(contender: Contender, object: &[u8]) -> Result<Self> {
        let last = FIRST_PORT + mapping::RANGE - 1;
        Self::of(contender, (Some(&format!("{FIRST_PORT}-{last}")), None), 1, object)
    }

    fn of(
        contender: Contender,
        (ports, room): (Option<&str>, Option<u32>),
        queues: u32,
        object: &[u8],
    ) -> Result<Self> {
        let wiring = match contender {
            Contender::Direct => direct(),
            Contender::Kernel
            | Contender::Nft
            | Contender::Tc
            | Contender::Xdp
            | Contender::XdpLookup
            | Contender::Slow
            | Contender::Vnet
            | Contender::VnetXdp
            | Contender::Events => {
                let lab = Lab::plan().with_offloads().build();
                assert_eq!(lab.client().address, CLIENT, "the usual lab has this client");
                lab.fix_neighbours();
                Wiring::Routed(lab)
            }
        };
        let scene = Self { contender, wiring, wire: None };
        // A device takes frames from XDP only if its peer joined packets (GRO) when it came up, or
        // was told to since.
        scene.segmentation(false);
        scene.segmentation(true);
        if queues > 1 {
            scene.queues(queues);
        }
        if let Wiring::Routed(lab) = &scene.wiring {
            contender.prepare(lab, ports, room);
        }
        let hook = match contender {
            Contender::Tc => Some(Hook::Tc),
            Contender::Xdp => Some(Hook::Xdp),
            Contender::XdpLookup => Some(Hook::Lookup),
            _ => None,
        };
        let wire = match (hook, &scene.wiring) {
            (Some(hook), Wiring::Routed(lab)) => Some(Wire::lay(lab, hook, room, object)?),
            _ => None,
        };
        Ok(Self { wire, ..scene })
    }

    /// The lab, if there is a router in it.
    pub(super) fn lab(&self) -> Option<&Lab> {
        match &self.wiring {
            Wiring::Direct { .. } => None,
            Wiring::Routed(lab) => Some(lab),
        }
    }

    /// Where requests come from.
    pub(super) fn client(&self) -> &Netns {
        match &self.wiring {
            Wiring::Direct { client, .. } => client,
            Wiring::Routed(lab) => &lab.client().netns,
        }
    }

    /// The client's device.
    pub(super) fn client_port(&self) -> &Port {
        match &self.wiring {
            Wiring::Direct { client_port, .. } => client_port,
            Wiring::Routed(lab) => &lab.client().port,
        }
    }

    /// Who is at the other end of the client's cable.
    pub(super) fn next_hop(&self) -> Mac {
        match &self.wiring {
            Wiring::Direct { server_port, .. } => server_port.mac,
            Wiring::Routed(lab) if self.wire.is_some() => lab.server_port.mac,
            Wiring::Routed(lab) => lab.client().router_port.mac,
        }
    }

    /// Where requests go to.
    pub(super) fn server(&self) -> &Netns {
        match &self.wiring {
            Wiring::Direct { server, .. } => server,
            Wiring::Routed(lab) => &lab.server,
        }
    }

    /// The server's device.
    pub(super) fn server_port(&self) -> &Port {
        match &self.wiring {
            Wiring::Direct { server_port, .. } => server_port,
            Wiring::Routed(lab) => &lab.server_port,
        }
    }

    /// The client's own address.
    pub(super) fn client_address(&self) -> Ipv4Addr {
        CLIENT
    }

    /// The server's address.
    pub(super) fn server_address(&self) -> Ipv4Addr {
        lab::server_address(0)
    }

    /// The source that the server must see.
    pub(super) fn source(&self) -> Ipv4Addr {
        self.contender.source(CLIENT)
    }

    /// Lets every device cut and join TCP segments, or none.
    pub(super) fn segmentation(&self, on: bool) {
        for (netns, device) in self.devices() {
            netns.run(|| {
                for offload in [Offload::Tso, Offload::Gso, Offload::Gro] {
                    ifreq::set_offload(&device, offload, on)
                        .unwrap_or_else(|e| panic!("cannot set {offload:?} of {device}: {e}"));
                }
            });
        }
    }

    /// Gives every device so many queues. A queue that a veth gets later than its XDP program has none.
    fn queues(&self, queues: u32) {
        for (netns, device) in self.devices() {
            let set = netns.run(|| ifreq::set_queues(&device, queues));
            set.unwrap_or_else(|e| panic!("cannot give {device} {queues} queues: {e}"));
        }
    }

    fn devices(&self) -> Vec<(&Netns, String)> {
        let mut devices = vec![(self.client(), ETH.to_owned()), (self.server(), ETH.to_owned())];
        if let Wiring::Routed(lab) = &self.wiring {
            devices.push((&lab.router, UPLINK.to_owned()));
            devices.push((&lab.router, lab.client().router_port.device.clone()));
        }
        devices
    }
}

fn direct() -> Wiring {
    let (client, server) = (Netns::new("client"), Netns::new("server"));
    let cable = Cable::new((&client, ETH), (&server, ETH)).with_offloads();
    let (client_port, server_port) = cable.plug();
    let address = lab::server_address(0);
    link::address(&client, ETH, &format!("{CLIENT}/32"));
    link::address(&server, ETH, &format!("{address}/32"));
    client.ip(&format!("route add {address} dev {ETH}"));
    server.ip(&format!("route add {INSIDE} dev {ETH}"));
    link::neighbour(&client, ETH, address, server_port.mac);
    link::neighbour(&server, ETH, CLIENT, client_port.mac);
    Wiring::Direct { client, client_port, server, server_port }
}
