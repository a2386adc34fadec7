//! What `/proc` tells and takes: sysctls, namespaces, sockets, capabilities.

pub mod namespace;
pub mod privilege;
pub mod sockets;
pub mod sorter;
pub mod sysctl;
