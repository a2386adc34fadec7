//! `hosts`: what each inside host has at once, counted while there is a limit (RFC 6888 REQ-4).

use crate::record;

/// What an inside host has: the value of `hosts`, keyed by its address. Mappings and connections
/// made while nobody counted are not in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Mappings, of all protocols.
    pub mappings: u32,
    /// Connections.
    pub flows: u32,
}
record!(Host, 8);
