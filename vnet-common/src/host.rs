//! `hosts`: what each inside host has at once, counted while there is a limit (RFC 6888 REQ-4), or
//! while blocks of ports are told of.

use crate::{Ipv4, record};

/// What an inside host has: the value of `hosts`, keyed by its address. Mappings and connections
/// made while nobody counted are not in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Mappings, of all protocols.
    pub mappings: u32,
    /// Connections.
    pub flows: u32,
    /// Outside address of the block that it was last told to use; 0.0.0.0 when it uses none.
    pub told: Ipv4,
    /// First port of that block.
    pub min: u16,
    /// Last port of that block.
    pub max: u16,
}
record!(Host, 16);
