//! Prefix translation of IPv6: the values of RFC 6296, and for any address that the sum stays and
//! the way back is found.

use proptest::prelude::*;
use std::net::Ipv6Addr;
use vnet_common::prefix6::Prefix6;
use vnet_ebpf::{packet6::Words, prefix6::translate};

fn words(addr: Ipv6Addr) -> Words {
    let bytes = addr.octets();
    [0, 4, 8, 12].map(|at| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes")))
}

fn address(words: Words) -> Ipv6Addr {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ipv6Addr::from(<[u8; 16]>::try_from(bytes).expect("sixteen bytes"))
}

fn pair(inside: &str, outside: &str, length: u32) -> (Prefix6, Prefix6) {
    let octets = |typed: &str| typed.parse::<Ipv6Addr>().expect("an address").octets();
    Prefix6::pair(octets(inside), octets(outside), length)
}

fn there(addr: &str, to: &Prefix6) -> Option<String> {
    let addr = addr.parse().expect("an address");
    translate(&words(addr), to).map(|addr| address(addr).to_string())
}

/// The sum of all words (RFC 1071), of which 0 and 0xffff are one.
fn sum(addr: Ipv6Addr) -> u32 {
    addr.segments().iter().map(|word| u32::from(*word)).sum::<u32>() % 0xffff
}

#[test]
fn the_example_of_the_rfc_there_and_back() {
    // RFC 6296 section 3.6.
    let (out, back) = pair("fd01:203:405::", "2001:db8:1::", 48);
    let (inside, outside) = ("fd01:203:405:1::1234", "2001:db8:1:d550::1234");
    assert_eq!(there(inside, &out).as_deref(), Some(outside));
    assert_eq!(there(outside, &back).as_deref(), Some(inside));
}

#[test]
fn a_subnet_of_all_ones_has_no_way_back() {
    let (out, back) = pair("fd01:203:405::", "2001:db8:1::", 48);
    assert_eq!(there("fd01:203:405:ffff::1", &out), None);
    assert_eq!(there("2001:db8:1:ffff::1", &back), None);
    // What would become 0xffff becomes 0: the adjustment is 0xd54f, and 0x2ab0 its complement.
    assert_eq!(there("fd01:203:405:2ab0::1", &out).as_deref(), Some("2001:db8:1::1"));
    assert_eq!(there("2001:db8:1::1", &back).as_deref(), Some("fd01:203:405:2ab0::1"));
}

#[test]
fn behind_a_long_prefix_the_first_word_that_can_makes_up_for_it() {
    let (out, _) = pair("fd01:203:405:1::", "2001:db8:1:2::", 64);
    // 0xd54f less one, for the last word of the prefix grew by one.
    assert_eq!(there("fd01:203:405:1::1", &out).as_deref(), Some("2001:db8:1:2:d54e::1"));
    let second = there("fd01:203:405:1:ffff::1", &out);
    assert_eq!(second.as_deref(), Some("2001:db8:1:2:ffff:d54e:0:1"));
    assert_eq!(there("fd01:203:405:1:ffff:ffff:ffff:ffff", &out), None);
}

#[test]
fn a_short_prefix_leaves_what_follows_it() {
    let (out, back) = pair("fd00::", "2001:db8::", 32);
    let outside = there("fd00:0:abcd:1::1", &out).expect("it can be translated");
    assert!(outside.starts_with("2001:db8:abcd:"), "{outside}");
    assert_eq!(there(&outside, &back).as_deref(), Some("fd00:0:abcd:1::1"));
}

proptest! {
    #[test]
    fn the_sum_stays_and_the_way_back_is_found(
        inside: [u8; 16], outside: [u8; 16], host: [u8; 16], length in 1u32..=64,
        ones in 0usize..4,
    ) {
        let mask = u128::MAX << (128 - length);
        let net = |bytes| (u128::from_be_bytes(bytes) & mask).to_be_bytes();
        let (out, back) = Prefix6::pair(net(inside), net(outside), length);
        let mut host = host;
        host[8..8 + ones * 2].fill(0xff);
        let bits = u128::from_be_bytes(net(inside)) | u128::from_be_bytes(host) & !mask;
        let addr = Ipv6Addr::from_bits(bits);
        if let Some(gone) = translate(&words(addr), &out) {
            let gone = address(gone);
            prop_assert_eq!(sum(gone), sum(addr));
            prop_assert_eq!(gone.to_bits() & mask, u128::from_be_bytes(net(outside)));
            let returned = translate(&words(gone), &back).map(address);
            prop_assert_eq!(returned, Some(addr));
        } else if length <= 48 {
            prop_assert_eq!(addr.segments()[3], 0xffff);
        } else {
            prop_assert_eq!(addr.to_bits() as u64, u64::MAX);
        }
    }
}
