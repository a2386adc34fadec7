//! Several outside addresses, several uplinks, destinations that are left alone, a full table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use crate::conformance::Level::{Must, Should};
use crate::conformance::field::{A, B, Field, S1, S2, outside, unique_id};
use crate::conformance::tcp::Connection;
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::lab::{OUTSIDE, UPLINK};
use crate::packet::{Packet, TcpFlags};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 4787 REQ-2, RFC 6888 REQ-2"),
        "rfc6888_req2_paired_pooling",
        "Of several outside addresses one inside host uses one, for all its ports and protocols.",
        paired,
    ),
    Requirement::new(
        (Should, "RFC 6888 REQ-3"),
        "rfc6888_req3_any_addresses_make_a_pool",
        "Outside addresses need not be neighbours, and all of them are used.",
        all_used,
    ),
    Requirement::new(
        (Must, "RFC 6888 REQ-6"),
        "rfc6888_req6_destinations_left_alone",
        "Translation can be turned off for given destinations.",
        excluded,
    ),
    Requirement::new(
        (Should, "RFC 6888 REQ-5"),
        "rfc6888_req5_connections_per_host_are_limited",
        "The number of connections one inside host may hold can be limited; others are not hurt.",
        flows_per_host,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_settings_change_while_flows_live",
        "A setting is changed without ending a flow.",
        changed_live,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_address_change_moves_mappings",
        "When the address of the uplink is replaced, a host's packets leave with the new one within \
         two seconds, by itself.",
        address_replaced,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_flood_spares_connections",
        "A flood of SYNs and datagrams from one host into a full table ends no open connection.",
        flood_spares,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_flood_leaves_room_for_others",
        "While such a flood fills the table another host still gets a connection: it takes the \
         place of one that nobody answered.",
        flood_leaves_room,
    ),
];

/// Two addresses that are no neighbours.
const TWO: [Ipv4Addr; 2] = [OUTSIDE, Ipv4Addr::new(198, 51, 100, 20)];

fn two_addresses() -> Wish {
    Wish::plain()
        .router(&["address add 198.51.100.20/24 dev up0"])
        .words(&["--address", "198.51.100.1", "--address", "198.51.100.20"])
        .rule(
            "oifname up0 snat to jhash ip saddr mod 2 \
             map { 0 : 198.51.100.1, 1 : 198.51.100.20 }",
        )
}

/// The outside addresses of 32 hosts behind host a's cable, by host: UDP, TCP and pings of each.
fn pooled(translator: Translator) -> Result<BTreeMap<Ipv4Addr, BTreeSet<Ipv4Addr>>, Miss> {
    let field = Field::of(translator, &two_addresses())?;
    let mut seen: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for host in (100..132).map(|n| Ipv4Addr::new(10, 0, 0, n)) {
        for port in [4000, 4001, 50_000] {
            for packet in [
                Packet::udp((host, port), S1),
                Packet::udp((host, port), S2),
                Packet::tcp((host, port), S1, TcpFlags::SYN),
                Packet::ping(host, *S2.ip(), port),
            ] {
                let packet = packet.id(unique_id());
                field.a.send(&packet);
                let left = field.outside.hear(|heard| heard.ip.id == packet.ip.id);
                let Some(left) = left else { return fails("a packet did not leave") };
                seen.entry(host).or_default().insert(left.ip.source);
            }
        }
    }
    Ok(seen)
}

fn paired(translator: Translator) -> Seen {
    let seen = pooled(translator)?;
    let torn = seen.values().filter(|addresses| addresses.len() > 1).count();
    ensure(torn == 0, format!("{torn} of 32 hosts had two addresses"))
}

fn all_used(translator: Translator) -> Seen {
    let used: BTreeSet<_> = pooled(translator)?.into_values().flatten().collect();
    ensure(used == TWO.into(), format!("used were {used:?}"))
}

