//! What `/proc` tells and takes: sysctls, namespaces, capabilities.

pub mod namespace;
pub mod privilege;
pub mod sysctl;
