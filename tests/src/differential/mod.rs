//! The kernel as oracle: the same packets through vnet and through nftables masquerade, in twin
//! labs, and what comes out compared packet by packet.
//!
//! A sequence is a list of [`step`]s: made by chance from a seed ([`generate`]) or read from a file
//! ([`text`]). [`twins`] sends it through both labs, [`outcome`] brings what comes out into a form
//! that can be compared, and [`differences`] lists where the two may differ, and why.
//!
//! Promise: the same seed makes the same sequences; no sequence meets what another has left behind;
//! a difference that is not on the list is a fault.

pub mod address;
mod checksum;
mod dice;
pub mod differences;
pub mod frames;
pub mod generate;
pub mod history;
mod ip;
pub mod kept;
pub mod mapping;
pub mod outcome;
mod reassemble;
pub mod report;
pub mod rig;
pub mod shrink;
pub mod step;
pub mod tally;
pub mod text;
pub mod trial;
pub mod twins;
