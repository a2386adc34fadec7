//! The command line, one story for each command and each refusal.
//!
//! What is refused says why in a sentence, ends with its documented exit code, and changes nothing;
//! what is attached and detached leaves everything as it was ([`vnet_tests::snapshot`]).

mod answers;
mod attach;
mod bpffs;
mod detach;
mod events;
mod foreign;
mod forward;
mod help;
mod hooked;
mod in_place;
mod killed;
mod options;
mod refusal;
mod scene;
mod sorter;
mod spec;
mod together;
mod watch;
mod xdp;
