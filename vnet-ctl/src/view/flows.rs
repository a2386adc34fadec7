//! Connections, a row each: both directions joined.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;
use vnet_common::flow::{Flow, flag, proto};
use vnet_common::policy::Config;
use vnet_common::tcp::State;

use super::clock::{now, seconds};
use crate::bpf::{Connection, Pins, Tables};
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
    pub src: Ipv4Addr,
    /// Inside source port, or ICMP query identifier.
    pub sport: u16,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Destination port, or ICMP query identifier.
    pub dport: u16,
    /// Outside source address.
    pub outside: Ipv4Addr,
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
    /// Seconds since it was made.
    pub age_s: f64,
    /// Seconds since its last packet.
    pub idle_s: f64,
    /// Idle time after which it ends, seconds.
    pub timeout_s: u32,
    /// Seconds until it ends if no packet comes.
    pub left_s: f64,
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
pub type FlowIdentity = (String, &'static str, (Ipv4Addr, u16), (Ipv4Addr, u16));

/// What the rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Packets, most first.
    Packets,
    /// Bytes, most first.
    Bytes,
}

/// Which rows are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Inside source in this prefix.
    pub src: Option<Ipv4Net>,
    /// Destination in this prefix.
    pub dst: Option<Ipv4Net>,
    /// This inside source port.
    pub sport: Option<u16>,
    /// This destination port.
    pub dport: Option<u16>,
    /// This protocol.
    pub proto: Option<&'static str>,
    /// This state.
    pub state: Option<State>,
    /// The order; oldest first when none.
    pub by: Option<By>,
    /// So many rows at most.
    pub top: Option<usize>,
}

impl Filter {
    fn passes(&self, row: &FlowRow) -> bool {
        self.src.is_none_or(|net| net.contains(&row.src))
            && self.dst.is_none_or(|net| net.contains(&row.dst))
            && self.sport.is_none_or(|port| port == row.sport)
            && self.dport.is_none_or(|port| port == row.dport)
            && self.proto.is_none_or(|proto| proto == row.proto)
            && self.state.is_none_or(|state| state.name() == row.state)
    }

    /// The rows that pass, in order, as many as are wanted.
    #[must_use]
    pub fn apply(&self, rows: Vec<FlowRow>) -> Vec<FlowRow> {
        let mut rows: Vec<_> = rows.into_iter().filter(|row| self.passes(row)).collect();
        match self.by {
            Some(By::Packets) => rows.sort_by_key(|row| std::cmp::Reverse(row.packets())),
            Some(By::Bytes) => rows.sort_by_key(|row| std::cmp::Reverse(row.bytes())),
            None => rows.sort_by(|a, b| b.age_s.total_cmp(&a.age_s)),
        }
        rows.truncate(self.top.unwrap_or(usize::MAX));
        rows
    }
}

/// Connections of those instances that pass the filter.
///
/// # Errors
/// When a table cannot be read.
pub fn flows(instances: &[Instance], filter: &Filter) -> Result<Vec<FlowRow>, Error> {
    let mut rows = Vec::new();
    for instance in instances {
        let connections = Tables::of(Pins::of(&instance.name)).connections()?;
        let now = now();
        rows.extend(connections.iter().map(|connection| row(instance, connection, now)));
    }
    Ok(filter.apply(rows))
}

fn row(instance: &Instance, connection: &Connection, now: u64) -> FlowRow {
    let Connection { key, out, back } = connection;
    let last = out.last_seen.max(back.last_seen);
    let timeout = timeout(&instance.config, key.proto, out);
    let idle_s = seconds(now, last);
    FlowRow {
        instance: instance.name.to_string(),
        ifname: instance.links.get(&out.link).map(|l| read_name(&l.name)).unwrap_or_default(),
        ifindex: out.link,
        proto: proto_name(key.proto),
        src: key.saddr.into(),
        sport: key.sport,
        dst: key.daddr.into(),
        dport: key.dport,
        outside: out.saddr.into(),
        outside_port: out.sport,
        state: State::from_number(out.state).map_or("UNKNOWN", State::name),
        host: out.flags & flag::HOST != 0,
        packets_out: out.packets,
        bytes_out: out.bytes,
        packets_in: back.packets,
        bytes_in: back.bytes,
        age_s: seconds(now, out.first_seen),
        idle_s,
        timeout_s: timeout,
        left_s: ((f64::from(timeout) - idle_s) * 10.0).round().max(0.0) / 10.0,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(src: [u8; 4], sport: u16, bytes_in: u64, packets_out: u64) -> FlowRow {
        FlowRow {
            instance: "default".into(),
            ifname: "eth0".into(),
            ifindex: 2,
            proto: "udp",
            src: src.into(),
            sport,
            dst: [192, 0, 2, 1].into(),
            dport: 53,
            outside: [203, 0, 113, 7].into(),
            outside_port: sport,
            state: State::Replied.name(),
            host: false,
            packets_out,
            bytes_out: 0,
            packets_in: 0,
            bytes_in,
            age_s: f64::from(sport),
            idle_s: 0.0,
            timeout_s: 300,
            left_s: 300.0,
            bytes_per_s: None,
        }
    }

    #[test]
    fn rows_are_filtered_ordered_and_cut() {
        let rows = vec![
            row([10, 0, 0, 2], 1, 5, 9),
            row([10, 0, 0, 3], 2, 9, 1),
            row([10, 1, 0, 2], 3, 7, 2),
        ];
        let ports = |filter: &Filter| -> Vec<u16> {
            filter.apply(rows.clone()).iter().map(|row| row.sport).collect()
        };
        assert_eq!(ports(&Filter::default()), [3, 2, 1], "oldest first");
        assert_eq!(ports(&Filter { by: Some(By::Bytes), ..Filter::default() }), [2, 3, 1]);
        let top = Filter { by: Some(By::Packets), top: Some(1), ..Filter::default() };
        assert_eq!(ports(&top), [1]);
        let src = Filter { src: "10.0.0.0/16".parse().ok(), ..Filter::default() };
        assert_eq!(ports(&src), [2, 1]);
        let none = Filter { proto: Some("tcp"), ..Filter::default() };
        assert_eq!(ports(&none), [0u16; 0]);
        let state = Filter { state: Some(State::Unreplied), ..Filter::default() };
        assert_eq!(ports(&state), [0u16; 0]);
    }
}
