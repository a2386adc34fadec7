//! Which outside addresses an instance has, on which uplink, and under which numbers.
//!
//! Promises: the numbers of one uplink follow each other, and what is there keeps its number if it
//! can; an address that takes another's place takes its number too.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use vnet_common::policy::Outside;

use super::host::{Device, Host};
use super::instance::{Instance, read_name};
use super::wanted::device;
use crate::fault::Fault;
use crate::spec::Attach;

/// An uplink and what it is to have.
struct Uplink {
    index: u32,
    addresses: Vec<Ipv4Addr>,
    /// Numbers it has now, and the addresses under them.
    before: Vec<(u32, Ipv4Addr)>,
}

/// The outside addresses by their numbers; `room` is how many numbers there are.
pub(super) fn outsides(
    wish: &Attach,
    host: &Host,
    found: Option<&Instance>,
    room: u32,
    faults: &mut Vec<Fault>,
) -> BTreeMap<u32, Outside> {
    let mut uplinks = uplinks(wish, host, found, faults);
    let wanted = uplinks.iter().map(|uplink| uplink.addresses.len()).sum();
    let Some(starts) = starts(&uplinks, room) else {
        let instance = wish.instance.to_string();
        faults.push(Fault::Room { instance, room, wanted });
        return BTreeMap::new();
    };
    let mut outsides = BTreeMap::new();
    for (uplink, start) in uplinks.iter_mut().zip(starts) {
        for (number, address) in (start..).zip(uplink.ordered(start)) {
            let addr = address.octets();
            // One that was not named may be followed by another.
            let asked = if wish.addresses.contains(&address) { addr } else { [0; 4] };
            outsides.insert(number, Outside { addr, link: uplink.index, asked, checked: 0 });
        }
    }
    outsides
}

fn uplinks(
    wish: &Attach,
    host: &Host,
    found: Option<&Instance>,
    faults: &mut Vec<Fault>,
) -> Vec<Uplink> {
    let devices = wish.uplinks.iter().filter_map(|name| device(host, name, faults));
    let devices: Vec<_> = devices.collect();
    let mut named = wish.addresses.clone();
    let mut uplinks = Vec::new();
    for (index, device) in &devices {
        let own: Vec<_> = named.iter().copied().filter(|address| device.has(*address)).collect();
        named.retain(|address| !own.contains(address));
        let before = before(*index, device, host, found);
        let taken = uplinks.iter().flat_map(|uplink: &Uplink| &uplink.addresses).copied();
        let taken: Vec<_> = taken.chain(wish.addresses.iter().copied()).collect();
        let addresses = match usual(device, &before, &taken) {
            _ if !own.is_empty() => own,
            Some(address) => vec![address],
            None => {
                faults.push(Fault::NoAddress(device.name.clone()));
                Vec::new()
            }
        };
        uplinks.push(Uplink { index: *index, addresses, before });
    }
    // On a device that is not there nothing can be looked for.
    if devices.len() == wish.uplinks.len() {
        faults.extend(named.into_iter().map(|address| not_there(address, &devices)));
    }
    uplinks
}

/// Numbers and addresses the uplink has now; also when the device was made anew since.
fn before(
    index: u32,
    device: &Device,
    host: &Host,
    found: Option<&Instance>,
) -> Vec<(u32, Ipv4Addr)> {
    let Some(found) = found else { return Vec::new() };
    let gone = found.uplinks().find(|(old, link)| {
        !host.devices.contains_key(old) && read_name(&link.name) == device.name
    });
    let index = match gone {
        Some((old, _)) if !found.links.contains_key(&index) => old,
        Some(_) | None => index,
    };
    found.addresses_of(index).collect()
}

/// What an uplink has when nobody says: the address in use, else the first global one.
fn usual(device: &Device, before: &[(u32, Ipv4Addr)], taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let free = |address: &Ipv4Addr| !taken.contains(address);
    let in_use = before.iter().map(|(_, address)| *address).find(|address| device.has(*address));
    let mut global = device.addresses.iter().filter(|(_, global)| *global).map(|(own, _)| *own);
    in_use.filter(free).or_else(|| global.find(free))
}

fn not_there(address: Ipv4Addr, devices: &[(u32, &Device)]) -> Fault {
    let names: Vec<_> = devices.iter().map(|(_, device)| device.name.as_str()).collect();
    let present: Vec<_> = devices.iter().map(|(_, device)| device.present()).collect();
    let (device, present) = (names.join("' or '"), present.join(", "));
    Fault::AddressNotThere { address, device, present }
}

impl Uplink {
    fn start(&self) -> Option<u32> {
        self.before.first().map(|(number, _)| *number)
    }

    fn len(&self) -> u32 {
        u32::try_from(self.addresses.len()).unwrap_or(u32::MAX)
    }

