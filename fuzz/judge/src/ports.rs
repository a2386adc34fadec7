//! Port sets: whatever is done to them, they are what an ordinary set would be, a port is in one set
//! at most, and a look finds the first port there is.

use std::collections::BTreeSet;

use vnet_common::port::{PortPool, PortSet, WORDS, port_at, position};
use vnet_ebpf::port::{Look, Pool, Range, Set};

/// Bytes of one operation: which, and on what.
const OPERATION: usize = 3;

/// Judges operations on a pool; the first byte says what is in it at the start.
pub fn ports(input: &[u8]) {
    let Some((start, operations)) = input.split_first() else { return };
    let mut judged = Judged::starting(*start);
    for operation in operations.chunks_exact(OPERATION) {
        judged.act(operation[0], u16::from_be_bytes([operation[1], operation[2]]));
    }
    judged.compare();
}

/// A pool, and what should be in it: positions of ports, which is the order of the sets.
struct Judged {
    pool: Pool,
    free: BTreeSet<u16>,
    rested: BTreeSet<u16>,
    resting: BTreeSet<u16>,
    now: u64,
    rotated: u64,
    last: u16,
}

impl Judged {
    fn starting(start: u8) -> Self {
        let mut record = PortPool { free: PortSet::EMPTY, ..PortPool::FULL };
        let mut free = BTreeSet::new();
        // Whole words at both ends and in the middle, as many as a model can hold quickly.
        for word in [0, 1, 63, 64, 512, WORDS - 2, WORDS - 1] {
            if start & 1 != 0 {
                record.free.words[word] = u64::MAX;
                record.free.index[word / 64] |= 1 << (word % 64);
                record.free.top |= 1 << (word / 64);
                free.extend((word * 64..(word + 1) * 64).map(|place| place as u16));
            }
        }
        if start & 2 != 0 {
            // The upper levels say "may not be empty", and may say so of what is empty.
            (record.free.top, record.free.index) = (PortSet::FULL.top, PortSet::FULL.index);
        }
        let (rested, resting) = (BTreeSet::new(), BTreeSet::new());
        let pool = Pool::from(&record);
        Self { pool, free, rested, resting, now: 0, rotated: 0, last: 0 }
    }

    fn act(&mut self, operation: u8, port: u16) {
        match operation % 10 {
            0 => self.claim(port, false),
            1 => self.claim(port, true),
            2 => self.give_back(port),
            3 => self.add(port),
            4 => self.rotate_word(usize::from(port) % WORDS),
            5 => self.rotate(),
            6 => self.take_word(usize::from(port) % WORDS),
            7 => self.add_word(port),
            8 => self.wait(port),
            _ => self.claim_found(port),
        }
        self.look(port);
        parities(self.last, port);
        self.last = port;
    }

    fn claim(&mut self, port: u16, unrested: bool) {
        let place = position(port);
        let mut there = self.free.remove(&place);
        if unrested {
            there |= self.rested.remove(&place) || self.resting.remove(&place);
        }
        assert_eq!(self.pool.claim(port, unrested), there, "claim of {port}");
    }

    fn is_held(&self, place: u16) -> bool {
        ![&self.free, &self.rested, &self.resting].iter().any(|set| set.contains(&place))
    }

    /// A mapping ends. Only who holds a port can give it back.
    fn give_back(&mut self, port: u16) {
        if self.is_held(position(port)) {
            self.pool.resting.add(port);
            self.resting.insert(position(port));
        }
    }

    /// A port that was claimed and not used.
    fn add(&mut self, port: u16) {
        if self.is_held(position(port)) {
            self.pool.free.add(port);
            self.free.insert(position(port));
        }
    }

    fn rotate_word(&mut self, word: usize) {
        self.pool.rotate_word(word);
        self.free.extend(taken(&mut self.rested, word));
        self.rested.extend(taken(&mut self.resting, word));
    }

