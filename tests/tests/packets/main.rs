//! Packets in, packets out: the real programs, tried on one frame at a time.
//!
//! Every packet here is judged by its bytes and by the counters: exactly the end that a story names
//! has moved (see [`vnet_tests::datapath`]). `reasons` proves that no end was forgotten.

mod account;
mod address;
mod addresses;
mod answer;
mod aside;
mod block;
mod checksum;
mod error_in;
mod error_out;
mod events;
mod exclusion;
mod filtering;
mod forward;
mod fragment;
mod fragment_refused;
mod hairpin6;
mod host;
mod limit;
mod malformed;
mod nat66;
mod nat66_fragment;
mod npt;
mod path;
mod path4;
mod pool;
mod reasons;
mod room;
mod scene;
mod shortcut;
mod syn;
mod tcp;
mod translate;
mod xdp;