    /// Its addresses in the order of their numbers from `start` on: each under the number it has,
    /// and the others where there is room.
    fn ordered(&self, start: u32) -> Vec<Ipv4Addr> {
        let old = |number: u32| {
            let held = self.before.iter().find(|(had, _)| *had == number);
            held.map(|(_, address)| *address).filter(|address| self.addresses.contains(address))
        };
        let slots: Vec<_> = (start..).take(self.addresses.len()).map(old).collect();
        let new = self.addresses.iter().copied();
        let mut new = new.filter(|address| !slots.contains(&Some(*address)));
        slots.iter().filter_map(|slot| slot.or_else(|| new.next())).collect()
    }
}

/// Where the numbers of each uplink start; none when there are not as many. Uplinks that are all
/// new leave each other room, and so do all of them when what is left is in pieces.
fn starts(uplinks: &[Uplink], room: u32) -> Option<Vec<u32>> {
    let wanted: u32 = uplinks.iter().map(Uplink::len).sum();
    let spare = room.checked_sub(wanted)? / u32::try_from(uplinks.len()).ok()?.max(1);
    let mut next = 0;
    let apart = uplinks.iter().map(|uplink| {
        let start = next;
        next += uplink.len() + spare;
        start
    });
    let apart = apart.collect();
    let fresh = uplinks.iter().all(|uplink| uplink.start().is_none());
    if fresh { Some(apart) } else { Some(kept(uplinks, room).unwrap_or(apart)) }
}

/// Each uplink where it is now, if it has room there, else in the first gap that is wide enough.
fn kept(uplinks: &[Uplink], room: u32) -> Option<Vec<u32>> {
    let mut starts: Vec<Option<u32>> = vec![None; uplinks.len()];
    let fits = |starts: &[Option<u32>], start: u32, len: u32| {
        let end = start + len;
        let mut others = uplinks.iter().zip(starts).filter_map(|(other, at)| Some((other, (*at)?)));
        end <= room && others.all(|(other, at)| end <= at || at + other.len() <= start)
    };
    for (n, uplink) in uplinks.iter().enumerate() {
        starts[n] = uplink.start().filter(|start| fits(&starts, *start, uplink.len()));
    }
    for (n, uplink) in uplinks.iter().enumerate() {
        if starts[n].is_none() {
            starts[n] = Some((0..room).find(|start| fits(&starts, *start, uplink.len()))?);
        }
    }
    starts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    /// An uplink with these addresses, and what it has now from some number on.
    fn uplink(addresses: &[u8], start: u32, before: &[u8]) -> Uplink {
        let addresses = addresses.iter().map(|last| address(*last)).collect();
        let before = (start..).zip(before.iter().map(|last| address(*last))).collect();
        Uplink { index: 1, addresses, before }
    }

    fn order(addresses: &[u8], before: &[u8]) -> Vec<u8> {
        let ordered = uplink(addresses, 5, before).ordered(5);
        ordered.iter().map(|address| address.octets()[3]).collect()
    }

    #[test]
    fn what_stays_keeps_its_number_and_what_comes_takes_that_of_what_goes() {
        assert_eq!(order(&[1, 2, 3], &[]), [1, 2, 3]);
        assert_eq!(order(&[3, 2, 1], &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(order(&[1, 9, 3], &[1, 2, 3]), [1, 9, 3]);
        assert_eq!(order(&[9, 1], &[1, 2]), [1, 9]);
        assert_eq!(order(&[9, 1, 2], &[1, 2]), [1, 2, 9]);
        assert_eq!(order(&[1, 3], &[1, 2, 3]), [1, 3], "the last one moves up");
    }

    #[test]
    fn uplinks_leave_each_other_room_to_grow() {
        let new = |count: u8| uplink(&(1..=count).collect::<Vec<_>>(), 0, &[]);
        assert_eq!(starts(&[new(1), new(1)], 4), Some(vec![0, 2]));
        assert_eq!(starts(&[new(2), new(1), new(1)], 4), Some(vec![0, 2, 3]));
        assert_eq!(starts(&[new(4), new(1)], 4), None);
        let grown = [uplink(&[1, 2], 0, &[1]), uplink(&[3], 2, &[3])];
        assert_eq!(starts(&grown, 4), Some(vec![0, 2]));
    }

    #[test]
    fn an_uplink_moves_only_where_it_cannot_stay() {
        let grown = [uplink(&[1, 2, 4], 0, &[1]), uplink(&[3], 2, &[3])];
        assert_eq!(starts(&grown, 6), Some(vec![0, 3]), "the other one makes room");
        let pieces = [uplink(&[1], 1, &[1]), uplink(&[2, 3, 4], 3, &[2])];
        assert_eq!(starts(&pieces, 4), Some(vec![0, 1]), "all move where nothing else helps");
        let second = [uplink(&[1], 0, &[1]), uplink(&[2], 0, &[])];
        assert_eq!(starts(&second, 4), Some(vec![0, 1]));
    }
}
