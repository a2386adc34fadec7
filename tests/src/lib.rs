//! The harness of vnet's tests: private networks, real packets, and words for what happened.
//!
//! A test builds a small network of its own namespaces ([`netns`], [`link`], [`lab`]), talks over
//! it with real sockets ([`socket`], [`ping`]) or raw frames ([`wire`]), reads and writes packets
//! as values ([`packet`]), and asks `vnetctl` ([`vnetctl`], [`counters`]) what it did. A single
//! program can also be run on one frame, with no network at all ([`datapath`], [`test_run`]).
//!
//! Promise: tests run in parallel in one process, touch nothing of the host's own network, leave
//! nothing behind even when they panic, and say by name what they could not test here ([`crate::skip!`]).

pub mod bench;
pub mod btf;
pub mod conformance;
pub mod counters;
pub mod datapath;
pub mod dhcp;
pub mod differential;
mod forwards;
mod ifreq;
pub mod instance;
pub mod lab;
pub mod link;
pub mod netns;
pub mod packet;
pub mod packet6;
pub mod patience;
pub mod ping;
pub mod sentry;
pub mod skip;
pub mod snapshot;
pub mod socket;
pub mod test_run;
pub mod tun;
pub mod vnetctl;
pub mod wire;
