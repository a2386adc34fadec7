//! The datapath of vnet.
//!
//! One program looks at packets that come in on a managed device, one at packets that go out
//! ([`run`] is both). The stages are pure where they can be: [`packet`], [`checksum`],
//! [`rewrite`], [`quote`] and [`port`] know no kernel and are tested on the host, and
//! [`kernel`] is the only door to packets, maps, clocks and sockets.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod account;
pub mod checksum;
pub mod expire;
pub mod flow;
pub mod kernel;
pub mod opening;
pub mod packet;
pub mod policy;
pub mod port;
pub mod quote;
pub mod rewrite;
pub mod run;
pub mod translate;
