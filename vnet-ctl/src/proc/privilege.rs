//! What this process may do.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::fault::Fault;

/// Capabilities (linux/capability.h), all that `vnetctl` needs: `CAP_NET_ADMIN` for programs on
/// devices and for sysctls, `CAP_SYS_ADMIN` for opening programs and links by their numbers.
/// (`CAP_BPF` and `CAP_PERFMON` would do for loading, and `CAP_SYS_ADMIN` includes both.)
const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];
/// The inode of the first user namespace (`PROC_USER_INIT_INO`, linux/proc_ns.h).
const FIRST_USER_NAMESPACE: u64 = 0xeffffffd;

/// The effective capabilities of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    set: u64,
    /// Whether they count for the whole machine: those of a further user namespace do not.
    full: bool,
}

impl Capabilities {
    /// Those of this process; none when they cannot be read.
    #[must_use]
    pub fn current() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let namespace = fs::metadata("/proc/self/ns/user").map(|meta| meta.ino());
        // A kernel without user namespaces has no such file, and only one namespace.
        Self::read(&status, namespace.is_ok_and(|inode| inode != FIRST_USER_NAMESPACE))
    }

    fn read(status: &str, further: bool) -> Self {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
        Self { set, full: !further }
    }

    /// What `vnetctl` lacks, in words; `None` when it may do all it needs to.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        let lacks = NEEDED.iter().filter(|(number, _)| self.set & 1 << number == 0);
        let mut missing: Vec<_> = lacks.map(|(_, name)| (*name).to_owned()).collect();
        if missing.is_empty() && !self.full {
            let all = NEEDED.map(|(_, name)| name).join(" and ");
            missing.push(format!("{all} outside of this user namespace"));
        }
        (!missing.is_empty()).then(|| missing.join(" and "))
    }
}

/// Refuses who lacks something, before anything is touched.
///
/// # Errors
/// When capabilities are missing.
pub fn demand() -> Result<(), Fault> {
    Capabilities::current().missing().map_or(Ok(()), |missing| Err(Fault::Permission { missing }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: u64 = 1 << 12;
    const SYS: u64 = 1 << 21;
    const BPF: u64 = 1 << 39;

    fn missing(set: u64, further: bool) -> Option<String> {
        Capabilities::read(&format!("Name:\tx\nCapEff:\t{set:016x}\n"), further).missing()
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(0x1ff_ffff_ffff, false), None);
        assert_eq!(missing(NET | SYS, false), None);
        assert_eq!(missing(NET | BPF, false).unwrap(), "CAP_SYS_ADMIN");
        assert_eq!(missing(SYS, false).unwrap(), "CAP_NET_ADMIN");
        assert_eq!(missing(0, true).unwrap(), "CAP_NET_ADMIN and CAP_SYS_ADMIN");
    }

    #[test]
    fn root_of_a_user_namespace_is_not_root() {
        let missing = missing(0x1ff_ffff_ffff, true).unwrap();
        assert_eq!(missing, "CAP_NET_ADMIN and CAP_SYS_ADMIN outside of this user namespace");
    }
}
