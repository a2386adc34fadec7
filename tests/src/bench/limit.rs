//! The limits: a router that only redirects, by the least program there can be.

use anyhow::{Context as _, Result};
use aya::programs::tc::TcAttachType;
use aya::programs::xdp::XdpMode;
use aya::programs::{SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};

use crate::lab::{ETH, Lab};
use crate::link::{self, Port};
use crate::netns::Netns;

/// Where the program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// At ingress of traffic control.
    Tc,
    /// Before the kernel has made a packet of the frame.
    Xdp,
    /// There too, with a lookup.
    Lookup,
}

/// Connections that vnet has room for, unless told otherwise.
const ROOM: u32 = 262_144;

/// Both directions of a router that is a wire. It goes with its value.
#[derive(Debug)]
pub(super) struct Wire {
    _programs: [Ebpf; 2],
}

impl Wire {
    /// Joins the router's devices, and makes client and server neighbours.
    pub(super) fn lay(lab: &Lab, hook: Hook, room: Option<u32>, object: &[u8]) -> Result<Self> {
        // A table has both directions of each.
        let room = 2 * room.unwrap_or(ROOM);
        let (client, gateway) = (lab.client(), [10, 0, 0, 1].into());
        link::neighbour(&client.netns, ETH, gateway, lab.server_port.mac);
        lab.server.ip(&format!("route add {}/32 dev {ETH}", client.address));
        link::neighbour(&lab.server, ETH, client.address, client.port.mac);
        let (inside, uplink) = (&client.router_port, &lab.uplink);
        let join = |from: &Port, to: &Port| {
            let from = (&from.device[..], from.index);
            attach(&lab.router, from, to.index, (hook, room), object)
        };
        Ok(Self { _programs: [join(inside, uplink)?, join(uplink, inside)?] })
    }
}

fn attach(
    netns: &Netns,
    (name, index): (&str, u32),
    other: u32,
    (hook, room): (Hook, u32),
    object: &[u8],
) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.override_global("DEVICE", &other, true).map_max_entries("known", room);
    let mut object = loader.load(object)?;
    let which = match hook {
        Hook::Tc => "cross",
        Hook::Xdp => "cross_xdp",
        Hook::Lookup => "cross_known",
    };
    let program = object.program_mut(which).context("the generator has no such program")?;
    match hook {
        Hook::Tc => {
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
            netns.run(|| program.attach(name, TcAttachType::Ingress))?;
        }
        Hook::Xdp | Hook::Lookup => {
            let program: &mut Xdp = program.try_into()?;
            program.load()?;
            netns.run(|| program.attach_to_if_index(index, XdpMode::Driver))?;
        }
    }
    Ok(object)
}
