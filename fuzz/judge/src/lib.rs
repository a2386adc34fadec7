//! What must hold of vnet's core for any bytes whatever.
//!
//! A judge takes bytes, does with them what the datapath would (parse, rewrite, choose a port, follow
//! TCP), and panics when something does not hold that must. The fuzzer calls the judges with what
//! it invents; `tests/replay.rs` calls them with what is kept in `fuzz/corpus`; and the agreement test
//! of vnet-tests runs the same frames through the programs in the kernel.
//!
//! Promise: nothing here repeats the arithmetic of what it judges. Packets are compared with those
//! of the harness ([`packet`]), checksums are summed up in full, port sets are compared with ordinary
//! ones.

// The harness's packets alone: vnet-tests as a whole needs the eBPF compiler, which a fuzzer does not.
mod frame;
#[path = "../../../tests/src/packet/mod.rs"]
pub mod packet;
mod parse;
mod ports;
mod quotes;
mod rewrite;
mod tcp;

pub use frame::{ETHERNET, Frame};
pub use parse::{look, parse};
pub use ports::ports;
pub use quotes::quotes;
pub use rewrite::rewrite;
pub use tcp::tcp;

/// Takes any bytes; panics when they show a fault.
pub type Judge = fn(&[u8]);

/// Every judge, by the name of its fuzz target and its directory in `fuzz/corpus`.
pub const JUDGES: [(&str, Judge); 5] =
    [("parse", parse), ("quotes", quotes), ("rewrite", rewrite), ("ports", ports), ("tcp", tcp)];

/// The frame within an input of a judge that takes one; what stands before it says what to write.
pub fn frame_of<'a>(judge: &str, input: &'a [u8]) -> Option<&'a [u8]> {
    match judge {
        "parse" => Some(input),
        "quotes" => input.get(quotes::WISH..),
        "rewrite" => input.get(rewrite::WISH..),
        _ => None,
    }
}
