//! Who is who in one slot of a lab.
//!
//! Each sequence has a slot, and each slot its own hosts, servers and ports, so no sequence meets
//! what another has left behind. An address tells the slot it belongs to.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::step::{HOSTS, PORTS, SERVICES, Talk};
use crate::lab::OUTSIDE;

/// Slots of a lab.
pub const SLOTS: u32 = 4000;
/// Inside ports begin here.
pub const FIRST_PORT: u16 = 8192;
/// vnet may give out ports below this, with room to choose others than the sequences' own.
pub const END_OF_PORTS: u16 = 49_152;
/// Networks of the hosts and of the servers; hosts are behind the lab's client.
const HOSTS_AT: Ipv4Addr = Ipv4Addr::new(10, 0, 16, 0);
const SERVERS_AT: Ipv4Addr = Ipv4Addr::new(198, 18, 16, 0);
/// All the servers of all slots.
pub const SERVERS: &str = "198.18.0.0/15";

/// The inside end of a conversation.
pub fn inside(slot: u32, talk: Talk) -> SocketAddrV4 {
    SocketAddrV4::new(host(slot, talk.host), port(slot, talk.port))
}

/// The server's end.
pub fn server(slot: u32, talk: Talk) -> SocketAddrV4 {
    SocketAddrV4::new(far(slot, talk.server), SERVICES[usize::from(talk.service)])
}

/// An inside host.
pub fn host(slot: u32, number: u8) -> Ipv4Addr {
    at(HOSTS_AT, slot, number)
}

/// A server.
pub fn far(slot: u32, number: u8) -> Ipv4Addr {
    at(SERVERS_AT, slot, number)
}

/// An outside port that vnet gives to nobody.
pub fn nobodys(slot: u32, talk: Talk) -> SocketAddrV4 {
    let port = END_OF_PORTS + port_offset(slot, talk.port) % (u16::MAX - END_OF_PORTS);
    SocketAddrV4::new(OUTSIDE, port)
}

/// The slot that an address belongs to.
pub fn slot(address: Ipv4Addr) -> Option<u32> {
    let of = |start: Ipv4Addr| {
        let offset = u32::from(address).checked_sub(u32::from(start))?;
        Some(offset / u32::from(HOSTS)).filter(|slot| *slot < SLOTS)
    };
    of(HOSTS_AT).or_else(|| of(SERVERS_AT))
}

/// Whether an address must not be seen outside.
pub fn is_private(address: Ipv4Addr) -> bool {
    address.octets()[0] == 10
}

fn at(start: Ipv4Addr, slot: u32, number: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(start) + slot * u32::from(HOSTS) + u32::from(number))
}

fn port(slot: u32, number: u8) -> u16 {
    FIRST_PORT + port_offset(slot, number)
}

fn port_offset(slot: u32, number: u8) -> u16 {
    u16::try_from(slot * u32::from(PORTS) + u32::from(number)).expect("slots have ports")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_its_slot() {
        for number in [0, 1, 999, SLOTS - 1] {
            for end in [host(number, 3), far(number, 0)] {
                assert_eq!(slot(end), Some(number));
            }
        }
        assert_eq!((slot(OUTSIDE), slot(Ipv4Addr::new(10, 0, 0, 2))), (None, None));
        assert_ne!(slot(host(SLOTS, 0)), Some(SLOTS));
    }
}
