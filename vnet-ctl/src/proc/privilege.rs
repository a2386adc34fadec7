//! What this process may do.

use std::fs;

/// Capabilities (linux/capability.h).
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;

/// The effective capabilities of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Those of this process; none when they cannot be read.
    #[must_use]
    pub fn current() -> Self {
        Self::read(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn read(status: &str) -> Self {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self(line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0))
    }

    const fn has(self, capability: u32) -> bool {
        self.0 & 1 << capability != 0
    }

    /// Names of the capabilities that `vnetctl` lacks to change things; empty when it may.
    #[must_use]
    pub fn missing(self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if !self.has(NET_ADMIN) {
            missing.push("CAP_NET_ADMIN");
        }
        if !self.has(BPF) && !self.has(SYS_ADMIN) {
            missing.push("CAP_BPF");
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_lacks_nothing_and_nobody_lacks_both() {
        let root = "Name:\tx\nCapEff:\t000001ffffffffff\n";
        assert_eq!(Capabilities::read(root).missing(), Vec::<&str>::new());
        let nobody = "CapEff:\t0000000000000000\n";
        assert_eq!(Capabilities::read(nobody).missing(), ["CAP_NET_ADMIN", "CAP_BPF"]);
        let old_root = Capabilities(1 << NET_ADMIN | 1 << SYS_ADMIN);
        assert_eq!(old_root.missing(), Vec::<&str>::new());
    }
}
