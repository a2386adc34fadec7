//! How long mappings live, and what keeps and ends them. Defaults are read back; what happens is
//! seen with timeouts of three seconds.

use std::thread::sleep;
use std::time::Duration;

use crate::conformance::Level::{May, Must, Should};
use crate::conformance::field::{A, B, Field, S1, S2, outside};
use crate::conformance::tcp::{Connection, DATA, RST_ACK};
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure};
use crate::packet::{IcmpKind, Packet, TcpFlags};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 4787 REQ-5"),
        "rfc4787_req5_udp_at_least_two_minutes",
        "A UDP mapping lives for two minutes at least after the last packet.",
        |translator| at_least(translator, "udp", 120),
    ),
    Requirement::new(
        (Should, "RFC 4787 REQ-5c"),
        "rfc4787_req5c_udp_five_minutes",
        "By default it lives for five minutes.",
        |translator| at_least(translator, "udp", 300),
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-5"),
        "rfc5382_req5_established_two_hours_four_minutes",
        "An established TCP connection lives for 2 hours 4 minutes at least.",
        |translator| at_least(translator, "established", 7440),
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-5, RFC 7857 section 2.1"),
        "rfc5382_req5_transitory_four_minutes",
        "Half-open and closing TCP connections live for four minutes at least.",
        |translator| at_least(translator, "transitory", 240),
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-2"),
        "rfc5508_req2_query_sixty_seconds",
        "An ICMP query lives for 60 seconds at least.",
        |translator| at_least(translator, "icmp", 60),
    ),
    Requirement::new(
        (Should, "RFC 4787 REQ-5b, RFC 5508 REQ-2a"),
        "rfc4787_req5b_timeouts_are_settings",
        "Timeouts can be set: a UDP mapping set to three seconds is gone soon after, and one that \
         was not set is not.",
        settable,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-6"),
        "rfc4787_req6_outbound_refresh",
        "Packets from inside keep a mapping alive.",
        outbound_refresh,
    ),
    Requirement::new(
        (May, "RFC 4787 REQ-6"),
        "rfc4787_req6_inbound_refresh",
        "Packets from outside keep it alive too.",
        inbound_refresh,
    ),
    Requirement::new(
        (May, "RFC 4787 REQ-6a"),
        "rfc4787_req6a_inbound_refresh_can_be_off",
        "That packets from outside keep a mapping alive can be switched off.",
        inbound_refresh_off,
    ),
    Requirement::new(
        (Should, "RFC 7857 section 7.1"),
        "rfc7857_7_1_errors_do_not_refresh",
        "An ICMP error that goes out does not keep a mapping alive.",
        errors_do_not_refresh,
    ),
    Requirement::new(
        (Should, "RFC 7857 section 2.2"),
        "rfc7857_2_2_reset_keeps_the_state_a_while",
        "After a RST the connection is kept for four minutes.",
        |translator| at_least(translator, "reset", 240),
    ),
    Requirement::new(
        (Should, "RFC 7857 section 2.2"),
        "rfc7857_2_2_traffic_after_a_reset",
        "A connection that goes on after a RST (its receiver ignored it) stays.",
        reset_ignored,
    ),
    Requirement::new(
        (Must, "RFC 5961 section 3"),
        "rfc5961_3_reset_out_of_window",
        "A RST outside of what its receiver can expect does not end a connection.",
        reset_out_of_window,
    ),
    Requirement::new(
        (Should, "RFC 6888 REQ-8"),
        "rfc6888_req8_port_rests",
        "A port that was given back is not another host's for two minutes.",
        port_rests,
    ),
    Requirement::new(
        (May, "RFC 6888 REQ-8"),
        "rfc6888_req8_rest_ends_when_ports_are_scarce",
        "When no other port is left, a resting one is used.",
        scarce,
    ),
];

/// Longer than a timeout of three seconds can take to have its effect: both translators look at what
/// is due about once in a second.
const GONE: Duration = Duration::from_millis(6000);

/// Half seconds that are longer than that, too.
pub(super) const TURNS: u32 = 12;

/// Settings of conntrack that stand for a timeout; the least of them counts.
fn conntrack(what: &str) -> &'static [&'static str] {
    match what {
        "udp" => &["udp_timeout", "udp_timeout_stream"],
        "icmp" => &["icmp_timeout"],
        "established" => &["tcp_timeout_established"],
        "reset" => &["tcp_timeout_close"],
        "transitory" => &[
            "tcp_timeout_syn_sent",
            "tcp_timeout_syn_recv",
            "tcp_timeout_fin_wait",
            "tcp_timeout_close_wait",
            "tcp_timeout_last_ack",
        ],
        other => panic!("no such timeout: {other}"),
    }
}

fn default(field: &Field, what: &str) -> u64 {
    match field.translator {
        Translator::Vnet => {
            let status = field.lab.vnetctl(&["status", "--json"]).ok().json();
            let name = match what {
                "udp" => "timeout_udp_s",
                "icmp" => "timeout_icmp_s",
                "established" => "timeout_tcp_established_s",
                _ => "timeout_tcp_transitory_s",
            };
            let row = status.as_array().and_then(|rows| rows.first()).unwrap_or(&status);
            row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"))
        }
        Translator::Nft => {
            let read = |name: &&str| {
                let value = field.lab.router.sysctl(&format!("net/netfilter/nf_conntrack_{name}"));
                value.and_then(|value| value.parse().ok()).expect("conntrack has this timeout")
            };
            conntrack(what).iter().map(read).min().expect("every timeout has a name")
        }
    }
}

