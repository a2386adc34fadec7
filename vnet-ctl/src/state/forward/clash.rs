//! Whether a forward that is wished collides with what is there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use vnet_common::Ipv4;
use vnet_common::forward::Rule;
use vnet_common::policy::source;

use super::{Words as _, resolved};
use crate::fault::{Fault, ForwardFault};
use crate::spec::Ports;
use crate::state::{Host, Instance, Socket};

/// Who holds a port by a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The outside port.
    pub port: u16,
    /// Inside address; this host's outside address when it holds the port itself.
    pub addr: Ipv4,
    /// Inside port.
    pub inside_port: u16,
    /// Connections.
    pub flows: u32,
    /// Whether this host itself holds it.
    pub host: bool,
}

/// Where packets to the target would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this device.
    Device(u32),
    /// To this host itself.
    Local,
    /// Nowhere.
    Unreachable,
}

/// Everything that speaks against a rule, beside what `rules` already has.
#[must_use]
pub fn clashes(
    rule: &Rule,
    instance: &Instance,
    host: &Host,
    target: Target,
    sockets: &[Socket],
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some((number, outside)) = resolved(rule, &instance.outsides) else {
        faults.push(no_address(rule, instance));
        return faults;
    };
    let outside = Ipv4Addr::from(outside);
    faults.extend(not_inside(rule, instance, host, target));
    faults.extend(others(rule, instance, number, outside));
    faults.extend(listeners(rule, outside, sockets));
    faults
}

fn no_address(rule: &Rule, instance: &Instance) -> Fault {
    let present = instance.outsides.values().map(|own| Ipv4Addr::from(own.addr).to_string());
    let fault = ForwardFault::Address {
        address: rule.asked.into(),
        instance: instance.name.to_string(),
        present: present.collect::<Vec<_>>().join(", "),
    };
    fault.into()
}

/// Why the target cannot be one, if it cannot.
fn not_inside(rule: &Rule, instance: &Instance, host: &Host, target: Target) -> Option<Fault> {
    let address = Ipv4Addr::from(rule.forward.inside);
    let why = match target {
        Target::Local => {
            "it is an address of this host itself, whose services need no forward".to_owned()
        }
        Target::Unreachable => {
            format!("this host has no route to it (ip route get {address})")
        }
        Target::Device(index) if instance.uplinks().any(|(uplink, _)| uplink == index) => {
            let uplink = host.name_of(index, "the uplink");
            format!("the route to it leaves by the uplink {uplink}")
        }
        Target::Device(index) => {
            let by_device = instance.is_inside(index);
            let by_prefix = instance.source(address).is_some_and(|s| s.action == source::TRANSLATE);
            if by_device || by_prefix {
                return None;
            }
            "no --inside covers it; attach again with one that does".to_owned()
        }
    };
    Some(ForwardFault::NotInside { address, why }.into())
}

/// Other forwards with the same ports.
fn others(rule: &Rule, instance: &Instance, number: u32, address: Ipv4Addr) -> Vec<Fault> {
    let rules: &BTreeMap<u32, Rule> = &instance.forwarding.rules;
    let others = rules.values().filter(|other| {
        other.forward.id != rule.forward.id
            && other.proto == rule.proto
            && resolved(other, &instance.outsides).is_some_and(|(own, _)| own == number)
    });
    let taken = others.filter_map(|other| {
        let ports = rule.ports().common(other.ports())?;
        let (proto, name, target) = (rule.protocol(), other.name(), other.target());
        Some(ForwardFault::Taken { proto, ports, address, name, target }.into())
    });
    taken.collect()
}

/// Sockets of this host that would not be reached any more.
fn listeners(rule: &Rule, outside: Ipv4Addr, sockets: &[Socket]) -> Vec<Fault> {
    let proto = rule.protocol();
    let ports: Ports = rule.ports();
    let meant = sockets.iter().filter(|socket| {
        let own = socket.address == IpAddr::V4(outside) || socket.address.is_unspecified();
        socket.proto == proto && ports.contains(socket.port) && own
    });
    let faults = meant.map(|socket| {
        let fault = ForwardFault::Socket {
            proto,
            port: socket.port,
            who: socket.owner.clone(),
            how: socket.doing(),
            at: socket.at(),
        };
        fault.into()
    });
    faults.collect()
}

/// Sockets on the loopback that keep the port there, in sentences.
#[must_use]
pub fn kept(rule: &Rule, sockets: &[Socket]) -> Vec<String> {
    let meant = sockets.iter().filter(|socket| {
        let same = socket.proto == rule.protocol() && rule.ports().contains(socket.port);
        same && socket.address.is_loopback()
    });
    let words = meant.map(|socket| {
        let (who, how, at) = (&socket.owner, socket.doing(), socket.at());
        format!(
            "{who} {how} {at} and keeps that: from this host itself the target is reached there by the \
             outside address only"
        )
    });
    words.collect()
}

impl Holder {
    /// The refusal it leads to.
    #[must_use]
    pub fn fault(&self, rule: &Rule, outside: Ipv4) -> Fault {
        let holder = if self.host {
            "this host itself".to_owned()
        } else {
            format!("{}:{}", Ipv4Addr::from(self.addr), self.inside_port)
        };
        let (proto, port, address) = (rule.protocol(), self.port, outside.into());
        ForwardFault::Held { proto, port, address, holder, flows: self.flows }.into()
    }

    /// Whether it is the target of the rule, which may have its own port.
    #[must_use]
    pub fn is_target(&self, rule: &Rule) -> bool {
        !self.host
            && self.addr == rule.forward.inside
            && self.inside_port == rule.forward.inward(self.port)
    }
}
