//! IPv6 prefixes: what `prefixes6` is to say, given the wish and the host's own addresses.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use vnet_common::policy::{Link, role};
use vnet_common::prefix6::{Prefix6, side};

use super::host::{Host, IPV6_FORWARD};
use super::instance::Instance;
use crate::spec::{Attach, PrefixPair};

/// Both sides of every pair, and the host's own addresses on its uplinks, which stay its own.
pub(super) fn prefixes6(
    wish: &Attach,
    host: &Host,
    links: &BTreeMap<u32, Link>,
) -> BTreeMap<Ipv6Net, Prefix6> {
    let mut prefixes = BTreeMap::new();
    for PrefixPair { inside, outside } in &wish.nptv6 {
        let length = u32::from(inside.prefix_len());
        let (out, back) = Prefix6::pair(inside.addr().octets(), outside.addr().octets(), length);
        prefixes.insert(*inside, out);
        prefixes.insert(*outside, back);
    }
    let uplinks = links.iter().filter(|(_, link)| link.roles & role::UPLINK != 0);
    let own = uplinks.filter_map(|(index, _)| host.devices.get(index));
    for net in own.flat_map(|device| &device.networks6) {
        let outside = wish.nptv6.iter().any(|pair| pair.outside.contains(&net.addr()));
        if outside {
            prefixes.insert(Ipv6Net::from(net.addr()), Prefix6::keep());
        }
    }
    prefixes
}

/// The pairs of an instance.
pub fn pairs(instance: &Instance) -> impl Iterator<Item = PrefixPair> + '_ {
    let inside = instance.prefixes6.iter().filter(|(_, to)| to.side == side::INSIDE);
    inside.map(|(inside, to)| PrefixPair {
        inside: *inside,
        outside: Ipv6Net::new_assert(Ipv6Addr::from(to.prefix), inside.prefix_len()),
    })
}

/// What the user should know: IPv6 forwarding is not switched on for anybody, because a router no
/// longer listens to router advertisements, and may lose its own way out.
#[must_use]
pub fn ipv6_notes(wish: &Attach, host: &Host) -> Vec<String> {
    let off =
        (wish.nat66.on || !wish.nptv6.is_empty()) && host.sysctls.get(IPV6_FORWARD) == Some(&0);
    let note = format!(
        "{IPV6_FORWARD} is 0, so no IPv6 is forwarded: set it to 1; where an uplink gets its \
         address or route by router advertisements, set accept_ra of that device to 2 before"
    );
    off.then_some(note).into_iter().collect()
}