fn at_least(translator: Translator, what: &str, seconds: u64) -> Seen {
    let field = Field::plain(translator)?;
    let is = default(&field, what);
    ensure(is >= seconds, format!("{is} s"))
}

/// A UDP mapping of host a, with timeouts of three seconds.
fn short() -> Wish {
    Wish::plain().short()
}

fn settable(translator: Translator) -> Seen {
    let field = Field::of(translator, &short())?;
    let mapped = field.udp((A, 4000), S1)?;
    let mut tcp = Connection::open(&field, (A, 4001), S1)?;
    sleep(GONE);
    let gone = !field.intrudes(&Packet::udp(S1, mapped), A);
    ensure(gone, "a UDP mapping outlived its timeout")?;
    tcp.talks(&field)
}

/// Packets twice a second, for longer than the timeout.
fn keep_talking(mut say: impl FnMut() -> Seen) -> Seen {
    for _ in 0..TURNS {
        say()?;
        sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn outbound_refresh(translator: Translator) -> Seen {
    let field = Field::of(translator, &short())?;
    let mapped = field.udp((A, 4000), S1)?;
    keep_talking(|| {
        let now = field.udp((A, 4000), S1)?;
        ensure(now == mapped, "the mapping moved")
    })?;
    ensure(field.answer(S1, mapped, (A, 4000)), "the mapping ended")
}

fn inbound_refresh(translator: Translator) -> Seen {
    let field = Field::of(translator, &short())?;
    let mapped = field.udp((A, 4000), S1)?;
    keep_talking(|| ensure(field.answer(S1, mapped, (A, 4000)), "the mapping ended"))
}

fn inbound_refresh_off(translator: Translator) -> Seen {
    let wish = short().words(&["--refresh", "outbound"]).no_nft("every packet refreshes");
    let field = Field::of(translator, &wish)?;
    let mapped = field.udp((A, 4000), S1)?;
    for _ in 0..TURNS {
        field.outside.send(&Packet::udp(S1, mapped));
        sleep(Duration::from_millis(500));
    }
    let gone = !field.intrudes(&Packet::udp(S1, mapped), A);
    ensure(gone, "packets from outside kept the mapping")
}

fn errors_do_not_refresh(translator: Translator) -> Seen {
    let field = Field::of(translator, &short())?;
    let mapped = field.udp((A, 4000), S1)?;
    // About what came in earlier; nothing comes in any more that could refresh.
    let about = Packet::udp(S1, (A, 4000)).payload(b"answer");
    for _ in 0..TURNS {
        field.a.send(&about.error(A, IcmpKind::PORT_UNREACHABLE, 8));
        sleep(Duration::from_millis(500));
    }
    let gone = !field.intrudes(&Packet::udp(S1, mapped), A);
    ensure(gone, "errors kept the mapping")
}

fn reset_ignored(translator: Translator) -> Seen {
    let field = Field::of(translator, &short())?;
    let mut tcp = Connection::open(&field, (A, 4000), S1)?;
    tcp.talks(&field)?;
    let reset = field.back(&tcp.inward(RST_ACK), A);
    ensure(reset.is_some(), "the RST did not arrive")?;
    tcp.talks(&field)?;
    sleep(GONE);
    tcp.talks(&field)
}

fn reset_out_of_window(translator: Translator) -> Seen {
    let field = Field::of(translator, &short())?;
    let mut tcp = Connection::open(&field, (A, 4000), S1)?;
    tcp.talks(&field)?;
    let forged = Packet::tcp(S1, tcp.mapped, TcpFlags::RST);
    field.outside.send(&forged.numbers(tcp.next.1.wrapping_add(0x4000_0000), 0));
    sleep(GONE);
    let sent = tcp.inward(DATA).payload(b"news");
    tcp.next.1 += 4;
    ensure(field.back(&sent, A).is_some(), "the connection was ended")?;
    tcp.talks(&field)
}

/// What a port is worth after its mapping has ended: host b asks for the same one.
fn after_the_end(field: &Field) -> Result<u16, Miss> {
    let mapped = field.udp((A, 4000), S1)?;
    ensure(mapped == outside(4000), format!("port 4000 became {}", mapped.port()))?;
    sleep(GONE);
    // Long over for both: another destination shows the port, not the flow.
    field.udp((B, 4000), S2).map(|given| given.port())
}

fn port_rests(translator: Translator) -> Seen {
    let field = Field::of(translator, &short())?;
    let given = after_the_end(&field)?;
    ensure(given != 4000, "the port was another host's at once")
}

fn scarce(translator: Translator) -> Seen {
    let wish = short()
        .words(&["--ports", "4000-4000"])
        .rule("oifname up0 meta l4proto { tcp, udp } masquerade to :4000");
    let field = Field::of(translator, &wish)?;
    let given = after_the_end(&field)?;
    ensure(given == 4000, format!("port {given} was given"))
}
