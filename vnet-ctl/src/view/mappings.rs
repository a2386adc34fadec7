//! Mappings, a row each.

use std::net::IpAddr;

use serde::Serialize;

use super::clock::{now, seconds};
use super::flows::proto_name;
use crate::bpf::{Pins, Tables};
use crate::reconcile::Error;
use crate::state::Instance;

/// A mapping: who inside has which port outside, towards everybody.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MappingRow {
    /// Instance it belongs to.
    pub instance: String,
    /// Protocol: `tcp`, `udp` or `icmp`.
    pub proto: &'static str,
    /// Inside address.
    pub src: IpAddr,
    /// Inside port, or ICMP query identifier.
    pub sport: u16,
    /// Outside address.
    pub outside: IpAddr,
    /// Outside port, or ICMP query identifier.
    pub outside_port: u16,
    /// Connections that use it.
    pub flows: u32,
    /// Seconds since it was made.
    pub age_s: f64,
}

/// Mappings of those instances, oldest first.
///
/// # Errors
/// When a table cannot be read.
pub fn mappings(instances: &[Instance]) -> Result<Vec<MappingRow>, Error> {
    let mut rows = Vec::new();
    for instance in instances {
        let tables = Tables::of(Pins::of(&instance.name));
        let (found, addresses) = (tables.mappings()?, tables.addresses()?);
        let now = now();
        rows.extend(found.iter().map(|row| MappingRow {
            instance: instance.name.to_string(),
            proto: proto_name(row.inside.proto),
            src: addresses.read(row.inside.addr),
            sport: row.inside.port,
            outside: addresses.read(row.mapping.addr),
            outside_port: row.mapping.port,
            flows: row.uses,
            age_s: seconds(now, row.mapping.created),
        }));
    }
    rows.sort_by(|a, b| b.age_s.total_cmp(&a.age_s));
    Ok(rows)
}
