//! Which ports are handed out, how many, and what happens when there are no more.

use std::collections::BTreeSet;

use crate::conformance::Level::{May, Must, Should};
use crate::conformance::field::{A, B, Field, S1, S2, outside, unique_id};
use crate::conformance::tcp::Connection;
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure};
use crate::counters::Counters;
use crate::packet::{Body, IcmpKind, Packet};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Should, "RFC 4787 section 4.2.1"),
        "rfc4787_4_2_1_port_is_preserved",
        "The source port is kept when it is free.",
        preserved,
    ),
    Requirement::new(
        (Should, "RFC 4787 REQ-3a"),
        "rfc4787_req3a_low_ports_stay_low",
        "A source port below 1024 is mapped to one below 1024, also when its own is taken; a high \
         one to a high one.",
        low_stays_low,
    ),
    Requirement::new(
        (Should, "RFC 4787 REQ-4"),
        "rfc4787_req4_port_parity",
        "An even port is mapped to an even one and an odd one to an odd one, also when it is taken.",
        parity,
    ),
    Requirement::new(
        (Should, "RFC 6888 REQ-15, RFC 7857 section 9"),
        "rfc6888_req15_ports_are_hard_to_guess",
        "Ports given in place of taken ones do not follow each other.",
        unpredictable,
    ),
    Requirement::new(
        (Must, "RFC 4787 section 4.2.2"),
        "rfc4787_4_2_2_port_range",
        "Only ports of the range that was asked for are given out.",
        in_range,
    ),
    Requirement::new(
        (Should, "RFC 6888 REQ-13"),
        "rfc6888_req13_every_port_is_used",
        "Every port of a range of 1024 gets used before one is refused.",
        every_port,
    ),
    Requirement::new(
        (Must, "RFC 6888 REQ-11a"),
        "rfc6888_req11a_refused_when_exhausted",
        "A packet for which there is no port is dropped.",
        refused,
    ),
    Requirement::new(
        (Must, "RFC 6888 REQ-11d"),
        "rfc6888_req11d_existing_mappings_stay",
        "Refused newcomers end no mapping that exists.",
        existing_stay,
    ),
    Requirement::new(
        (Should, "RFC 5508 REQ-8"),
        "rfc5508_req8_refusal_is_told",
        "Who gets no port is told so by ICMP type 3 code 13.",
        refusal_told,
    ),
    Requirement::new(
        (Must, "RFC 1812 section 4.3.2.8"),
        "rfc1812_4_3_2_8_refusals_are_rate_limited",
        "Of a thousand refusals at once only some are told.",
        refusal_limited,
    ),
    Requirement::new(
        (Should, "RFC 6888 REQ-11c"),
        "rfc6888_req11c_refusals_are_counted",
        "Refusals are counted under a name of their own.",
        refusal_counted,
    ),
    Requirement::new(
        (Must, "RFC 6888 REQ-4"),
        "rfc6888_req4_ports_per_host_are_limited",
        "The number of ports one inside host may hold can be limited; others are not hurt.",
        limit_per_host,
    ),
    Requirement::new(
        (May, "RFC 7422"),
        "rfc7422_port_blocks",
        "Each host can be given a block of ports of its own.",
        port_blocks,
    ),
];

/// A range so small that it can be used up, for UDP and TCP.
fn four_ports() -> Wish {
    Wish::plain()
        .words(&["--ports", "4000-4003"])
        .rule("oifname up0 meta l4proto { tcp, udp } masquerade to :4000-4003")
}

fn preserved(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    for port in [1024, 4000, 40001, 65535] {
        let udp = field.udp((A, port), S1)?;
        let tcp = Connection::syn(&field, (A, port), S1)?;
        let kept = (udp, tcp) == (outside(port), outside(port));
        ensure(kept, format!("port {port} became {} and {}", udp.port(), tcp.port()))?;
    }
    Ok(())
}

fn low_stays_low(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    for host in [A, B] {
        let low = field.udp((host, 500), S1)?;
        ensure(low.port() < 1024, format!("port 500 became {}", low.port()))?;
        let high = field.udp((host, 4000), S1)?;
        ensure(high.port() >= 1024, format!("port 4000 became {}", high.port()))?;
    }
    Ok(())
}

fn parity(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mut kept = 0;
    for port in 4000..4016 {
        field.udp((B, port), S1)?;
        kept += u32::from(field.udp((A, port), S1)?.port() % 2 == port % 2);
    }
    ensure(kept == 16, "the parity of a taken port was left to chance")
}

fn unpredictable(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mut given = Vec::new();
    for port in 4000..4016 {
        field.udp((B, port), S1)?;
        given.push(field.udp((A, port), S1)?.port());
    }
    let near = given.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 2).count();
    ensure(near <= 2, format!("{near} of 15 ports were next to the one before"))
}

fn in_range(translator: Translator) -> Seen {
    let field = Field::of(translator, &four_ports())?;
    let ports = [(A, 4001), (A, 9999), (B, 4001)].map(|from| field.udp(from, S1));
    for given in ports {
        let given = given?.port();
        ensure((4000..=4003).contains(&given), format!("port {given} was given"))?;
    }
    Ok(())
}

