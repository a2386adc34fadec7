//! Sets of ports: exhaustive, exact, and never the same port to two.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use proptest::prelude::*;
use vnet_common::port::{PortPool, PortSet, WORDS, port_at, position};
use vnet_ebpf::port::{Look, Pool, Range, Set};

/// A port of the set within `range`, found as the programs find one: of the parity of `start`, else
/// of the other; from `start` on, else from the start of the range, and on from wherever a look says
/// so.
fn find(set: &Set, range: Range, start: u16) -> Option<u16> {
    let found = [start & 1, (start & 1) ^ 1].into_iter().find_map(|parity| {
        let half = range.positions(parity);
        let from = if half.contains(position(start)) { position(start) } else { half.min };
        first(set, from, half.max).or_else(|| first(set, half.min, half.max))
    });
    found.map(port_at)
}

fn first(set: &Set, mut from: u16, max: u16) -> Option<u16> {
    loop {
        match set.look(from) {
            Look::Found(place) => return (place <= max).then_some(place),
            Look::On(place) => from = place,
            Look::Empty => return None,
        }
    }
}

/// Every port of the set, found and claimed one by one.
fn drain(set: &Set, range: Range, start: u16) -> Vec<u16> {
    let mut found = Vec::new();
    while let Some(port) = find(set, range, start) {
        assert!(set.claim(port), "port {port} was found but cannot be claimed");
        found.push(port);
    }
    found
}

#[test]
fn every_port_of_the_range_is_found_once_and_no_other() {
    for range in [
        Range { min: 1024, max: 65535 },
        Range { min: 0, max: 65535 },
        Range { min: 5000, max: 5000 },
        Range { min: 63, max: 64 },
        Range { min: 4095, max: 4097 },
    ] {
        let found = drain(&Set::from(&PortSet::FULL), range, 40_000);
        let expected: HashSet<u16> = (range.min..=range.max).collect();
        assert_eq!(found.len(), expected.len(), "{range:?}");
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected, "{range:?}");
    }
}

#[test]
fn parity_is_kept_while_there_are_ports_of_it() {
    let set = &Set::from(&PortSet::FULL);
    let found = drain(set, Range { min: 5000, max: 5009 }, 7);
    assert_eq!(found, [5001, 5003, 5005, 5007, 5009, 5000, 5002, 5004, 5006, 5008]);
}

#[test]
fn the_last_free_port_is_found_from_anywhere() {
    let range = Range { min: 1024, max: 65535 };
    for last in [1024, 1087, 1088, 30_000, 65_471, 65_535] {
        let set = &Set::from(&PortSet::EMPTY);
        set.add(last);
        for start in [0, 1024, 1087, 30_000, 30_001, 65_535] {
            assert_eq!(find(set, range, start), Some(last), "start {start}");
        }
    }
}

#[test]
fn a_port_comes_back_only_after_it_has_rested() {
    let pool = &Pool::from(&PortPool::FULL);
    assert!(pool.claim(7000, false));
    assert!(!pool.claim(7000, true), "held by somebody");
    pool.resting.add(7000);
    let rotate = || (0..WORDS).for_each(|word| pool.rotate_word(word));
    assert!(!pool.claim(7000, false), "resting");
    rotate();
    assert!(!pool.claim(7000, false), "still resting: it may have been given back a moment ago");
    rotate();
    assert!(pool.claim(7000, false), "rested");
    pool.resting.add(7000);
    assert!(pool.claim(7000, true), "the host that had it need not wait");
}

#[test]
fn claims_under_contention_are_exclusive_and_lose_nothing() {
    let set = &Set::from(&PortSet::FULL);
    let owners: Vec<AtomicU32> = (0..=65535).map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        for thread in 0..4u32 {
            let owners = &owners;
            scope.spawn(move || {
                let mut seed = 0x9e37_79b9u32.wrapping_mul(thread + 1);
                for _ in 0..50_000 {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // A narrow range keeps the threads on the same words.
                    let range = Range { min: 100, max: 400 };
                    let Some(port) = find(set, range, (seed >> 16) as u16) else { continue };
                    if set.claim(port) {
                        let before = owners[usize::from(port)].fetch_add(1, Ordering::SeqCst);
                        assert_eq!(before, 0, "port {port} was given out twice");
                        owners[usize::from(port)].fetch_sub(1, Ordering::SeqCst);
                        set.add(port);
                    }
                }
            });
        }
    });
    assert_eq!(drain(set, Range { min: 0, max: 65535 }, 0).len(), 65536);
}

#[test]
fn a_free_port_is_not_hidden_by_those_that_come_and_go() {
    let set = &Set::from(&PortSet::EMPTY);
    set.add(40_000);
    let stop = AtomicU32::new(0);
    let range = Range { min: 1024, max: 65535 };
    thread::scope(|scope| {
        for port in [30_000, 50_000] {
            let stop = &stop;
            scope.spawn(move || {
                while stop.load(Ordering::Relaxed) == 0 {
                    set.add(port);
                    set.claim(port);
                }
            });
        }
        let hidden = (0..1_000_000).filter(|_| find(set, range, 29_000).is_none()).count();
        stop.store(1, Ordering::Relaxed);
        assert_eq!(hidden, 0, "port 40000 was free all the time");
    });
    assert_eq!(drain(set, range, 1024), [40_000]);
}

proptest! {
    #[test]
    fn it_behaves_as_a_plain_set(
        actions in prop::collection::vec((any::<bool>(), any::<u16>()), 1..200),
        min: u16, max: u16, start: u16,
    ) {
        let set = &Set::from(&PortSet::EMPTY);
        let mut model = HashSet::new();
        for (add, port) in actions {
            if add {
                set.add(port);
                model.insert(port);
            } else {
                prop_assert_eq!(set.claim(port), model.remove(&port));
            }
        }
        let range = Range { min: min.min(max), max: min.max(max) };
        let from = if range.contains(start) { start } else { 0 };
        let first = |parity: u16, low: u16| {
            let fits = |p: &u16| *p >= low && range.contains(*p) && p & 1 == parity;
            model.iter().copied().filter(fits).min()
        };
        let of = |parity| first(parity, from).or_else(|| first(parity, 0));
        let (same, other) = (start & 1, (start & 1) ^ 1);
        prop_assert_eq!(find(set, range, start), of(same).or_else(|| first(other, 0)));
    }
}
