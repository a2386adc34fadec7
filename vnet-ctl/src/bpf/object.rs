//! The eBPF object, built by the build script and carried in the binary.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use aya::include_bytes_aligned;

/// The object, aligned as its parser wants it.
pub static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vnet.o"));

/// A number that tells this object from others; never 0.
#[must_use]
pub fn build() -> u32 {
    static BUILD: LazyLock<u32> = LazyLock::new(|| {
        let mut hasher = DefaultHasher::new();
        OBJECT.hash(&mut hasher);
        (hasher.finish() as u32).max(1)
    });
    *BUILD
}
