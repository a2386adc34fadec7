//! IPv6: left alone, translated like IPv4 (NAT66), or by prefix alone (NPTv6).

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use crate::conformance::Level::{Must, Should};
use crate::conformance::field::{Field, Station};
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::lab::ETH;
use crate::packet6::{ETHER_TYPE, Packet6};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "vnet"),
        "nat_ipv6_is_left_alone",
        "Without an IPv6 option routed IPv6 passes both ways, its addresses untouched.",
        left_alone,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-1"),
        "nat66_endpoint_independent_mapping",
        "NAT66: one inside address and port has one outside address and port, also when another \
         host has that port; answers find back.",
        nat66,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-12b"),
        "nat66_errors_and_extension_headers",
        "NAT66: pings, ICMPv6 errors with what they quote, and packets with extension headers are \
         translated.",
        nat66_errors,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-14"),
        "nat66_fragments",
        "NAT66: datagrams in fragments pass, in order and out of order.",
        nat66_fragments,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-9"),
        "nat66_hairpin_external_source",
        "NAT66: an inside host reaches another by the uplink's address, which sees the other's \
         outside address and port.",
        nat66_hairpin,
    ),
    Requirement::new(
        (Must, "RFC 6296 section 3.1"),
        "rfc6296_3_1_checksum_neutral",
        "NPTv6: the prefix is translated and a word of the address balances the checksum, so that \
         transport headers stay as they are (the example of the RFC).",
        nptv6_out,
    ),
    Requirement::new(
        (Must, "RFC 6296 section 3.2"),
        "rfc6296_3_2_both_directions_without_state",
        "NPTv6: a packet from outside reaches its host though that has never spoken.",
        nptv6_in,
    ),
    Requirement::new(
        (Must, "RFC 6296 section 3"),
        "rfc6296_3_errors",
        "NPTv6: ICMPv6 errors are translated with what they quote.",
        nptv6_errors,
    ),
    Requirement::new(
        (Should, "RFC 6296 section 5.1"),
        "rfc6296_5_1_hairpin",
        "NPTv6: two hosts inside reach each other by outside addresses.",
        nptv6_hairpin,
    ),
];

const A6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0x203, 0x405, 1, 0, 0, 0, 0x1234);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0x203, 0x405, 2, 0, 0, 0, 0x1234);
/// As RFC 6296 translates these two with the prefixes below.
const A6_OUT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0xd550, 0, 0, 0, 0x1234);
const B6_OUT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0xd551, 0, 0, 0, 0x1234);
/// As a prefix that is replaced and nothing else makes it.
const A6_PLAIN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, 0x1234);
const B6_PLAIN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, 0x1234);
const S6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
const T6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 3);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// Addresses of the router; the neighbours follow when their hardware addresses are known.
const ROUTER: &[&str] = &[
    "-6 address add fd01:203:405:1::1/64 dev in0 nodad",
    "-6 address add fd01:203:405:2::1/64 dev in1 nodad",
    "-6 address add 2001:db8:ffff::1/64 dev up0 nodad",
];

fn field(translator: Translator, wish: Wish) -> Result<Field, Miss> {
    let field = Field::of(translator, &wish.router(ROUTER))?;
    field.lab.router.set_sysctl("net/ipv6/conf/all/forwarding", "1");
    let neighbour = |address, mac, device: &str| {
        let line =
            format!("-6 neighbour replace {address} lladdr {mac} dev {device} nud permanent");
        field.lab.router.ip(&line);
    };
    neighbour(A6, field.lab.clients[0].port.mac, "in0");
    neighbour(B6, field.lab.clients[1].port.mac, "in1");
    neighbour(S6, field.lab.server_port.mac, "up0");
    neighbour(T6, field.lab.server_port.mac, "up0");
    assert_eq!(field.lab.server_port.device, ETH, "the servers are behind one device");
    Ok(field)
}

