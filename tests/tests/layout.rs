//! Both sides of the kernel line read the same records: what the kernel says about the maps it has
//! loaded is, field by field, what Rust says about the records of vnet-common.

use std::mem::{offset_of, size_of};

use aya::maps::{Map, MapData};
use vnet_common::account::Counter;
use vnet_common::answer::{Budget, Unsolicited};
use vnet_common::call::{Asked, Home, Led};
use vnet_common::expire::Ticket;
use vnet_common::flow::{Flow, FlowKey};
use vnet_common::fragment::{Datagram, FragmentKey, Serial};
use vnet_common::host::Host;
use vnet_common::nat66::{Address6, Datagram6, FragmentKey6, Fresh6, Own6, Standing, Uplink6};
use vnet_common::path::{Path, PathKey};
use vnet_common::policy::{Config, Link, Outside, Prefix, Source, Sysctl, SysctlName};
use vnet_common::port::{PortPool, PortSet};
use vnet_common::prefix6::Prefix6;
use vnet_common::shortcut::{Hop, Way};
use vnet_common::translate::{Endpoint, Mapping, Owner, Peer, PeerFlows};
use vnet_ctl::bpf::{Loaded, Sizes};
use vnet_tests::btf::{self, Field, Record};

fn field_size<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// What Rust says about a record. A field that is not listed does not compile.
macro_rules! record {
    ($record:ident { $($field:ident),+ $(,)? }) => {{
        let _all_of_them = |record: &$record| {
            let $record { $($field: _),+ } = record;
        };
        let fields = vec![$(Field {
            name: stringify!($field).to_owned(),
            offset: offset_of!($record, $field),
            size: field_size(|record: &$record| &record.$field),
            fields: Vec::new(),
        }),+];
        Record { name: stringify!($record).to_owned(), size: size_of::<$record>(), fields }
    }};
}