fn excluded(translator: Translator) -> Seen {
    let wish = Wish::plain()
        .words(&["--exclude", "198.51.100.3/32"])
        .rule("oifname up0 ip daddr != 198.51.100.3 masquerade");
    let field = Field::of(translator, &wish)?;
    field.may_leak();
    let from = field.udp((A, 4000), S2)?;
    ensure(*from.ip() == A, format!("it left as from {from}"))?;
    ensure(field.answer(S2, (A, 4000), (A, 4000)), "the answer did not arrive")?;
    let other = field.udp((A, 4000), S1)?;
    ensure(*other.ip() == OUTSIDE, format!("another destination saw {other}"))
}

fn flows_per_host(translator: Translator) -> Seen {
    let wish = Wish::plain().words(&["--max-flows-per-host", "8"]).rules(
        "add set ip nat hosts { type ipv4_addr; size 65535; flags dynamic; }; \
         add chain ip nat pass { type filter hook forward priority 0; }; \
         add rule ip nat pass ct state new add @hosts { ip saddr ct count over 8 } drop",
    );
    let field = Field::of(translator, &wish)?;
    for port in 10_000..10_064 {
        field.a.send(&Packet::udp((A, 4000), (*S1.ip(), port)).payload(b"flow").id(unique_id()));
    }
    let heard = field.outside.all();
    let left = heard.iter().filter(|packet| packet.data() == b"flow").count();
    ensure(left == 8, format!("a host limited to 8 connections got {left}"))?;
    field.udp((B, 4000), S2)?;
    Ok(())
}

fn changed_live(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mut tcp = Connection::open(&field, (A, 4000), S1)?;
    let udp = field.udp((A, 4000), S1)?;
    match translator {
        Translator::Vnet => field.lab.attach(&["--timeout-udp", "200", "--ports", "5000-6000"]),
        Translator::Nft => {
            field.lab.router.set_sysctl("net/netfilter/nf_conntrack_udp_timeout", "200");
            let other = "flush chain ip nat out; \
                 add rule ip nat out oifname up0 meta l4proto { tcp, udp } masquerade to :5000-6000";
            field.lab.router.must("nft", &[other]);
        }
    }
    tcp.talks(&field)?;
    ensure(field.answer(S1, udp, (A, 4000)), "a UDP mapping was ended")?;
    let new = field.udp((A, 7000), S1)?;
    ensure((5000..=6000).contains(&new.port()), "the change has no effect")
}

fn address_replaced(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mapped = field.udp((A, 4000), S1)?;
    ensure(mapped == outside(4000), "the mapping has another port")?;
    // The device is never without an address, which would take its neighbours away.
    field.lab.router.set_sysctl("net/ipv4/conf/all/promote_secondaries", "1");
    field.lab.router.ip(&format!("address add 198.51.100.9/24 dev {UPLINK}"));
    field.lab.router.ip(&format!("address del {OUTSIDE}/24 dev {UPLINK}"));
    // Both learn of it in their own time; nobody tells them.
    let until = Instant::now() + Duration::from_secs(2);
    while field.udp((A, 4000), S1)? == mapped && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    for port in [4000, 4001] {
        let now = field.udp((A, port), S1)?;
        ensure(now.ip().octets()[3] == 9, format!("a packet left as from {}", now.ip()))?;
        ensure(field.answer(S1, now, (A, port)), "the answer did not arrive")?;
    }
    Ok(())
}

/// A table of 256 connections with one open connection and a flood in it.
fn flooded(translator: Translator) -> Result<(Field, Connection), Miss> {
    let wish = Wish::plain()
        .words(&["--max-flows", "256"])
        .no_nft("a network namespace has no limit of its own for conntrack");
    let field = Field::of(translator, &wish)?;
    let mut open = Connection::open(&field, (A, 4000), S1)?;
    open.talks(&field)?;
    for port in 10_000..12_000 {
        field.a.send(&Packet::tcp((A, port), S2, TcpFlags::SYN).id(unique_id()));
        field.a.send(&Packet::udp((A, port), S2).id(unique_id()));
    }
    field.outside.all();
    Ok((field, open))
}

fn flood_spares(translator: Translator) -> Seen {
    let (field, mut open) = flooded(translator)?;
    open.talks(&field)
}

fn flood_leaves_room(translator: Translator) -> Seen {
    let (field, _) = flooded(translator)?;
    let mut new = Connection::open(&field, (B, 4000), S1)?;
    new.talks(&field)
}
