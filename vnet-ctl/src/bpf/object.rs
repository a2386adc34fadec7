//! The eBPF object, built by the build script and carried in the binary.

use aya::include_bytes_aligned;

/// The object, aligned as its parser wants it.
pub static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vnet.o"));
