//! The state of the router that vnet may touch, before and after: it must be the same.
//!
//! Programs on the TCX hooks are not listed by older tools, but need not be: such a program stays
//! only as long as its link is pinned, and pins are looked at. IPv6 addresses are left out, because
//! the kernel itself changes them in the first seconds of a device.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::lab::{Lab, Place};

/// Where vnet pins its maps, programs and links.
const PINS: &str = "/sys/fs/bpf/vnet";

/// What is looked at, each by a command in the router's network namespace.
const LOOKS: [(&str, &[&str]); 6] = [
    ("devices", &["ip", "-o", "-d", "link", "show"]),
    ("addresses", &["ip", "-4", "-o", "addr", "show"]),
    ("routes", &["ip", "-4", "route", "show", "table", "all"]),
    ("queueing disciplines", &["tc", "qdisc", "show"]),
    ("firewall rules", &["nft", "list", "ruleset"]),
    ("sysctls", &["sh", "-c", SYSCTLS]),
];
const SYSCTLS: &str = "cd /proc/sys/net && grep -r . ipv4/ip_forward ipv4/conf ipv6/conf \
                       ipv4/ip_local_port_range ipv4/ip_local_reserved_ports 2>/dev/null; true";

/// A set of lines, each one fact.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at everything.
    pub(crate) fn take(lab: &Lab) -> Result<Self> {
        let mut facts = BTreeSet::new();
        for (what, words) in LOOKS {
            let text = lab.quietly(Place::Router, words)?;
            facts.extend(text.lines().map(|line| format!("{what}: {}", line.trim())));
        }
        for device in ["lan", "uplink"] {
            for hook in ["ingress", "egress"] {
                let filters = ["tc", "filter", "show", "dev", device, hook];
                // Without a clsact there is no such hook, which is a fact of its own.
                let text = lab.quietly(Place::Router, &filters).unwrap_or_default();
                facts.extend(text.lines().map(|line| format!("filters, {device} {hook}: {line}")));
            }
        }
        facts.extend(pins(lab.instance()));
        Ok(Self(facts))
    }

    /// How many facts were looked at.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is different now: `-` was there before, `+` is there now.
    pub(crate) fn changes(&self, now: &Self) -> Vec<String> {
        let gone = self.0.difference(&now.0).map(|fact| format!("- {fact}"));
        gone.chain(now.0.difference(&self.0).map(|fact| format!("+ {fact}"))).collect()
    }
}

/// Clears away the empty directory that a killed command left, as any next command would: it going
/// away meanwhile is no change. Refused by the kernel while anything is in it.
pub(crate) fn clear_empty() {
    let _ = std::fs::remove_dir(PINS);
}

/// The pins of the demo's own instance; other instances are not its business.
fn pins(instance: &str) -> Vec<String> {
    let mut found = Vec::new();
    let here = Path::new(PINS).join(instance);
    if here.exists() {
        found.push(format!("pins: {}", here.display()));
    }
    for pin in here.read_dir().into_iter().flatten().flatten() {
        found.push(format!("pins: {}", pin.path().display()));
    }
    if Path::new(PINS).read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
        found.push(format!("pins: {PINS} exists and is empty"));
    }
    found
}

/// Every pinned map of the instance whose name begins so.
pub(crate) fn maps(instance: &str, prefix: &str) -> Vec<String> {
    let entries = Path::new(PINS).join(instance).read_dir().into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let named = paths.filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    });
    let mut maps: Vec<String> = named.map(|path| path.display().to_string()).collect();
    maps.sort();
    maps
}
