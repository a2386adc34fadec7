//! The datapath of vnet.
//!
//! One program looks at packets that come in on a managed device, one at packets that go out: in
//! both, [`known`] packets pass, and about others somebody has to [`decide`]. The stages are pure where they can be: [`packet`], [`checksum`],
//! [`rewrite`], [`quote`] and [`port`] know no kernel and are tested on the host, and
//! [`kernel`] is the only door to packets, maps, clocks and sockets.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod account;
pub mod address;
pub mod answer;
pub mod call;
pub mod checksum;
pub mod decide;
pub mod error6;
pub mod expire;
pub mod flow;
pub mod forward;
pub mod fragment;
pub mod fragment6;
pub mod hairpin;
pub mod hairpin6;
pub mod host;
pub mod inbound;
pub mod kernel;
pub mod known;
pub mod learn;
pub mod learn_path;
pub mod nat66;
pub mod npt;
pub mod open;
pub mod open6;
pub mod opening;
pub mod options;
pub mod order;
pub mod packet;
pub mod packet6;
pub mod path;
pub mod policy;
pub mod port;
pub mod prefix6;
pub mod quote;
pub mod quote6;
pub mod rewrite;
pub mod room;
pub mod shortcut;
pub mod six;
pub mod sort;
pub mod sort6;
pub mod translate;
pub mod xdp;
