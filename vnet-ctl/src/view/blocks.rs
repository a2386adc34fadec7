//! Port blocks, a row each: computed, not looked up.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::Serialize;

use crate::reconcile::Error;
use crate::spec::Ports;
use crate::state::{Instance, Place, Places};

/// A port block and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockRow {
    /// Instance it belongs to.
    pub instance: String,
    /// Name of the uplink.
    pub ifname: String,
    /// Inside host.
    pub host: Ipv4Addr,
    /// Outside address.
    pub outside: Ipv4Addr,
    /// First and last port.
    pub ports: Ports,
}

/// What is asked about blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who has which block.
    All,
    /// Which blocks this host has.
    Host(Ipv4Addr),
    /// Who has this port.
    Outside(SocketAddrV4),
}

/// The answer of one instance.
///
/// # Errors
/// When it has no blocks, or none that is meant.
pub fn blocks(instance: &Instance, question: Question) -> Result<Vec<BlockRow>, Error> {
    let places = Places::of(instance)?;
    let row = |place: Place| BlockRow {
        instance: instance.name.to_string(),
        ifname: place.ifname,
        host: place.host,
        outside: place.outside,
        ports: place.ports,
    };
    Ok(match question {
        Question::All => places.all().map(row).collect(),
        Question::Host(host) => places.of_host(host)?.into_iter().map(row).collect(),
        Question::Outside(end) => vec![row(places.of_outside(*end.ip(), end.port())?)],
    })
}
