//! Connections, a row each: both directions joined.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Serialize;
use vnet_common::flow::{Flow, FlowKey, flag, proto};
use vnet_common::path::{self, Path};
use vnet_common::policy::Config;
use vnet_common::tcp::State;

use super::clock::{now, seconds};
use super::filter::Filter;
use super::shortcut::Way;
use crate::bpf::{Addresses, Connection, Hops, Pins, Tables};
use crate::reconcile::Error;
use crate::state::{Instance, read_name};

/// A connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowRow {
    /// Instance it belongs to.
    pub instance: String,
    /// Name of the uplink that translates it.
    pub ifname: String,
    /// Index of that uplink.
    pub ifindex: u32,
    /// Protocol: `tcp`, `udp` or `icmp`.
    pub proto: &'static str,
    /// Inside source address.
    pub src: IpAddr,
    /// Inside source port, or ICMP query identifier.
    pub sport: u16,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port, or ICMP query identifier.
    pub dport: u16,
    /// Outside source address.
    pub outside: IpAddr,
    /// Outside source port, or ICMP query identifier.
    pub outside_port: u16,
    /// State.
    pub state: &'static str,
    /// Whether it belongs to a socket of this host.
    pub host: bool,
    /// Packets from inside to outside.
    pub packets_out: u64,
    /// Bytes of them, from the IP header on.
    pub bytes_out: u64,
    /// Packets from outside to inside.
    pub packets_in: u64,
    /// Bytes of them, from the IP header on.
    pub bytes_in: u64,
    /// When it was made, nanoseconds of the datapath's clock (in steps of 16.8 ms): to order by.
    #[serde(skip)]
    pub first_seen: u64,
    /// Seconds since it was made.
    pub age_s: f64,
    /// Seconds since its last packet.
    pub idle_s: f64,
    /// Idle time after which it ends, seconds. A routed one does not end: it is forgotten for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// Seconds until it ends if no packet comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_s: Option<f64>,
    /// The way of packets from inside to outside.
    pub way_out: Way,
    /// The way of packets from outside to inside.
    pub way_in: Way,
    /// Bytes of both directions per second since the last look, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

impl FlowRow {
    /// Packets of both directions.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets_out.wrapping_add(self.packets_in)
    }

    /// What tells it from every other connection, as long as it lives.
    #[must_use]
    pub fn identity(&self) -> FlowIdentity {
        (self.instance.clone(), self.proto, (self.src, self.sport), (self.dst, self.dport))
    }

    /// Bytes of both directions.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes_out.wrapping_add(self.bytes_in)
    }
}

/// Instance, protocol, inside source and destination.
pub type FlowIdentity = (String, &'static str, (IpAddr, u16), (IpAddr, u16));

/// Connections of those instances that pass the filter.
///
/// # Errors
/// When a table cannot be read.
pub fn flows(instances: &[Instance], filter: &Filter) -> Result<Vec<FlowRow>, Error> {
    let mut rows = Vec::new();
    for instance in instances {
        let tables = Tables::of(Pins::of(&instance.name));
        let (connections, addresses) = (tables.connections()?, tables.addresses()?);
        let ways = Ways { hops: tables.hops()?, six: tables.paths()?.of_flows() };
        let row = |connection| row(instance, connection, &addresses, &ways, now());
        rows.extend(connections.iter().map(row));
    }
    Ok(filter.apply(rows))
}

/// What is remembered of ways.
struct Ways {
    hops: Hops,
    /// Those of IPv6's connections.
    six: HashMap<FlowKey, Path>,
}

impl Ways {
    /// An entry with the way of its direction.
    fn with_way(&self, key: &FlowKey, flow: &Flow, six: bool) -> Flow {
        match self.six.get(key).filter(|_| six) {
            Some(path) if path.flags & path::flag::ACCEPTED != 0 => {
                Flow { way: path.way, flags: flow.flags | flag::ACCEPTED, ..*flow }
            }
            Some(path) => Flow { way: path.way, ..*flow },
            None => *flow,
        }
    }
}

fn row(
    instance: &Instance,
    connection: &Connection,
    addresses: &Addresses,
    ways: &Ways,
    now: u64,
) -> FlowRow {
    let Connection { key, out, back } = connection;
    let last = out.last_seen.max(back.last_seen);
    let timeout = timeout(&instance.config, key.proto, out);
    let idle_s = seconds(now, last);
    let src = addresses.read(key.saddr);
    let way = |key: &FlowKey, flow: &Flow| {
        let flow = ways.with_way(key, flow, src.is_ipv6());
        let hop = ways.hops.get(flow.way.hop);
        Way::of(instance, key.proto, &flow, hop.as_ref(), now)
    };
    FlowRow {
        instance: instance.name.to_string(),
        ifname: instance.links.get(&out.link).map(|l| read_name(&l.name)).unwrap_or_default(),
        ifindex: out.link,
        proto: proto_name(key.proto),
        src,
        sport: key.sport,
        dst: addresses.read(key.daddr),
        dport: key.dport,
        outside: addresses.read(out.saddr),
        outside_port: out.sport,
        state: State::from_number(out.state).map_or("UNKNOWN", State::name),
        host: out.flags & flag::HOST != 0,
        packets_out: out.packets,
        bytes_out: out.bytes,
        packets_in: back.packets,
        bytes_in: back.bytes,
        first_seen: out.made(now),
        age_s: seconds(now, out.made(now)),
        idle_s,
        timeout_s: Some(timeout),
        left_s: Some(((f64::from(timeout) - idle_s) * 10.0).round().max(0.0) / 10.0),
        way_out: way(key, out),
        way_in: way(&out.twin(key.proto), back),
        bytes_per_s: None,
    }
}

/// The word for a protocol.
pub(super) const fn proto_name(number: u8) -> &'static str {
    match number {
        proto::TCP => "tcp",
        proto::UDP => "udp",
        proto::ICMP => "icmp",
        _ => "other",
    }
}

/// Idle time after which a connection in this state ends.
fn timeout(config: &Config, protocol: u8, flow: &Flow) -> u32 {
    match (protocol, State::from_number(flow.state)) {
        (proto::ICMP, _) => config.icmp,
        (proto::TCP, Some(State::Established)) => config.tcp_established,
        (proto::TCP, _) => config.tcp_transitory,
        _ => config.udp,
    }
}
