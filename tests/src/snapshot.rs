//! Everything a router can be left with: taken before and after, two snapshots must be equal.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aya::programs::{SchedClassifier, TcAttachType};

use crate::instance;
use crate::lab::Lab;
use crate::netns::Netns;

/// Devices, queueing disciplines, filters, programs, sysctls and pins, each by what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    /// Looks at the router of a lab, and at its instance.
    ///
    /// # Panics
    /// When something cannot be looked at.
    pub fn of(lab: &Lab) -> Self {
        let mut facts = Self::of_namespace(&lab.router).0;
        let pins = instance::pins(lab.instance());
        facts.insert("pins".to_owned(), pins_below(&pins).join(" "));
        Self(facts)
    }

    /// Looks at a namespace alone.
    ///
    /// # Panics
    /// When something cannot be looked at.
    pub fn of_namespace(netns: &Netns) -> Self {
        let mut facts = BTreeMap::new();
        let mut add = |about: String, fact: String| facts.insert(about, fact);
        add("links".to_owned(), netns.ip("-d -o link show"));
        add("addresses".to_owned(), netns.ip("-o address show"));
        add("routes".to_owned(), netns.ip("route show table all"));
        add("qdiscs".to_owned(), netns.must("tc", &["qdisc", "show"]));
        for (name, value) in forwarding(netns) {
            add(name, value);
        }
        for device in devices(netns) {
            for (side, attach) in
                [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)]
            {
                let filters = netns.must("tc", &["filter", "show", "dev", &device, side]);
                add(format!("filters of {device} {side}"), filters);
                add(format!("programs of {device} {side}"), tcx(netns, &device, attach));
            }
        }
        Self(facts)
    }

    /// Asserts that nothing has changed since `earlier`.
    ///
    /// # Panics
    /// When something has, saying what.
    #[track_caller]
    pub fn assert_same(&self, earlier: &Self) {
        let about = self.0.keys().chain(earlier.0.keys().filter(|key| !self.0.contains_key(*key)));
        let shown =
            |facts: &Self, key| facts.0.get(key).map_or("nothing", String::as_str).to_owned();
        let changed = about.filter(|key| self.0.get(*key) != earlier.0.get(*key));
        let changed: Vec<_> = changed
            .map(|key| {
                format!("{key}\n  was: {}\n  is:  {}", shown(earlier, key), shown(self, key))
            })
            .collect();
        assert!(changed.is_empty(), "changed: {}", changed.join("\n"));
    }
}

fn devices(netns: &Netns) -> Vec<String> {
    let listed = netns.run(|| fs::read_dir("/proc/sys/net/ipv4/conf"));
    let listed = listed.unwrap_or_else(|e| panic!("cannot list devices: {e}"));
    let names = listed.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name != "all" && name != "default").collect();
    names.sort();
    names
}

fn forwarding(netns: &Netns) -> Vec<(String, String)> {
    let mut names = vec!["net/ipv4/ip_forward".to_owned()];
    let devices = devices(netns).into_iter().chain(["default".to_owned()]);
    names.extend(devices.map(|device| format!("net/ipv4/conf/{device}/forwarding")));
    let read = |name: String| {
        let value = netns.sysctl(&name).unwrap_or_default();
        (name, value)
    };
    names.into_iter().map(read).collect()
}

/// Programs on a TCX hook; none where the kernel has no TCX.
fn tcx(netns: &Netns, device: &str, attach: TcAttachType) -> String {
    let found = netns.run(|| SchedClassifier::query_tcx(device, attach));
    let programs = found.map(|(_, programs)| programs).unwrap_or_default();
    let names: Vec<_> =
        programs.iter().map(|p| format!("{} {}", p.id(), p.name_as_str().unwrap_or("?"))).collect();
    names.join(", ")
}

fn pins_below(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    if dir.exists() {
        names.insert(0, format!("{}:", dir.display()));
    }
    names
}
