//! The probes, a file for each group of requirements. Each file's `LIST` says what they are for.

mod device;
mod error_in;
mod error_out;
mod filtering;
mod forward;
mod fragment;
mod hairpin;
mod leak;
mod log;
mod mapping;
mod path;
mod pool;
mod port;
mod quoting;
mod timeout;
mod v6;

use super::Requirement;

/// The groups, in the order of the table, with their titles.
pub(super) const GROUPS: &[(&str, &[Requirement])] = &[
    ("Mapping", mapping::LIST),
    ("Ports", port::LIST),
    ("Pools, limits and changes", pool::LIST),
    ("Timeouts", timeout::LIST),
    ("Filtering", filtering::LIST),
    ("Hairpin", hairpin::LIST),
    ("Forwards", forward::LIST),
    ("ICMP errors from outside", error_in::LIST),
    ("ICMP errors from inside", error_out::LIST),
    ("ICMP errors of the router itself", path::LIST),
    ("Fragments", fragment::LIST),
    ("Packets", leak::LIST),
    ("Devices", device::LIST),
    ("IPv6", v6::LIST),
    ("Log", log::LIST),
];
