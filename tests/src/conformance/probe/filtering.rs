//! What comes in, and what does not.

use std::time::{Duration, Instant};

use crate::conformance::Level::{May, Must, Should};
use crate::conformance::field::{A, Field, S1, S2, outside};
use crate::conformance::tcp::{Connection, FIN_ACK, SYN_ACK};
use crate::conformance::translator::Wish;
use crate::conformance::{Requirement, Seen, Translator, ensure, fails};
use crate::packet::{Body, Endpoint as _, IcmpKind, Packet, TcpFlags};
use crate::socket::try_receive;

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 4787 section 5"),
        "rfc4787_5_nothing_unsolicited_by_default",
        "By default only those an endpoint has spoken to reach it: no other address, no other port.",
        strict_by_default,
    ),
    Requirement::new(
        (Should, "RFC 4787 REQ-8, RFC 6888 REQ-7"),
        "rfc4787_req8_endpoint_independent_filtering",
        "Filtering can be endpoint-independent (full cone): a mapped port is reached by anybody.",
        |translator| mode(translator, "endpoint-independent", (true, true)),
    ),
    Requirement::new(
        (Should, "RFC 4787 REQ-8"),
        "rfc4787_req8_address_dependent_filtering",
        "Filtering can be address-dependent: any port of an address that was spoken to.",
        |translator| mode(translator, "address-dependent", (false, true)),
    ),
    Requirement::new(
        (May, "RFC 4787 REQ-8a"),
        "rfc4787_req8a_filtering_can_be_chosen",
        "Filtering can be address-and-port-dependent by name, and be changed while flows live.",
        switched_live,
    ),
    Requirement::new(
        (Should, "RFC 5382 REQ-3"),
        "rfc5382_req3_endpoint_independent_filtering",
        "TCP: filtering can be endpoint-independent too.",
        tcp_full_cone,
    ),
    Requirement::new(
        (Should, "RFC 5128 section 3.3"),
        "rfc5128_3_3_udp_hole_punching",
        "Two peers who know each other's outside address reach each other, though the first packet \
         of one was turned away.",
        udp_hole_punching,
    ),
    Requirement::new(
        (Should, "RFC 5128 section 3.3"),
        "rfc5128_3_3_hole_punching_whatever_the_filter",
        "The same with each way of filtering that can be chosen.",
        hole_punching_in_all_modes,
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-2"),
        "rfc5382_req2_tcp_handshake",
        "TCP connections open, carry data both ways, and close.",
        tcp_life,
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-2"),
        "rfc5382_req2_half_closed_and_opened_again",
        "After the FIN of one end the other goes on sending; a closed connection is opened again \
         with the same ports.",
        half_closed,
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-2a"),
        "rfc5382_req2a_simultaneous_open",
        "Two SYNs that cross open a connection.",
        simultaneous_open,
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-4"),
        "rfc5382_req4_unsolicited_syn",
        "An unsolicited SYN to a mapped port gets no answer for six seconds.",
        syn_is_not_answered,
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-4"),
        "rfc5382_req4_syn_crossed_by_our_own",
        "When the inside opens the same connection meanwhile, that SYN is forgotten and the \
         connection opens.",
        tcp_hole_punching,
    ),
    Requirement::new(
        (Should, "RFC 5382 REQ-4"),
        "rfc5382_req4_port_unreachable_after_six_seconds",
        "After six seconds such a SYN is answered by ICMP port unreachable.",
        syn_is_answered_late,
    ),
    Requirement::new(
        (Must, "RFC 1122 section 4.1.3.1"),
        "rfc1122_4_1_3_1_host_answers_for_itself",
        "What comes for a port that no mapping has belongs to the router's own stack: its services \
         hear it, and a closed port is told.",
        host_answers,
    ),
    Requirement::new(
        (Must, "CVE-2021-3773"),
        "cve_2021_3773_no_shadowing_of_services",
        "No inside host can be given the port of a service of the router, and so hear what was \
         meant for that.",
        no_shadowing,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-3"),
        "rfc4787_req3_host_and_inside_do_not_collide",
        "A connection of the router itself and one from inside that use the same port towards the \
         same server are told apart.",
        host_collides,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_no_state_from_outside",
        "A scan from outside leaves no state behind.",
        no_state_from_outside,
    ),
];

fn filtering(mode: &'static str) -> Wish {
    let nothing = "conntrack knows one way only";
    Wish::plain().words(&["--filtering", mode]).no_nft(nothing)
}

/// Whether a stranger, and another port of a known address, reach host a's mapping.
fn reached(field: &Field, port: u16) -> Result<(bool, bool), crate::conformance::Miss> {
    let mapped = field.udp((A, port), S1)?;
    let from = |source| Packet::udp(source, mapped).payload(b"unasked");
    Ok((field.intrudes(&from(S2), A), field.intrudes(&from((*S1.ip(), 5001).endpoint()), A)))
}

fn mode(translator: Translator, mode: &'static str, wanted: (bool, bool)) -> Seen {
    let field = Field::of(translator, &filtering(mode))?;
    let reached = reached(&field, 4000)?;
    ensure(reached == wanted, format!("(stranger, other port) reached it: {reached:?}"))
}

