//! vnet beside the kernel's own NAT: the same packets, compared one by one
//! ([`vnet_tests::differential`]).

mod generated;
mod kept;
mod list;
mod oracle;