/// Datagrams from so many ports of host a, and the ports outside that they had.
fn flood(field: &Field, from: std::ops::Range<u16>) -> BTreeSet<u16> {
    for port in from {
        field.a.send(&Packet::udp((A, port), S1).payload(b"flood").id(unique_id()));
    }
    let heard = field.outside.all();
    let floods = heard.iter().filter(|packet| packet.data() == b"flood");
    floods.map(|packet| packet.source().port()).collect()
}

fn every_port(translator: Translator) -> Seen {
    let wish = Wish::plain()
        .words(&["--ports", "30000-31023"])
        .rule("oifname up0 meta l4proto { tcp, udp } masquerade to :30000-31023");
    let field = Field::of(translator, &wish)?;
    let used = flood(&field, 10_000..11_024).len();
    ensure(used == 1024, "ports were refused while others were free")
}

/// Takes all four ports from host a.
fn exhausted(translator: Translator) -> Result<Field, Miss> {
    let field = Field::of(translator, &four_ports())?;
    for port in 7000..7004 {
        field.udp((A, port), S1)?;
    }
    Ok(field)
}

fn refused(translator: Translator) -> Seen {
    let field = exhausted(translator)?;
    let left = field.out(&Packet::udp((B, 7000), S1));
    ensure(left.is_none(), "a fifth endpoint used one of four ports")
}

fn existing_stay(translator: Translator) -> Seen {
    let field = exhausted(translator)?;
    let first = field.udp((A, 7000), S1)?;
    for port in 8000..8100 {
        field.b.send(&Packet::udp((B, port), S1).id(unique_id()));
    }
    let still = field.udp((A, 7000), S1)?;
    ensure(still == first, "the mapping moved to another port")?;
    ensure(field.answer(S1, first, (A, 7000)), "the mapping was ended")
}

fn is_refusal(packet: &Packet) -> bool {
    let about = packet.quote().is_some_and(|quote| *quote.source.ip() == B);
    about && is_prohibited(packet)
}

fn is_prohibited(packet: &Packet) -> bool {
    match &packet.body {
        Body::Icmp(icmp) => icmp.kind == IcmpKind::PROHIBITED,
        Body::Tcp(_) | Body::Udp(_) | Body::Raw(_) => false,
    }
}

fn refusal_told(translator: Translator) -> Seen {
    let field = exhausted(translator)?;
    field.b.send(&Packet::udp((B, 7000), S1).payload(b"refused"));
    ensure(field.b.hear(is_refusal).is_some(), "no ICMP error came")
}

fn refusal_limited(translator: Translator) -> Seen {
    let field = exhausted(translator)?;
    for port in 8000..9000 {
        field.b.send(&Packet::udp((B, port), S1).payload(b"refused"));
    }
    let told = field.b.all().iter().filter(|packet| is_refusal(packet)).count();
    ensure(told > 0, "none was told")?;
    ensure(told < 500, format!("{told} of 1000 were told"))
}

fn refusal_counted(translator: Translator) -> Seen {
    let field = exhausted(translator)?;
    field.out(&Packet::udp((B, 7000), S1));
    match translator {
        Translator::Vnet => {
            let counted = Counters::of(&field.lab).0.get("ports_exhausted").copied();
            ensure(counted == Some(1), "`ports_exhausted` is not 1")
        }
        // The kernel's one counter near to this is for every packet that conntrack drops.
        Translator::Nft => {
            let table = field.lab.router.must("cat", &["/proc/net/stat/nf_conntrack"]);
            let named = table.lines().next().unwrap_or_default().contains("port");
            ensure(named, "nothing tells a lack of ports from other drops")
        }
    }
}

fn limit_per_host(translator: Translator) -> Seen {
    let wish = Wish::plain()
        .words(&["--max-ports-per-host", "8"])
        // What comes nearest limits connections.
        .rules(
            "add set ip nat hosts { type ipv4_addr; size 65535; flags dynamic; }; \
             add chain ip nat pass { type filter hook forward priority 0; }; \
             add rule ip nat pass ct state new add @hosts { ip saddr ct count over 8 } drop",
        );
    let field = Field::of(translator, &wish)?;
    let used = flood(&field, 10_000..10_064).len();
    ensure(used == 8, format!("a host limited to 8 ports got {used}"))?;
    field.udp((B, 4000), S2)?;
    let known = field.udp((A, 10_000), S2);
    ensure(known.is_ok(), "a port the host has already was refused towards another server")
}

fn port_blocks(translator: Translator) -> Seen {
    let wish = Wish::plain().inside("10.0.0.0/23").words(&["--port-block", "64"]).rule(
        "oifname up0 meta l4proto udp snat ip to ip saddr map \
             { 10.0.0.2 : 198.51.100.1 . 4096-4159, 10.0.1.2 : 198.51.100.1 . 4160-4223 }",
    );
    let field = Field::of(translator, &wish)?;
    let block = |host, port| field.udp((host, port), S1).map(|given| given.port() / 64);
    let (a, b) = (block(A, 4000)?, block(B, 4000)?);
    ensure(a != b, "two hosts share a block")?;
    for port in 4001..4017 {
        let apart = block(A, port)? == a && block(B, port)? == b;
        ensure(apart, "a host's ports are in several blocks")?;
    }
    Ok(())
}