fn strict_by_default(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let (stranger, other_port) = reached(&field, 4000)?;
    ensure(!stranger, "a stranger reached the host")?;
    ensure(!other_port, "another port of a known address reached the host")?;
    let tcp = Connection::open(&field, (A, 4001), S1)?;
    let syn = Packet::tcp(S2, tcp.mapped, TcpFlags::SYN);
    ensure(!field.intrudes(&syn, A), "a stranger's SYN reached the host")
}

fn switched_live(translator: Translator) -> Seen {
    let field = Field::of(translator, &filtering("address-and-port-dependent"))?;
    ensure(reached(&field, 4000)? == (false, false), "a stranger reached the host")?;
    field.lab.attach(&["--filtering", "endpoint-independent"]);
    ensure(reached(&field, 4000)? == (true, true), "the change had no effect")?;
    field.lab.attach(&["--filtering", "address-and-port-dependent"]);
    let mapped = field.udp((A, 4000), S1)?;
    ensure(field.answer(S1, mapped, (A, 4000)), "the change ended a flow")?;
    // Another stranger than those whom the open time has made known.
    let fresh = Packet::udp((*S2.ip(), 6000), mapped);
    ensure(!field.intrudes(&fresh, A), "the change back had no effect")
}

fn tcp_full_cone(translator: Translator) -> Seen {
    let field = Field::of(translator, &filtering("endpoint-independent"))?;
    let tcp = Connection::open(&field, (A, 4000), S1)?;
    let syn = Packet::tcp(S2, tcp.mapped, TcpFlags::SYN).numbers(77, 0);
    let heard = field.back(&syn, A);
    ensure(heard.is_some_and(|heard| heard.destination() == tcp.host), "a SYN did not arrive")?;
    let answer = Packet::tcp(tcp.host, S2, SYN_ACK).numbers(99, 78);
    let heard = field.out(&answer);
    ensure(heard.is_some_and(|heard| heard.source() == tcp.mapped), "its answer did not leave")
}

fn udp_hole_punching(translator: Translator) -> Seen {
    punched(&Field::plain(translator)?)
}

fn hole_punching_in_all_modes(translator: Translator) -> Seen {
    for mode in ["endpoint-independent", "address-dependent", "address-and-port-dependent"] {
        punched(&Field::of(translator, &filtering(mode))?)?;
    }
    Ok(())
}

fn punched(field: &Field) -> Seen {
    // s1 is the rendezvous server, s2 the peer.
    let known = field.udp((A, 4000), S1)?;
    field.intrudes(&Packet::udp(S2, known).payload(b"too early"), A);
    let seen = field.udp((A, 4000), S2)?;
    ensure(seen == known, "the peer saw another port than the rendezvous server")?;
    ensure(field.answer(S2, known, (A, 4000)), "the peer's packet did not arrive")
}

fn tcp_life(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mut tcp = Connection::open(&field, (A, 4000), S1)?;
    tcp.talks(&field)?;
    ensure(field.out(&tcp.outward(FIN_ACK)).is_some(), "a FIN did not leave")?;
    tcp.next.0 += 1;
    ensure(field.back(&tcp.inward(FIN_ACK), A).is_some(), "a FIN did not arrive")?;
    tcp.next.1 += 1;
    ensure(field.out(&tcp.outward(TcpFlags::ACK)).is_some(), "the last ACK did not leave")
}

fn half_closed(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mut tcp = Connection::open(&field, (A, 4000), S1)?;
    tcp.talks(&field)?;
    ensure(field.out(&tcp.outward(FIN_ACK)).is_some(), "a FIN did not leave")?;
    tcp.next.0 += 1;
    for _ in 0..3 {
        ensure(tcp.hear(&field), "data after the other end's FIN did not arrive")?;
        let acknowledged = field.out(&tcp.outward(TcpFlags::ACK)).is_some();
        ensure(acknowledged, "an acknowledgement after a FIN did not leave")?;
    }
    ensure(field.back(&tcp.inward(FIN_ACK), A).is_some(), "a FIN did not arrive")?;
    tcp.next.1 += 1;
    ensure(field.out(&tcp.outward(TcpFlags::ACK)).is_some(), "the last ACK did not leave")?;
    let again = Connection::open(&field, (A, 4000), S1)?.mapped;
    ensure(again == tcp.mapped, "it was opened again with another port")
}

fn simultaneous_open(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mapped = Connection::syn(&field, (A, 4000), S1)?;
    let syn = Packet::tcp(S1, mapped, TcpFlags::SYN).numbers(500_000, 0);
    ensure(field.back(&syn, A).is_some(), "the crossing SYN did not arrive")?;
    let out = Packet::tcp((A, 4000), S1, SYN_ACK).numbers(1000, 500_001);
    ensure(field.out(&out).is_some(), "our SYN-ACK did not leave")?;
    let back = Packet::tcp(S1, mapped, SYN_ACK).numbers(500_000, 1001);
    ensure(field.back(&back, A).is_some(), "their SYN-ACK did not arrive")?;
    let next = (1001, 500_001);
    let mut tcp = Connection { host: (A, 4000).endpoint(), mapped, server: S1, next };
    tcp.talks(&field)
}

