//! Every program passes this kernel's verifier, with room to spare; every map describes itself.
//!
//! How many instructions the verifier walks is what grows unseen and fails one day on another
//! kernel, so each program has a budget, about half as much again as it took when it was set. The
//! numbers are printed for every kernel the tests run on.

use std::io::Write as _;

use aya::maps::{Map, MapData};
use vnet_common::event::telling;
use vnet_ctl::bpf::{Loaded, Sizes};
use vnet_ctl::spec::Level;
use vnet_tests::btf;

/// A program, and how many instructions the verifier may walk in it: with the log off, and with
/// all of it. Linux 6.1 walks twice as many as 6.18, and takes a million.
const BUDGETS: [(&str, u32, u32); 12] = [
    ("vnet_in", 320_000, 340_000),
    ("vnet_out", 350_000, 370_000),
    ("vnet_xdp", 40_000, 50_000),
    ("vnet_clock", 4_500, 6_000),
    ("vnet_ports", 10_000, 10_000),
    ("vnet_connect4", 1_000, 1_000),
    ("vnet_connect6", 1_000, 1_000),
    ("vnet_send4", 1_000, 1_000),
    ("vnet_receive4", 1_000, 1_000),
    ("vnet_receive6", 1_000, 1_000),
    ("vnet_peer4", 1_000, 1_000),
    ("vnet_peer6", 1_000, 1_000),
];

/// Every map with records of ours, and a field that must be found by name in its values. The queues
/// `tickets`, `embryonic` and `spare6` are missing, and the map of devices `exits`: the kernel takes no type
/// information for those.
const MAPS: [(&str, &str); 35] = [
    ("config", "port_min"),
    ("links", "addr"),
    ("outsides", "addr"),
    ("desk", "packet"),
    ("fragments", "since"),
    ("strays", "since"),
    ("serial", "id"),
    ("peers", "flows"),
    ("answers", "until"),
    ("syns", "since"),
    ("sources", "action"),
    ("exclusions", "action"),
    ("hosts", "flows"),
    ("prefixes6", "adjustment"),
    ("uplinks6", "handle"),
    ("own6", "link"),
    ("addresses6", "generation"),
    ("handles6", "handle"),
    ("fresh6", "used"),
    ("fragments6", "since"),
    ("strays6", "since"),
    ("forwards", "inside_first"),
    ("forwarded", "inside_first"),
    ("rules", "state"),
    ("home", "netns"),
    ("asked", "port"),
    ("flows4", "last_seen"),
    ("hops", "device"),
    ("paths", "last_seen"),
    ("mappings", "port"),
    ("owners", "uses"),
    ("pools", "rotated"),
    ("counters", "packets"),
    ("sysctls", "before"),
    ("clock", "timer"),
];

fn load(level: Level) -> Loaded {
    let telling = if level == Level::Trace { telling::BLOCKS } else { telling::NOTHING };
    let sizes = Sizes { max_flows: 1024, addresses: 4, log_level: level as u32, telling };
    Loaded::load(sizes, None).unwrap_or_else(|e| panic!("cannot load the object: {e}"))
}

fn within_budget(level: Level, suffix: &str, budget: impl Fn(&(&str, u32, u32)) -> u32) {
    let mut loaded = load(level);
    loaded.load_programs().unwrap_or_else(|e| panic!("{e}"));
    let mut over = Vec::new();
    for row in &BUDGETS {
        let (name, budget) = (row.0, budget(row));
        let program = loaded.ebpf().program(name);
        let info = program.unwrap_or_else(|| panic!("the object has no {name}")).info();
        let walked =
            info.expect("a loaded program tells about itself").verified_instruction_count();
        let walked = walked.expect("this kernel tells what the verifier walked (Linux 5.16)");
        let line = format!("VERIFIED {name}{suffix} {walked} budget {budget}");
        // Written to the stream itself: what the print macros write is hidden when a test passes.
        let _ = writeln!(std::io::stderr(), "{line}");
        if walked > budget {
            over.push(line);
        }
    }
    assert!(over.is_empty(), "over budget: {over:?}");
}

#[test]
fn every_program_loads_within_its_budget() {
    within_budget(Level::Off, "", |row| row.1);
}

#[test]
fn every_program_loads_within_its_budget_with_all_of_the_log() {
    within_budget(Level::Trace, "+log", |row| row.2);
}

#[test]
fn the_log_costs_nothing_while_it_is_off() {
    let size = |level| {
        let mut loaded = load(level);
        loaded.load_programs().unwrap_or_else(|e| panic!("{e}"));
        let info = loaded.program("vnet_in").unwrap_or_else(|e| panic!("{e}")).info();
        let info = info.expect("a loaded program tells about itself");
        info.verified_instruction_count().expect("this kernel tells what the verifier walked")
    };
    let (off, all) = (size(Level::Off), size(Level::Trace));
    assert!(off < all, "{off} instructions with the log off, {all} with all of it");
}

#[test]
fn every_map_describes_its_records() {
    let mut loaded = load(Level::Off);
    let ebpf = loaded.ebpf();
    let names: Vec<_> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
    for (name, map) in ebpf.maps() {
        let Some((_, wanted)) = MAPS.iter().find(|(known, _)| *known == name) else {
            // The log's own, and constants of the program: bytes that nobody dumps.
            let without = ["AYA_LOGS", "events", "exits", "tickets", "embryonic", "spare6"]
                .contains(&name)
                || name.starts_with('.');
            assert!(without, "{name} is not in the list");
            continue;
        };
        let (_, value) = btf::records(data(map)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let value = value.unwrap_or_else(|| panic!("{name} has no type information"));
        let found = value.fields.iter().any(|field| field.name == *wanted);
        assert!(found, "values of {name} have no field {wanted}: {value:?}");
    }
    for (name, _) in MAPS {
        assert!(names.iter().any(|known| known == name), "the object has no map {name}: {names:?}");
    }
}

/// The map itself, of whichever kind.
fn data(map: &Map) -> &MapData {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::Queue(data)
        | Map::Unsupported(data) => data,
        other => panic!("vnet has no map of this kind: {other:?}"),
    }
}
