//! Forwards, a row each.

use std::net::Ipv4Addr;

use serde::Serialize;
use vnet_common::flow::flag;
use vnet_common::forward::{Rule, rule_state};

use crate::bpf::{Connection, Pins, Tables};
use crate::reconcile::Error;
use crate::spec::{Ports, Proto};
use crate::state::{Instance, Words as _, resolved};

/// A forward.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForwardRow {
    /// Instance it belongs to.
    pub instance: String,
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Protocol.
    pub proto: Proto,
    /// Outside address; nothing while that is gone.
    pub outside: Option<Ipv4Addr>,
    /// Whether it follows the first outside address of the uplink, whichever that is.
    pub follows: bool,
    /// Outside ports.
    pub ports: Ports,
    /// Inside address.
    pub inside: Ipv4Addr,
    /// Inside ports.
    pub inside_ports: Ports,
    /// Whether it is in force. If not, a command was cut short: the next one mends that.
    pub settled: bool,
    /// Connections that came through it.
    pub flows: usize,
}

/// Forwards of those instances.
///
/// # Errors
/// When a table cannot be read.
pub fn forwards(instances: &[Instance]) -> Result<Vec<ForwardRow>, Error> {
    let mut rows = Vec::new();
    for instance in instances.iter().filter(|instance| !instance.forwarding.rules.is_empty()) {
        let mut connections = Tables::of(Pins::of(&instance.name)).connections()?;
        connections.retain(|connection| connection.out.flags & flag::FORWARD != 0);
        let rules = instance.forwarding.rules.values();
        rows.extend(rules.map(|rule| row(rule, instance, &connections)));
    }
    Ok(rows)
}

/// The row of one rule; `connections` came through forwards.
#[must_use]
fn row(rule: &Rule, instance: &Instance, connections: &[Connection]) -> ForwardRow {
    let outside = resolved(rule, &instance.outsides).map(|(_, addr)| addr);
    let through = connections.iter().filter(|connection| {
        let out = &connection.out;
        connection.key.proto == rule.proto
            && Some(out.saddr) == outside
            && rule.ports().contains(out.sport)
    });
    ForwardRow {
        instance: instance.name.to_string(),
        id: rule.forward.id,
        name: rule.name(),
        proto: rule.protocol(),
        outside: outside.filter(|addr| *addr != [0; 4]).map(Into::into),
        follows: rule.asked == [0; 4],
        ports: rule.ports(),
        inside: rule.forward.inside.into(),
        inside_ports: rule.inside_ports(),
        settled: rule.state == rule_state::THERE,
        flows: through.count(),
    }
}