/// An answer to a SYN that s2 sent to a mapping.
fn about_syn(packet: &Packet) -> bool {
    match &packet.body {
        Body::Tcp(tcp) => tcp.destination == S2.port() && packet.ip.destination == *S2.ip(),
        Body::Icmp(_) => packet.quote().is_some_and(|quote| quote.source == S2),
        Body::Udp(_) | Body::Raw(_) => false,
    }
}

fn syn_is_not_answered(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mapped = Connection::open(&field, (A, 4000), S1)?.mapped;
    let until = Instant::now() + Duration::from_millis(5500);
    // As a real stack does: again after one second, and after two more.
    for pause in [1000, 2000, 2500] {
        field.outside.send(&Packet::tcp(S2, mapped, TcpFlags::SYN).numbers(1, 0));
        let next = (Instant::now() + Duration::from_millis(pause)).min(until);
        if let Some(answer) = field.outside.hear_until(next, about_syn) {
            return fails(match answer.body {
                Body::Tcp(_) => "a RST came at once",
                Body::Icmp(_) | Body::Udp(_) | Body::Raw(_) => "an ICMP error came at once",
            });
        }
    }
    Ok(())
}

fn syn_is_answered_late(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mapped = Connection::open(&field, (A, 4000), S1)?.mapped;
    for pause in [1000, 2000, 4000, 1000] {
        field.outside.send(&Packet::tcp(S2, mapped, TcpFlags::SYN).numbers(1, 0));
        let until = Instant::now() + Duration::from_millis(pause);
        let Some(answer) = field.outside.hear_until(until, about_syn) else { continue };
        return match answer.body {
            Body::Icmp(icmp) if icmp.kind == IcmpKind::PORT_UNREACHABLE => Ok(()),
            Body::Icmp(_) => fails("another ICMP error came"),
            Body::Tcp(_) | Body::Udp(_) | Body::Raw(_) => fails("a RST came"),
        };
    }
    fails("no answer came within eight seconds")
}

fn tcp_hole_punching(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    // s1 is the rendezvous server; the peer's SYN is there before ours.
    let known = Connection::open(&field, (A, 4000), S1)?.mapped;
    field.outside.send(&Packet::tcp(S2, known, TcpFlags::SYN).numbers(500_000, 0));
    if field.outside.overhear(about_syn).is_some() {
        return fails("the early SYN was answered");
    }
    let mut tcp = Connection::open(&field, (A, 4000), S2)?;
    ensure(tcp.mapped == known, "the peer saw another port than the rendezvous server")?;
    tcp.talks(&field)
}

fn host_answers(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    field.udp((A, 4000), S1)?;
    let service = field.lab.router.udp(outside(53));
    field.outside.send(&Packet::udp(S2, outside(53)).payload(b"query"));
    ensure(try_receive(&service).is_ok(), "a service of the router heard nothing")?;
    field.outside.send(&Packet::udp(S2, outside(54)).payload(b"closed"));
    let told = field.outside.hear(|heard| heard.quote().is_some());
    ensure(told.is_some(), "a closed port was not told")
}

fn no_shadowing(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let service = field.lab.router.udp(outside(4000));
    let taken = field.udp((A, 4000), S1)?;
    ensure(taken != outside(4000), "an inside host was given the port of a service")?;
    field.outside.send(&Packet::udp(S1, outside(4000)).payload(b"query"));
    ensure(try_receive(&service).is_ok(), "the service heard nothing")
}

fn host_collides(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let inside = Connection::open(&field, (A, 4000), S1)?;
    let own = std::thread::scope(|scope| {
        // It waits for an answer that never comes.
        scope.spawn(|| field.lab.router.connect(outside(4000), S1).is_ok());
        let is_syn =
            |heard: &Packet| matches!(&heard.body, Body::Tcp(t) if t.flags == TcpFlags::SYN);
        field.outside.hear(is_syn).map(|heard| heard.source())
    });
    let Some(own) = own else { return fails("the router's own SYN did not leave") };
    ensure(own != inside.mapped, "both had the same port")?;
    let mut inside = inside;
    inside.talks(&field)
}

fn no_state_from_outside(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    field.udp((A, 4000), S1)?;
    for port in 10_000..10_500 {
        field.outside.send(&Packet::udp(S2, outside(port)));
        field.outside.send(&Packet::tcp(S2, outside(port), TcpFlags::SYN));
        field.outside.send(&Packet::udp((*S2.ip(), port), outside(4000)));
    }
    let entries = match translator {
        Translator::Vnet => field.lab.flows().len().to_string(),
        Translator::Nft => {
            field.lab.router.sysctl("net/netfilter/nf_conntrack_count").unwrap_or_default()
        }
    };
    ensure(entries == "1", format!("{entries} entries for one flow from inside"))
}
