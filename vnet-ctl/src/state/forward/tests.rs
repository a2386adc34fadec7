//! A range is its prefixes, and nothing else; tables follow from the rules.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ports_of(spans: &[Span]) -> BTreeSet<u32> {
    let mut ports = BTreeSet::new();
    for span in spans {
        let first = u32::from(u16::from_be_bytes(span.place.port));
        for port in first..first + (1 << (Place::BITS - span.len)) {
            assert!(ports.insert(port), "{port} twice");
        }
    }
    ports
}

proptest! {
    #[test]
    fn a_range_is_exactly_its_prefixes(a: u16, b: u16) {
        let (min, max) = (a.min(b), a.max(b));
        let spans = spans(Place::outside(1, 6, min), u32::from(max - min) + 1);
        prop_assert!(spans.len() <= 30, "{}", spans.len());
        prop_assert_eq!(ports_of(&spans), (u32::from(min)..=u32::from(max)).collect());
    }
}

fn rule(id: u32, first: u16, last: u16, inside: u16) -> Rule {
    let forward = Forward {
        outside: 0,
        inside: [10, 0, 0, 2],
        first,
        last,
        inside_first: inside,
        reserved: 0,
        id,
    };
    let asked = [0; 4];
    Rule { forward, asked, proto: 6, state: rule_state::THERE, reserved: 0, name: [0; 32] }
        .named("web")
}

fn outsides() -> BTreeMap<u32, Outside> {
    let addr = [203, 0, 113, 7];
    BTreeMap::from([(1, Outside { addr, link: 2, ..Outside::default() })])
}

#[test]
fn a_rule_without_address_is_on_the_first_one() {
    let rules = BTreeMap::from([(1, rule(1, 80, 80, 8080))]);
    let made = Forwarding::of(rules.clone(), &outsides());
    let (_, forward) = made.entries.first_key_value().unwrap();
    assert_eq!(forward.outside, 1);
    assert_eq!(made.entries.len(), 3, "by the outside address, by the loopback's, and back");
    assert_eq!(made.reserved, [PoolPorts { pool: 3, ports: Ports { min: 80, max: 80 } }]);
    let gone = Forwarding::of(rules, &BTreeMap::new());
    assert!(gone.entries.is_empty() && gone.covered.is_empty());
}

#[test]
fn of_two_that_lead_to_one_target_the_older_is_its_way_out() {
    let rules = BTreeMap::from([(1, rule(1, 81, 81, 80)), (2, rule(2, 82, 82, 80))]);
    let made = Forwarding::of(rules, &outsides());
    let back: Vec<_> =
        made.entries.iter().filter(|((table, _), _)| *table == Table::Forwarded).collect();
    assert_eq!(back.len(), 1);
    assert_eq!(back[0].1.outward(80), 81);
}

#[test]
fn ports_are_told_apart_by_pool() {
    let one = |pool, min, max| PoolPorts { pool, ports: Ports { min, max } };
    let left = without(&[one(0, 1, 10), one(1, 5, 6)], &[one(0, 4, 5), one(1, 1, 5)]);
    assert_eq!(left, [one(0, 1, 3), one(0, 6, 10), one(1, 6, 6)]);
    assert_eq!(without(&[one(0, 65535, 65535)], &[]), [one(0, 65535, 65535)]);
}