/// Sends a packet and hears the next of its kind arrive elsewhere.
fn carry(from: &Station, to: &Station, packet: &Packet6) -> Option<Packet6> {
    from.send_raw(ETHER_TYPE, &packet.bytes());
    let end = packet.body[8.min(packet.body.len())..].to_vec();
    to.hear_frame(Instant::now() + Duration::from_secs(1), |frame| {
        let heard = Packet6::read_frame(frame)?;
        let quoted = heard.quote().is_some() && packet.quote().is_some();
        let same = heard.protocol == packet.protocol && (quoted || heard.body.ends_with(&end));
        same.then_some(heard)
    })
}

fn out(field: &Field, packet: &Packet6) -> Result<Packet6, Miss> {
    let from = if packet.source == B6 { &field.b } else { &field.a };
    let Some(seen) = carry(from, &field.outside, packet) else { return fails("it did not leave") };
    ensure(seen.is_right(), "it left with a wrong checksum")?;
    Ok(seen)
}

fn back(field: &Field, packet: &Packet6) -> Result<Packet6, Miss> {
    let heard = carry(&field.outside, &field.a, packet);
    let Some(heard) = heard else { return fails("the answer did not arrive") };
    ensure(heard.is_right(), "it came in with a wrong checksum")?;
    Ok(heard)
}

fn left_alone(translator: Translator) -> Seen {
    let field = field(translator, Wish::plain())?;
    let seen = out(&field, &Packet6::udp((A6, 4000), (S6, 5000), b"question"))?;
    ensure(seen.source == A6, format!("it left as from {}", seen.source))?;
    let heard = back(&field, &Packet6::udp((S6, 5000), (A6, 4000), b"answer"))?;
    ensure(heard.destination == A6, format!("it came to {}", heard.destination))
}

fn masquerade() -> Wish {
    Wish::plain().words(&["--nat66"]).rules(
        "add table ip6 nat; \
         add chain ip6 nat out { type nat hook postrouting priority srcnat; }; \
         add rule ip6 nat out oifname up0 masquerade",
    )
}

fn nat66(translator: Translator) -> Seen {
    let field = field(translator, masquerade())?;
    let ask = |from, to| out(&field, &Packet6::udp((from, 4000), (to, 5000), b"question"));
    ask(B6, T6)?;
    let (first, second) = (ask(A6, S6)?, ask(A6, T6)?);
    ensure(first.source == ROUTER6, format!("it left as from {}", first.source))?;
    let port = first.ports().0;
    ensure(port == second.ports().0, "2 outside ports for one endpoint")?;
    let heard = back(&field, &Packet6::udp((S6, 5000), (ROUTER6, port), b"answer"))?;
    let right = (heard.destination, heard.ports().1) == (A6, 4000);
    ensure(right, "the answer went elsewhere")
}

fn nat66_errors(translator: Translator) -> Seen {
    let field = field(translator, masquerade())?;
    let ping = out(&field, &Packet6::ping(A6, S6, 128, 7))?;
    let id = ping.ping_id();
    back(&field, &Packet6::ping(S6, ROUTER6, 129, id))?;
    let sent = Packet6::udp((A6, 4000), (S6, 5000), b"question");
    let seen = out(&field, &sent)?;
    let heard = back(&field, &Packet6::error(T6, ROUTER6, (1, 4), &seen))?;
    let quoted = heard.quote().map(|quote| (quote.source, quote.ports().0));
    ensure(quoted == Some((A6, 4000)), "the quote was not translated")?;
    let extended = Packet6::udp((A6, 4001), (S6, 5000), b"extended").extended();
    let seen = out(&field, &extended)?;
    ensure(seen.source == ROUTER6, "a packet with an extension header was not translated")
}

fn nat66_fragments(translator: Translator) -> Seen {
    let field = field(translator, masquerade())?;
    let whole = Packet6::udp((A6, 4000), (S6, 5000), &[7; 100]);
    for (id, order) in [(1, [0, 1]), (2, [1, 0])] {
        let pieces = whole.halves(id);
        order.iter().for_each(|&n| field.a.send_raw(ETHER_TYPE, &pieces[n]));
        let until = Instant::now() + Duration::from_secs(1);
        let mut sources = Vec::new();
        let read = |frame: &[u8]| Packet6::read_frame(frame).filter(|seen| seen.destination == S6);
        while let Some(seen) = field.outside.hear_frame(until, read) {
            sources.push(seen.source);
            if sources.len() == 2 {
                break;
            }
        }
        ensure(sources == [ROUTER6, ROUTER6], format!("{} of 2 fragments left", sources.len()))?;
    }
    Ok(())
}

