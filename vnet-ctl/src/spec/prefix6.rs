//! `--nptv6 INSIDE=OUTSIDE`: which IPv6 prefix becomes which.

use std::fmt;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::Serialize;
use vnet_common::prefix6::LENGTH_MAX;

use crate::fault::Fault;

const OPTION: &str = "--nptv6";

/// A prefix of the inside and what it is outside, of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PrefixPair {
    /// What inside hosts have.
    pub inside: Ipv6Net,
    /// What others see.
    pub outside: Ipv6Net,
}

impl PrefixPair {
    /// Reads `INSIDE=OUTSIDE`. A shorter prefix is continued with zeros to the length of the other
    /// (RFC 6296 section 3.7).
    ///
    /// # Errors
    /// When these are not two prefixes that can stand for each other.
    pub fn parse(typed: &str) -> Result<Self, Fault> {
        let wrong = |hint| Fault::Word { option: OPTION, given: typed.to_owned(), hint };
        let prefixes = typed.split_once('=').and_then(|(inside, outside)| {
            Some((inside.parse::<Ipv6Net>().ok()?, outside.parse::<Ipv6Net>().ok()?))
        });
        let Some((inside, outside)) = prefixes else {
            return Err(wrong("give two IPv6 prefixes, such as fd01:203:405::/48=2001:db8:1::/48"));
        };
        for net in [inside, outside] {
            if net != net.trunc() {
                let (given, meant) = (net.to_string(), net.trunc().to_string());
                return Err(Fault::HostBits { option: OPTION, given, meant });
            }
            if !usable(net) {
                return Err(wrong(
                    "give prefixes of hosts, 1 to 64 bits long, neither multicast nor link-local",
                ));
            }
        }
        let length = inside.prefix_len().max(outside.prefix_len());
        let longer = |net: Ipv6Net| Ipv6Net::new_assert(net.addr(), length);
        let pair = Self { inside: longer(inside), outside: longer(outside) };
        if meet(pair.inside, pair.outside) { Err(wrong("the two must differ")) } else { Ok(pair) }
    }

    /// Whether an address would be in prefixes of both pairs.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        let ours = [self.inside, self.outside];
        ours.iter().any(|own| meet(*own, other.inside) || meet(*own, other.outside))
    }
}

impl fmt::Display for PrefixPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.inside, self.outside)
    }
}

fn usable(net: Ipv6Net) -> bool {
    const MULTICAST: Ipv6Addr = Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0);
    const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
    let others = [Ipv6Net::new_assert(MULTICAST, 8), Ipv6Net::new_assert(LINK_LOCAL, 10)];
    let length = u32::from(net.prefix_len());
    (1..=LENGTH_MAX).contains(&length) && others.iter().all(|other| !meet(net, *other))
}

fn meet(a: Ipv6Net, b: Ipv6Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &str) -> Option<String> {
        PrefixPair::parse(typed).ok().map(|pair| pair.to_string())
    }

    #[test]
    fn two_prefixes_get_one_length() {
        let same = "fd01:203:405::/48=2001:db8:1::/48";
        assert_eq!(read(same).as_deref(), Some(same));
        let shorter = read("fd01:203:405::/48=2001:db8:1:100::/56");
        assert_eq!(shorter.as_deref(), Some("fd01:203:405::/56=2001:db8:1:100::/56"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bad = [
            "",
            "fd00::/48",
            "fd00::/48=10.0.0.0/8",
            "fd00::1/48=2001:db8::/48",
            "fd00::/65=2001:db8::/65",
            "::/0=2001:db8::/48",
            "fe80::/64=2001:db8::/64",
            "ff00::/8=2001:db8::/48",
            "fd00::/48=fd00::/64",
        ];
        for typed in bad {
            assert_eq!(read(typed), None, "{typed}");
        }
    }

    #[test]
    fn pairs_with_an_address_in_common_clash() {
        let pair = |typed| PrefixPair::parse(typed).unwrap();
        let one = pair("fd00:1::/48=2001:db8:1::/48");
        assert!(!one.clashes(&pair("fd00:2::/48=2001:db8:2::/48")));
        assert!(one.clashes(&pair("fd00:1::/56=2001:db8:2::/56")));
        assert!(one.clashes(&pair("fd00:2::/56=2001:db8:1:100::/56")));
    }
}
