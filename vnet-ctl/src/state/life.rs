//! Whether what an instance was made for still lives, and where.
//!
//! Promise: an instance counts as dead only when that is certain. Containers and services with
//! mounts of their own see few namespaces; not to see one is no proof that it is gone.

use super::host::Host;
use super::instance::{Instance, Running};
use crate::spec::Hook;

/// Whether and where an instance lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// In this network namespace, and an uplink of it with it.
    Here,
    /// In another network namespace, which lives.
    Elsewhere,
    /// In another network namespace, or nowhere: from here that cannot be told.
    Unseen,
    /// Nowhere: its devices are gone, or its making was cut short before it had any.
    Dead,
}

impl Instance {
    /// Whether and where it lives, as far as it can be told from `host`.
    #[must_use]
    pub fn life(&self, host: &Host) -> Life {
        let runs = self.runs(None);
        if !runs && self.hooks.keys().any(|(_, hook)| Hook::TC.contains(hook)) {
            return Life::Dead;
        }
        if self.config.netns == host.netns {
            let mut uplinks = self.uplinks().map(|(index, _)| index).peekable();
            let any = uplinks.peek().is_some();
            let lost = any && uplinks.all(|index| self.is_lost(index, host));
            return if lost { Life::Dead } else { Life::Here };
        }
        match (runs, self.config.netns) {
            // Where it is made is written before anything is attached.
            (false, 0) => Life::Dead,
            (true, 0) => Life::Unseen,
            (true, _) => Life::Elsewhere,
            (false, netns) if host.namespaces.contains(&netns) => Life::Elsewhere,
            (false, _) => Life::Unseen,
        }
    }

    /// Whether it is certain that what it was made for is gone.
    #[must_use]
    pub fn is_dead(&self, host: &Host) -> bool {
        self.life(host) == Life::Dead
    }

    /// Whether an uplink of an instance of this namespace is gone.
    fn is_lost(&self, index: u32, host: &Host) -> bool {
        let gone = |hook| self.hooks.get(&(index, hook)) == Some(&Running::Gone);
        !host.devices.contains_key(&index) || Hook::TC.into_iter().any(gone)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vnet_common::policy::{Link, role};

    use super::*;
    use crate::spec;
    use crate::state::Device;

    fn host() -> Host {
        let device = Device { name: "eth0".into(), header: Some(14), ..Device::default() };
        let devices = BTreeMap::from([(2, device)]);
        Host { netns: 7, namespaces: [7, 8].into(), devices, ..Host::default() }
    }

    fn life(netns: u64, hooks: &[(u32, Running)]) -> Life {
        let mut instance = Instance::empty(spec::Instance::parse("lab").unwrap());
        instance.config.netns = netns;
        instance.links.insert(2, Link { roles: role::UPLINK, ..Link::default() });
        instance.hooks = hooks.iter().map(|(index, how)| ((*index, Hook::In), *how)).collect();
        instance.life(&host())
    }

    #[test]
    fn a_hook_that_runs_proves_life_where_nothing_else_is_seen() {
        assert_eq!(life(7, &[(2, Running::Current)]), Life::Here);
        assert_eq!(life(8, &[(2, Running::Current)]), Life::Elsewhere);
        assert_eq!(life(9, &[(2, Running::Current)]), Life::Elsewhere);
        assert_eq!(life(9, &[(2, Running::Gone), (3, Running::Old)]), Life::Elsewhere);
        assert_eq!(life(0, &[(2, Running::Current)]), Life::Unseen);
    }

    #[test]
    fn only_devices_that_are_gone_prove_death() {
        for netns in [7, 8, 9] {
            assert_eq!(life(netns, &[(2, Running::Gone), (3, Running::Gone)]), Life::Dead);
        }
        assert_eq!(life(7, &[(2, Running::Gone), (3, Running::Current)]), Life::Dead);
        assert_eq!(life(9, &[]), Life::Unseen, "filters of clsact cannot be seen from elsewhere");
        assert_eq!(life(8, &[]), Life::Elsewhere);
        assert_eq!(life(7, &[]), Life::Here, "its hooks are missing: attach again");
        assert_eq!(life(0, &[]), Life::Dead, "never was alive");
    }
}