    fn rotate(&mut self) {
        (0..WORDS).for_each(|word| self.pool.rotate_word(word));
        self.free.append(&mut self.rested);
        self.rested.append(&mut self.resting);
    }

    fn take_word(&mut self, word: usize) {
        let bits =
            taken(&mut self.free, word).iter().fold(0, |bits, place| bits | 1 << (place & 63));
        assert_eq!(self.pool.free.take_word(word), bits, "word {word}");
    }

    /// All ports of a word that nobody else has.
    fn add_word(&mut self, place: u16) {
        let first = place & !63;
        let new: Vec<u16> = (first..=first | 63).filter(|place| self.is_held(*place)).collect();
        let bits = new.iter().fold(0, |bits, place| bits | 1 << (place & 63));
        if bits != 0 {
            self.pool.free.add_word(usize::from(first >> 6), bits);
            self.free.extend(new);
        }
    }

    fn wait(&mut self, seconds: u16) {
        const REST: u64 = 120;
        self.now += u64::from(seconds);
        let due = self.now - self.rotated >= REST;
        assert_eq!(self.pool.rotated_before(self.now, REST), due, "at {}", self.now);
        if due {
            self.rotated = self.now;
        }
    }

    /// What a search does: look, and claim what was found.
    fn claim_found(&mut self, from: u16) {
        if let Some(place) = first(&self.pool.free, from) {
            let port = port_at(place);
            assert_eq!(position(port), place, "positions and ports are one to one");
            assert!(self.pool.free.claim(port), "{port} was found but cannot be claimed");
            assert!(self.free.remove(&place), "{port} was found but is not there");
        }
    }

    /// A look finds the first position of each set from any on.
    fn look(&self, from: u16) {
        for (set, model) in self.sets() {
            assert_eq!(first(set, from), model.range(from..).next().copied(), "from {from}");
        }
    }

    fn sets(&self) -> [(&Set, &BTreeSet<u16>); 3] {
        let Self { pool, free, rested, resting, .. } = self;
        [(&pool.free, free), (&pool.rested, rested), (&pool.resting, resting)]
    }

    /// Every port of every set, taken out one by one.
    fn compare(&self) {
        for (set, model) in self.sets() {
            for place in model {
                let port = port_at(*place);
                assert_eq!(first(set, 0), Some(*place));
                assert!(set.claim(port), "{port} is there");
                assert!(!set.claim(port), "{port} was claimed already");
            }
            assert_eq!(first(set, 0), None, "nothing is left");
        }
    }
}

/// The positions of a range's even and odd ports are those of its first and last even and odd port.
fn parities(min: u16, max: u16) {
    for parity in [0, 1] {
        let positions = Range { min, max }.positions(parity);
        let fits = |port: &u16| port & 1 == parity;
        let ends = (min..=max).find(fits).zip((min..=max).rev().find(fits));
        match ends.map(|(first, last)| (position(first), position(last))) {
            Some(wanted) => assert_eq!((positions.min, positions.max), wanted, "{min} to {max}"),
            None => assert!(positions.min > positions.max, "{min} to {max} has no such port"),
        }
    }
}

/// What is in one word, which leaves the set.
fn taken(set: &mut BTreeSet<u16>, word: usize) -> Vec<u16> {
    let first = (word * 64) as u16;
    let places: Vec<u16> = set.range(first..=first | 63).copied().collect();
    places.iter().for_each(|place| _ = set.remove(place));
    places
}

/// The first position from `from` on, as a search looks: on from wherever a look says so.
fn first(set: &Set, mut from: u16) -> Option<u16> {
    // Each look that finds nothing puts right what the upper levels said of one word or group.
    for _ in 0..=WORDS + 16 {
        match set.look(from) {
            Look::Found(place) => return Some(place),
            Look::On(place) => {
                assert!(place > from, "a look goes on, never back");
                from = place;
            }
            Look::Empty => return None,
        }
    }
    panic!("the search from {from} has no end")
}
