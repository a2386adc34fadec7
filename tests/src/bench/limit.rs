//! The limits: a router that only redirects, by the least program there can be.

use anyhow::{Context as _, Result};
use aya::programs::tc::TcAttachType;
use aya::programs::xdp::XdpMode;
use aya::programs::{SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};

use crate::lab::{ETH, Lab};
use crate::link;
use crate::netns::Netns;

/// Where the program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// At ingress of traffic control.
    Tc,
    /// Before the kernel has made a packet of the frame.
    Xdp,
}

/// Both directions of a router that is a wire. It goes with its value.
#[derive(Debug)]
pub(super) struct Wire {
    _programs: [Ebpf; 2],
}

impl Wire {
    /// Joins the router's devices, and makes client and server neighbours.
    pub(super) fn lay(lab: &Lab, hook: Hook, object: &[u8]) -> Result<Self> {
        let (client, gateway) = (lab.client(), [10, 0, 0, 1].into());
        link::neighbour(&client.netns, ETH, gateway, lab.server_port.mac);
        lab.server.ip(&format!("route add {}/32 dev {ETH}", client.address));
        link::neighbour(&lab.server, ETH, client.address, client.port.mac);
        let (inside, uplink) = (&client.router_port, &lab.uplink);
        let there =
            attach(&lab.router, (&inside.device, inside.index), uplink.index, hook, object)?;
        let back = attach(&lab.router, (&uplink.device, uplink.index), inside.index, hook, object)?;
        Ok(Self { _programs: [there, back] })
    }
}

fn attach(
    netns: &Netns,
    (name, index): (&str, u32),
    other: u32,
    hook: Hook,
    object: &[u8],
) -> Result<Ebpf> {
    let mut object = EbpfLoader::new().override_global("DEVICE", &other, true).load(object)?;
    let which = if hook == Hook::Tc { "cross" } else { "cross_xdp" };
    let program = object.program_mut(which).context("the generator has no such program")?;
    match hook {
        Hook::Tc => {
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
            netns.run(|| program.attach(name, TcAttachType::Ingress))?;
        }
        Hook::Xdp => {
            let program: &mut Xdp = program.try_into()?;
            program.load()?;
            netns.run(|| program.attach_to_if_index(index, XdpMode::Driver))?;
        }
    }
    Ok(object)
}
