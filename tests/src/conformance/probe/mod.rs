//! The probes, a file for each group of requirements. Each file's `LIST` says what they are for.

mod error_in;
mod error_out;
mod filtering;
mod leak;
mod mapping;
mod path;
mod port;
mod quoting;
mod timeout;

use super::Requirement;

/// The groups, in the order of the table, with their titles.
pub(super) const GROUPS: &[(&str, &[Requirement])] = &[
    ("Mapping", mapping::LIST),
    ("Ports", port::LIST),
    ("Timeouts", timeout::LIST),
    ("Filtering", filtering::LIST),
    ("ICMP errors from outside", error_in::LIST),
    ("ICMP errors from inside", error_out::LIST),
    ("ICMP errors of the router itself", path::LIST),
    ("Packets", leak::LIST),
];