fn nat66_hairpin(translator: Translator) -> Seen {
    let field = field(translator, masquerade())?;
    let ask = |from| out(&field, &Packet6::udp((from, 4000), (S6, 5000), b"question"));
    let (a, b) = (ask(A6)?.ports().0, ask(B6)?.ports().0);
    let sent = Packet6::udp((A6, 4000), (ROUTER6, b), b"neighbour");
    let Some(heard) = carry(&field.a, &field.b, &sent) else { return fails("it did not arrive") };
    ensure(heard.is_right(), "it arrived with a wrong checksum")?;
    let right = (heard.source, heard.ports().0, heard.destination) == (ROUTER6, a, B6);
    ensure(right, format!("it came from {} port {}", heard.source, heard.ports().0))
}

fn by_prefix() -> Wish {
    Wish::plain().words(&["--nptv6", "fd01:203:405::/48=2001:db8:1::/48"]).rules(
        "add table ip6 nat; \
             add chain ip6 nat out { type nat hook postrouting priority srcnat; }; \
             add chain ip6 nat in { type nat hook prerouting priority dstnat; }; \
             add rule ip6 nat out oifname up0 \
                snat ip6 prefix to ip6 saddr map { fd01:203:405::/48 : 2001:db8:1::/48 }; \
             add rule ip6 nat in iifname up0 \
                dnat ip6 prefix to ip6 daddr map { 2001:db8:1::/48 : fd01:203:405::/48 }",
    )
}

/// The outside addresses of both hosts.
fn outer(translator: Translator) -> (Ipv6Addr, Ipv6Addr) {
    match translator {
        Translator::Vnet => (A6_OUT, B6_OUT),
        Translator::Nft => (A6_PLAIN, B6_PLAIN),
    }
}

fn nptv6_out(translator: Translator) -> Seen {
    let field = field(translator, by_prefix())?;
    let sent = Packet6::udp((A6, 4000), (S6, 5000), b"question");
    let seen = out(&field, &sent)?;
    ensure(seen.body == sent.body, "the transport header was changed")?;
    ensure(seen.source == A6_OUT, format!("it left as from {}", seen.source))
}

fn nptv6_in(translator: Translator) -> Seen {
    let field = field(translator, by_prefix())?;
    let sent = Packet6::udp((S6, 5000), (outer(translator).0, 4000), b"unasked");
    let Some(heard) = carry(&field.outside, &field.a, &sent) else {
        return fails("it did not arrive");
    };
    ensure(heard.destination == A6, format!("it came to {}", heard.destination))
}

fn nptv6_errors(translator: Translator) -> Seen {
    let field = field(translator, by_prefix())?;
    let seen = out(&field, &Packet6::udp((A6, 4000), (S6, 5000), b"question"))?;
    let heard = back(&field, &Packet6::error(T6, seen.source, (1, 4), &seen))?;
    let quoted = heard.quote().map(|quote| quote.source);
    ensure(quoted == Some(A6), "the quote was not translated")?;
    let answer = Packet6::udp((S6, 5000), (A6, 4000), b"answer");
    let left = out(&field, &Packet6::error(A6, S6, (1, 4), &answer))?;
    let quoted = left.quote().map(|quote| quote.destination);
    ensure(left.source == seen.source, format!("an error left as from {}", left.source))?;
    ensure(quoted == Some(seen.source), "the quote shows an inside address")
}

fn nptv6_hairpin(translator: Translator) -> Seen {
    let field = field(translator, by_prefix())?;
    let (a_out, b_out) = outer(translator);
    let sent = Packet6::udp((A6, 4000), (b_out, 5000), b"neighbour");
    let Some(heard) = carry(&field.a, &field.b, &sent) else { return fails("it did not arrive") };
    let right = (heard.source, heard.destination) == (a_out, B6);
    ensure(right, format!("it came from {}", heard.source))
}
