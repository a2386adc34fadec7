//! Routed conversations, a row each: those that the shortcut remembers though nothing else has to.

use std::net::{IpAddr, Ipv6Addr};

use vnet_common::Ipv6;
use vnet_common::flow::{Flow, flag};
use vnet_common::path::{self, Path, written};
use vnet_common::tcp::State;

use super::clock::{now, seconds};
use super::filter::Filter;
use super::flows::{FlowRow, proto_name};
use super::shortcut::Way;
use crate::bpf::{Hops, Pins, Route, Tables};
use crate::reconcile::Error;
use crate::state::{Instance, read_name};

/// The word for the state of each of them.
const ROUTED: &str = "ROUTED";

/// Routed conversations of those instances that pass the filter.
///
/// # Errors
/// When a table cannot be read.
pub fn routed(instances: &[Instance], filter: &Filter) -> Result<Vec<FlowRow>, Error> {
    let mut rows = Vec::new();
    for instance in instances {
        let tables = Tables::of(Pins::of(&instance.name));
        let (paths, hops) = (tables.paths()?, tables.hops()?);
        rows.extend(paths.routes().iter().map(|route| row(instance, route, &hops, now())));
    }
    Ok(filter.apply(rows))
}

fn row(instance: &Instance, route: &Route, hops: &Hops, now: u64) -> FlowRow {
    let Route { key, out, back } = route;
    let other = back.unwrap_or_default();
    let last = out.last_seen.max(other.last_seen);
    let made = Flow { first_seen: out.first_seen, ..Flow::default() }.made(now);
    let device = hops.get(out.way.hop).map(|hop| hop.device).unwrap_or_default();
    let (outside, outside_port) = match out.written {
        written::SOURCE => (addr(out.addr), out.port),
        _ => (addr(key.saddr), key.sport),
    };
    let way = |path: &Path| {
        let hop = hops.get(path.way.hop);
        Way::of(instance, key.proto, &flow(path), hop.as_ref(), now)
    };
    FlowRow {
        instance: instance.name.to_string(),
        ifname: instance.links.get(&device).map(|link| read_name(&link.name)).unwrap_or_default(),
        ifindex: device,
        proto: proto_name(key.proto),
        src: addr(key.saddr),
        sport: key.sport,
        dst: addr(key.daddr),
        dport: key.dport,
        outside,
        outside_port,
        state: ROUTED,
        host: false,
        packets_out: out.packets,
        bytes_out: out.bytes,
        packets_in: other.packets,
        bytes_in: other.bytes,
        first_seen: made,
        age_s: seconds(now, made),
        idle_s: seconds(now, last),
        timeout_s: None,
        left_s: None,
        way_out: way(out),
        way_in: way(&other),
        bytes_per_s: None,
    }
}

/// What a connection would be that had this way.
fn flow(path: &Path) -> Flow {
    let flags = if path.flags & path::flag::ACCEPTED == 0 { 0 } else { flag::ACCEPTED };
    Flow { way: path.way, flags, state: State::Replied as u8, ..Flow::default() }
}

/// An address as people have it: IPv4's are written as IPv6's in the table.
fn addr(addr: Ipv6) -> IpAddr {
    Ipv6Addr::from(addr).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_are_themselves() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2];
        assert_eq!(addr(mapped).to_string(), "10.0.0.2");
        let plain = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(addr(plain).to_string(), "2001:db8::1");
    }

    #[test]
    fn what_is_accepted_is_said() {
        assert_eq!(
            flow(&Path { flags: path::flag::ACCEPTED, ..Path::default() }).flags,
            flag::ACCEPTED
        );
        assert_eq!(flow(&Path::default()).flags, 0);
    }
}