/// A map, and the records it must have as keys and as values.
type Row = (&'static str, Option<Record>, Record);

fn config() -> Row {
    let value = record!(Config {
        version,
        epoch,
        netns,
        port_min,
        port_max,
        low_min,
        low_max,
        flags,
        tcp_established,
        tcp_transitory,
        udp,
        icmp,
        port_rest,
        max_flows,
        log_level,
        filtering,
        port_block,
        host_mappings,
        host_flows,
        addresses,
        fragments,
        sorter,
        reserved,
        xdp,
        build
    });
    ("config", None, value)
}

fn links() -> Row {
    let value = record!(Link {
        roles,
        header,
        addr,
        outside,
        outsides,
        flags,
        name,
        filter_priority,
        filter_in,
        filter_out,
        mac,
        xdp,
        reserved
    });
    ("links", None, value)
}

fn flows() -> Row {
    let key = record!(FlowKey { saddr, daddr, sport, dport, proto, reserved });
    let mut value = record!(Flow {
        saddr,
        daddr,
        sport,
        dport,
        direction,
        state,
        flags,
        outside,
        packets,
        bytes,
        last_seen,
        seq_end,
        ack,
        way,
        first_seen,
        epoch,
        ticket,
        link
    });
    let way = record!(Way { hop, size, learnt, epoch });
    for field in value.fields.iter_mut().filter(|field| field.name == "way") {
        field.fields.clone_from(&way.fields);
    }
    ("flows4", Some(key), value)
}

fn paths() -> Row {
    let key = record!(PathKey { saddr, daddr, sport, dport, proto, reserved });
    let mut value = record!(Path {
        way,
        last_seen,
        packets,
        bytes,
        addr,
        flow,
        label,
        first_seen,
        port,
        written,
        flags,
        check
    });
    let way = record!(Way { hop, size, learnt, epoch });
    let flow = record!(FlowKey { saddr, daddr, sport, dport, proto, reserved });
    for field in &mut value.fields {
        match field.name.as_str() {
            "way" => field.fields.clone_from(&way.fields),
            "flow" => field.fields.clone_from(&flow.fields),
            _ => {}
        }
    }
    ("paths", Some(key), value)
}

fn hops() -> Row {
    let value = record!(Hop {
        device,
        from,
        mark,
        priority,
        dmac,
        smac,
        header,
        came,
        class,
        reserved,
        to,
        spare,
        noted
    });
    ("hops", None, value)
}

fn pools() -> Row {
    let mut pool = record!(PortPool { free, rested, resting, reserved, rotated });
    let set = record!(PortSet { top, index, words });
    for field in pool.fields.iter_mut().filter(|field| field.size == set.size) {
        field.fields.clone_from(&set.fields);
    }
    ("pools", None, pool)
}

fn datagram() -> Record {
    record!(Datagram {
        saddr,
        daddr,
        sport,
        dport,
        id,
        end,
        since,
        link,
        direction,
        reason,
        ttl,
        reserved,
        arrived,
        stations
    })
}

fn datagram6() -> Record {
    let mut datagram = record!(Datagram6 {
        addr,
        key,
        id,
        end,
        since,
        link,
        direction,
        reason,
        hops,
        reserved,
        label,
        arrived,
        stations
    });
    let (_, flow, _) = flows();
    datagram.fields[1].fields = flow.expect("flows have a key").fields;
    datagram
}

fn six() -> [Row; 7] {
    let key = || Some(record!(FragmentKey6 { saddr, daddr, id }));
    [
        ("uplinks6", None, record!(Uplink6 { addr, handle, outside, asked })),
        ("own6", None, record!(Own6 { link })),
        ("addresses6", None, record!(Address6 { addr, uses, generation })),
        ("handles6", None, record!(Standing { handle })),
        ("fresh6", None, record!(Fresh6 { used })),
        ("fragments6", key(), datagram6()),
        ("strays6", key(), datagram6()),
    ]
}

fn rows() -> [Row; 23] {
    let fragment = || Some(record!(FragmentKey { saddr, daddr, id, proto, reserved }));
    let endpoint = record!(Endpoint { addr, port, proto, outside });
    [
        config(),
        links(),
        flows(),
        hops(),
        paths(),
        pools(),
        ("mappings", Some(endpoint), record!(Mapping { addr, port, reserved, created })),
        ("owners", None, record!(Owner { uses, addr, port, flags })),
        ("counters", None, record!(Counter { packets, bytes })),
        ("sysctls", Some(record!(SysctlName { name })), record!(Sysctl { before, set })),
        ("sources", None, record!(Source { action, number })),
        ("exclusions", None, record!(Source { action, number })),
        ("hosts", None, record!(Host { mappings, flows, told, min, max })),
        ("prefixes6", None, record!(Prefix6 { prefix, length, side, adjustment })),
        ("peers", Some(record!(Peer { addr, port, proto, outside })), record!(PeerFlows { flows })),
        ("outsides", None, record!(Outside { addr, link, asked, checked })),
        ("answers", None, record!(Budget { until })),
        ("syns", flows().1, record!(Unsolicited { since, sequence, reserved })),
        ("fragments", fragment(), datagram()),
        ("strays", fragment(), datagram()),
        ("serial", None, record!(Serial { id })),
        ("home", None, record!(Home { netns, shown })),
        (
            "asked",
            Some(record!(Led { socket, addr, port, reserved })),
            record!(Asked { addr, port, reserved }),
        ),
    ]
}

fn load() -> Loaded {
    let sizes = Sizes { max_flows: 16, addresses: 1, log_level: 0, telling: 0 };
    Loaded::load(sizes, None).unwrap_or_else(|e| panic!("cannot load the object: {e}"))
}

/// The map of that name.
fn map<'a>(loaded: &'a mut Loaded, name: &str) -> &'a MapData {
    match loaded.ebpf().map(name) {
        Some(
            Map::Array(data)
            | Map::HashMap(data)
            | Map::LpmTrie(data)
            | Map::LruHashMap(data)
            | Map::PerCpuArray(data),
        ) => data,
        other => panic!("the map {name} is {other:?}"),
    }
}

#[test]
fn the_kernel_and_rust_agree_on_every_record() {
    let mut loaded = load();
    for (name, key, value) in rows().into_iter().chain(six()) {
        let found = btf::records(map(&mut loaded, name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found.1, Some(value), "values of {name}");
        if key.is_some() {
            assert_eq!(found.0, key, "keys of {name}");
        } else if !["sources", "exclusions", "prefixes6", "handles6", "own6"].contains(&name) {
            let size = found.0.map(|key| (key.size, key.fields.len()));
            assert_eq!(size, Some((4, 0)), "keys of {name} are plain numbers");
        }
    }
}

#[test]
fn a_ticket_is_the_same_on_both_sides() {
    let mut loaded = load();
    let found = btf::named(map(&mut loaded, "config"), "Ticket").expect("the object has types");
    let mut ticket = record!(Ticket { key, number, since });
    let (_, key, _) = flows();
    ticket.fields[0].fields = key.expect("flows have a key").fields;
    assert_eq!(found, Some(ticket));
}

#[test]
fn a_prefix_is_what_the_kernels_trie_wants() {
    let mut loaded = load();
    let (key, _) = btf::records(map(&mut loaded, "sources")).expect("the map has types");
    let key = key.expect("a trie's keys are described");
    let prefix = record!(Prefix { len, addr });
    let places = |record: &Record| -> Vec<_> {
        record.fields.iter().map(|field| (field.offset, field.size)).collect()
    };
    assert_eq!((key.size, places(&key)), (prefix.size, places(&prefix)));
}
