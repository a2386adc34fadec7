//! Real namespaces, real sockets, the real `vnetctl`: what people would see.
//!
//! Nothing is needed here but `ip` and `vnetctl`, so the same stories run in guests with other
//! kernels. In every story a sentry outside watches that nobody inside is ever seen
//! ([`vnet_tests::sentry`]).

mod address;
mod addresses;
mod answer;
mod block;
mod counters;
mod device_inside;
mod device_uplink;
mod dhcp;
mod error;
mod exclusion;
mod expiry;
mod filtering;
mod forward;
mod fragment;
mod hairpin;
mod hairpin6;
mod host;
mod host_error;
mod inbound;
mod instances;
mod lasting;
mod limit;
mod multipath;
mod nat66;
mod nat66_fragment;
mod npt;
mod offload;
mod passage;
mod path;
mod publish;
mod room;
mod routed;
mod scene;
mod shortcut;
mod shortcut_change;
mod swap;
mod takeover;
mod talk;
mod tool_load;
mod tool_route;
mod uplinks;
mod vlan;
mod xdp;
