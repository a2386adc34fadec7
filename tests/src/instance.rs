//! Names that say whose they are: `vt<pid>-<n>`.
//!
//! Everything a test makes outside its own memory (a namespace, an instance's pins) carries such a
//! name, so that leftovers of a killed run can be told from those of a run that is still going.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "vt";

/// Where vnetctl keeps an instance's maps, programs and links.
const PINS: &str = "/sys/fs/bpf/vnet";

/// Where vnetctl keeps the namespaces in which fragments are put in order.
const SORTERS: &str = "/run/vnet";

/// A name no other test, in this process or another, has: `vt<pid>-<n>`.
pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether `name` is one of ours and its process is gone.
///
/// A name that is not of our scheme is never an orphan, whatever it looks like.
pub fn is_orphan(name: &str) -> bool {
    owner(name).is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists())
}

fn owner(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let number = number.split('-').next()?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

/// The directory of an instance's pins.
pub fn pins(instance: &str) -> PathBuf {
    PathBuf::from(PINS).join(instance)
}

/// The namespace in which an instance's fragments are put in order.
pub fn sorter(instance: &str) -> PathBuf {
    PathBuf::from(SORTERS).join(instance)
}

/// Removes what one instance has outside of its network namespace, if there is anything.
pub fn remove_pins(instance: &str) {
    // Removing what is not there is the usual, good case; anything else the next sweep retries.
    let _ = std::fs::remove_dir_all(pins(instance));
    let sorter = sorter(instance);
    let _ = rustix::mount::unmount(&sorter, rustix::mount::UnmountFlags::DETACH);
    let _ = std::fs::remove_file(&sorter);
}

/// Removes what is left of instances whose test process is gone.
pub fn sweep_pins() {
    let homes = [PINS, SORTERS].map(std::fs::read_dir);
    for entry in homes.into_iter().flatten().flatten().flatten() {
        if let Some(name) = entry.file_name().to_str().filter(|name| is_orphan(name)) {
            remove_pins(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        assert_ne!(unique(), unique());
    }

    #[test]
    fn only_our_names_of_dead_processes_are_orphans() {
        assert!(!is_orphan(&unique()), "this process is alive");
        // Larger than any pid_max, so it cannot be running.
        assert!(is_orphan("vt4194999-1"));
        assert!(is_orphan("vt4194999-1-router"));
        for foreign in ["router", "vt", "vt-1", "vt4194999", "vt4194999-x", "xvt4194999-1", "vtx-1"]
        {
            assert!(!is_orphan(foreign), "{foreign} is not a name of ours");
        }
    }
}
