//! The devices inside hosts come in by: those that were named, and those found by themselves.

use ipnet::Ipv4Net;

use super::host::{Device, Host};
use crate::spec::{Attach, Inside};

/// Most devices that are found by themselves: `links` has room for them and for those that were
/// named.
const MOST: usize = 900;

/// Indexes of all devices the wish touches, or would touch if nobody else used their hooks.
#[must_use]
pub fn touched(wish: &Attach, host: &Host) -> Vec<u32> {
    let named = named(wish).filter_map(|name| Some(host.by_name(name)?.0));
    named.chain(candidates(wish, host)).collect()
}

/// The inside prefixes.
pub(super) fn nets(wish: &Attach) -> Vec<Ipv4Net> {
    let nets = wish.inside.iter().filter_map(|inside| match inside {
        Inside::Net(net) => Some(*net),
        Inside::Device(_) => None,
    });
    nets.collect()
}

/// Names of the devices the wish names.
pub(super) fn named(wish: &Attach) -> impl Iterator<Item = &str> {
    let inside = wish.inside.iter().filter_map(|inside| match inside {
        Inside::Device(name) => Some(name.as_str()),
        Inside::Net(_) => None,
    });
    wish.uplinks.iter().map(String::as_str).chain(inside)
}

/// Indexes of the devices that the wish takes: those it names, and those found by themselves.
#[must_use]
pub fn links_wanted(wish: &Attach, host: &Host) -> Vec<u32> {
    let named = named(wish).filter_map(|name| Some(host.by_name(name)?.0));
    named.chain(hooked(wish, host)).collect()
}

/// The devices nobody has named and inside hosts come in by all the same. Where somebody else uses
/// the hooks, those are left alone.
#[must_use]
pub fn hooked(wish: &Attach, host: &Host) -> Vec<u32> {
    let free = candidates(wish, host).filter(|index| !host.foreign.contains(index));
    free.take(MOST).collect()
}

/// What the user should know about devices that are left out.
#[must_use]
pub fn left_out(wish: &Attach, host: &Host) -> Vec<String> {
    let others = candidates(wish, host).filter(|index| host.foreign.contains(index));
    let mut notes: Vec<_> = others.map(|index| {
        let name = host.name_of(index, "");
        format!(
            "device '{name}' is left alone, because somebody else has programs there: who comes in \
             by it does not reach inside hosts by their outside address"
        )
    }).collect();
    if candidates(wish, host).count() - notes.len() > MOST {
        notes.push(format!(
            "more than {MOST} devices have inside hosts behind them: name those that matter \
             (--inside DEV)"
        ));
    }
    notes
}

fn candidates<'a>(wish: &'a Attach, host: &'a Host) -> impl Iterator<Item = u32> + 'a {
    let nets = nets(wish);
    let everybody = wish.inside.is_empty();
    let of_others =
        |index: &u32| host.uplinks.get(index).is_some_and(|owner| *owner != wish.instance);
    let devices = host.devices.iter().filter(move |(index, device)| {
        let fits = device.enters && device.header.is_some() && !of_others(index);
        fits && named(wish).all(|name| name != device.name)
    });
    let inside = devices.filter(move |(_, device)| {
        let inside = if everybody { !device.networks.is_empty() } else { device.within(&nets) };
        inside || device.within6(wish)
    });
    inside.map(|(index, _)| *index)
}

impl Device {
    /// Whether inside hosts whose IPv6 is translated come in by it: whoever they are, where that is done
    /// by one address.
    fn within6(&self, wish: &Attach) -> bool {
        if wish.nat66.on {
            return !self.networks6.is_empty();
        }
        let insides = || wish.nptv6.iter().map(|pair| pair.inside);
        self.networks6.iter().any(|own| insides().any(|inside| inside.contains(&own.addr())))
    }

    /// Whether a network of the device and one of these have addresses in common.
    fn within(&self, nets: &[Ipv4Net]) -> bool {
        let meet = |a: &Ipv4Net, b: &Ipv4Net| a.contains(b) || b.contains(a);
        self.networks.iter().any(|own| nets.iter().any(|net| meet(own, net)))
    }
}
