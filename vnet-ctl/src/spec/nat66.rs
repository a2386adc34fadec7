//! `--nat66` and `--address6`: IPv6 behind one address.

use std::net::Ipv6Addr;

use crate::fault::Fault;

/// Whether IPv6 that leaves by the uplinks is masqueraded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat66 {
    /// Whether it is.
    pub on: bool,
    /// The outside addresses that were named: one of an uplink at most.
    pub addresses: Vec<Ipv6Addr>,
}

/// Reads an outside address.
///
/// # Errors
/// When it is none that others can answer to.
pub(super) fn address(typed: &str) -> Result<Ipv6Addr, Fault> {
    let wrong = |hint| Fault::Word { option: "--address6", given: typed.to_owned(), hint };
    let hint = "give an IPv6 address that an uplink has, such as 2001:db8::1";
    let address: Ipv6Addr = typed.parse().map_err(|_| wrong(hint))?;
    let odd = address.is_multicast()
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local();
    if odd { Err(wrong("others cannot answer to that one")) } else { Ok(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_that_can_be_answered_to_will_do() {
        assert_eq!(address("2001:db8::1").ok(), "2001:db8::1".parse().ok());
        for typed in ["", "10.0.0.1", "fe80::1", "ff02::1", "::", "::1", "2001:db8::/64"] {
            assert!(address(typed).is_err(), "{typed}");
        }
    }
}
