//! Sequences by chance: each has a theme, and in each things go wrong now and then.

use super::dice::Dice;
use super::step::{About, HOSTS, Kind, Order, PORTS, Quirk, SERVICES, Sequence, Step, Talk, Way};
use crate::packet::{IcmpKind, TcpFlags};

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const ERRORS: [IcmpKind; 11] = [
    IcmpKind::NET_UNREACHABLE,
    IcmpKind::HOST_UNREACHABLE,
    IcmpKind { kind: 3, code: 2 },
    IcmpKind::PORT_UNREACHABLE,
    IcmpKind::FRAGMENTATION_NEEDED,
    IcmpKind::PROHIBITED,
    IcmpKind::TIME_EXCEEDED,
    IcmpKind { kind: 11, code: 1 },
    IcmpKind::PARAMETER_PROBLEM,
    IcmpKind { kind: 4, code: 0 },
    IcmpKind { kind: 5, code: 1 },
];
/// Timestamp, information, address mask, router solicitation, and one that does not exist.
const MESSAGES: [u8; 8] = [13, 14, 15, 16, 17, 18, 10, 77];
/// GRE, ESP, SCTP, IPIP, UDP-Lite, and one that nobody uses.
const PROTOCOLS: [u8; 6] = [47, 50, 132, 4, 136, 253];

/// Sequence `number` under this seed, always the same.
pub fn sequence(seed: u64, number: u64) -> Sequence {
    let mut dice = Dice::new(seed, number);
    let dice = &mut dice;
    let mut steps = match dice.below(11) {
        0..3 => connection(dice),
        3 => chaos(dice),
        4..6 => chat(dice, &[Kind::Udp]),
        6 => chat(dice, &[Kind::Ping]),
        7 => chat(dice, &[Kind::Udp, Kind::Ping, Kind::Tcp(SYN)]),
        8 => fragments(dice),
        9 => hairpins(dice),
        _ => anything(dice),
    };
    if dice.one_in(2) {
        disturb(dice, &mut steps);
    }
    steps
}

fn talk(dice: &mut Dice) -> Talk {
    // Few of each, so that hosts meet on the same port and the same server often.
    Talk { host: dice.small(2), port: dice.small(2), server: dice.small(2), service: dice.small(2) }
}

fn wide_talk(dice: &mut Dice) -> Talk {
    let services = u8::try_from(SERVICES.len()).unwrap_or(1);
    Talk {
        host: dice.small(HOSTS),
        port: dice.small(PORTS),
        server: dice.small(HOSTS),
        service: dice.small(services),
    }
}

/// A TCP connection as it should be, from the handshake to one of its ends.
fn connection(dice: &mut Dice) -> Sequence {
    let talk = talk(dice);
    let tcp = |way, flags| Step::new(way, Kind::Tcp(flags), talk);
    let mut steps = vec![tcp(Way::Out, SYN), tcp(Way::In, SYN | ACK), tcp(Way::Out, ACK)];
    for _ in 0..dice.below(5) {
        let way = dice.pick(&[Way::Out, Way::In]);
        let flags = dice.pick(&[ACK, ACK | TcpFlags::PSH]);
        let length = dice.pick(&[0, 1, 7, 100, 536]);
        steps.push(tcp(way, flags).with(Quirk::Length(length)));
    }
    if dice.one_in(3) {
        let at = 1 + dice.below(3) as usize;
        steps.insert(at, error(dice, Kind::Tcp(ACK), talk));
    }
    let (first, second) = dice.pick(&[(Way::Out, Way::In), (Way::In, Way::Out)]);
    match dice.below(4) {
        0 | 1 => {
            let fin = TcpFlags::FIN | ACK;
            steps.extend([tcp(first, fin), tcp(second, ACK), tcp(second, fin), tcp(first, ACK)]);
        }
        2 => steps.push(tcp(first, dice.pick(&[TcpFlags::RST, TcpFlags::RST | ACK]))),
        _ => {}
    }
    steps
}

/// TCP segments in any order.
fn chaos(dice: &mut Dice) -> Sequence {
    let (one, other) = (talk(dice), talk(dice));
    let count = 3 + dice.below(9);
    (0..count)
        .map(|_| {
            let flags = TcpFlags(if dice.one_in(4) {
                dice.byte()
            } else {
                dice.pick(&[0x02, 0xc2, 0x12, 0x52, 0x10, 0x18, 0x11, 0x04, 0x14])
            });
            let way = dice.pick(&[Way::Out, Way::In]);
            let talk = if dice.one_in(4) { other } else { one };
            let mut step = Step::new(way, Kind::Tcp(flags), talk);
            if dice.one_in(3) {
                step = step.with(Quirk::Length(dice.pick(&[1, 10, 100])));
            }
            if dice.one_in(4) {
                step =
                    step.with(Quirk::Sequence(dice.pick(&[-1, 1, 1000, -70_000, 70_000, 1 << 30])));
            }
            if dice.one_in(6) {
                step = step.with(Quirk::Acknowledgement(dice.pick(&[-1, 1, 5000, -100_000])));
            }
            step
        })
        .collect()
}

/// Several conversations of these kinds, with answers, and errors about them.
fn chat(dice: &mut Dice, kinds: &[Kind]) -> Sequence {
    let count = 2 + dice.below(10);
    let mut said: Vec<(Kind, Talk)> = Vec::new();
    let mut steps = Sequence::new();
    for _ in 0..count {
        let known = !said.is_empty() && dice.one_in(2);
        let (kind, talk) = if known { dice.pick(&said) } else { (dice.pick(kinds), talk(dice)) };
        said.push((kind, talk));
        steps.push(match dice.below(8) {
            0..4 => Step::new(Way::Out, kind, talk),
            4..7 => Step::new(Way::In, answer(kind), talk),
            _ => error(dice, kind, talk),
        });
        if matches!(kind, Kind::Udp | Kind::Ping) && dice.one_in(3) {
            let length = dice.pick(&[1, 8, 99, 512, 1372, 1400]);
            if let Some(step) = steps.last_mut().filter(|step| step.kind == kind) {
                step.quirks.push(Quirk::Length(length));
            }
        }
    }
    steps
}

fn answer(kind: Kind) -> Kind {
    match kind {
        Kind::Ping => Kind::Pong,
        Kind::Tcp(_) => Kind::Tcp(SYN | ACK),
        Kind::Udp | Kind::Pong | Kind::Icmp(_) | Kind::Error(..) | Kind::Other(_) => kind,
    }
}

fn error(dice: &mut Dice, kind: Kind, talk: Talk) -> Step {
    let about = match kind {
        Kind::Tcp(_) => About::Tcp,
        Kind::Ping | Kind::Pong => About::Ping,
        Kind::Udp | Kind::Icmp(_) | Kind::Error(..) | Kind::Other(_) => About::Udp,
    };
    let way = dice.pick(&[Way::In, Way::In, Way::Out]);
    let mut step = Step::new(way, Kind::Error(dice.pick(&ERRORS), about), talk);
    if dice.one_in(2) {
        step = step.with(Quirk::Quote(dice.pick(&[0, 4, 7, 8, 12, 16, 18, 20, 28, 60, 500])));
    }
    if dice.one_in(2) {
        step = step.with(Quirk::ByRouter);
    }
    step
}

/// Large datagrams and pings in fragments, with answers.
fn fragments(dice: &mut Dice) -> Sequence {
    let talk = talk(dice);
    let kind = dice.pick(&[Kind::Udp, Kind::Udp, Kind::Ping]);
    let count = 2 + dice.below(4);
    let mut steps = vec![Step::new(Way::Out, kind, talk)];
    for n in 0..count {
        let out = n == 0 || dice.one_in(2);
        let mut step = match out {
            true => Step::new(Way::Out, kind, talk),
            false => Step::new(Way::In, answer(kind), talk),
        };
        step = step.with(Quirk::Length(dice.pick(&[100, 900, 1300, 3000])));
        let order = if dice.one_in(2) { Order::Straight } else { dice.pick(&Order::ALL) };
        let size = dice.pick(&[8, 16, 24, 256, 512, 1376]);
        steps.push(step.with(Quirk::Fragments(size, order)));
    }
    steps
}

/// Inside hosts that talk to each other by their outside ports, once they have some.
fn hairpins(dice: &mut Dice) -> Sequence {
    let [a, b] = if dice.one_in(2) { [0, 1] } else { [1, 0] };
    let talk = Talk { host: a, port: dice.small(2), server: b, service: dice.small(2) };
    let kind = dice.pick(&[Kind::Udp, Kind::Udp, Kind::Tcp(SYN), Kind::Ping]);
    let to_server = |host, port| Talk { host, port, server: 0, service: 0 };
    let mut steps = vec![Step::new(Way::Out, kind, to_server(b, talk.service))];
    if dice.one_in(2) {
        steps.push(Step::new(Way::Out, kind, to_server(a, talk.port)));
    }
    let hairpin = |kind, talk| Step::new(Way::Hairpin, kind, talk);
    if matches!(kind, Kind::Tcp(_)) {
        steps.push(hairpin(kind, talk));
        steps.push(hairpin(Kind::Tcp(SYN | ACK), talk.turned()));
        steps.push(hairpin(Kind::Tcp(ACK), talk));
    }
    for _ in 0..2 + dice.below(6) {
        let kind = match kind {
            Kind::Tcp(_) => Kind::Tcp(dice.pick(&[ACK, ACK, ACK | TcpFlags::FIN, TcpFlags::RST])),
            other => other,
        };
        let talk = if dice.one_in(2) { talk } else { talk.turned() };
        let length = Quirk::Length(dice.pick(&[0, 1, 8, 99, 512]));
        steps.push(match dice.below(8) {
            0 => Step::new(Way::In, answer(kind), to_server(talk.host, talk.port)),
            _ => hairpin(kind, talk).with(length),
        });
    }
    steps
}

/// Every kind, from both sides, in any order.
fn anything(dice: &mut Dice) -> Sequence {
    let count = 2 + dice.below(8);
    let mut steps = Sequence::new();
    for _ in 0..count {
        let talk = if dice.one_in(4) { wide_talk(dice) } else { talk(dice) };
        let way = dice.pick(&[Way::Out, Way::Out, Way::In]);
        let kind = match dice.below(8) {
            0 => Kind::Tcp(TcpFlags(dice.byte())),
            1 => Kind::Tcp(SYN),
            2 => Kind::Udp,
            3 => Kind::Ping,
            4 => Kind::Pong,
            5 => Kind::Icmp(IcmpKind { kind: dice.pick(&MESSAGES), code: 0 }),
            6 => Kind::Other(dice.pick(&PROTOCOLS)),
            _ => {
                steps.push(error(dice, Kind::Udp, talk));
                continue;
            }
        };
        // Without ports, an answer is for the one host that has spoken; no other may be in its way.
        let alone = matches!(kind, Kind::Other(_));
        let talk = if alone { Talk { host: 0, ..talk } } else { talk };
        steps.push(Step::new(way, kind, talk));
    }
    steps
}

/// Makes one or two packets odd.
fn disturb(dice: &mut Dice, steps: &mut Sequence) {
    for _ in 0..=dice.below(2) {
        let count = u32::try_from(steps.len()).expect("sequences are short");
        let at = dice.below(count) as usize;
        let quirk = quirk(dice, &steps[at]);
        let same = |other: &Quirk| std::mem::discriminant(other) == std::mem::discriminant(&quirk);
        if !steps[at].has(same) {
            steps[at].quirks.push(quirk);
        }
        if dice.one_in(4) {
            // Sent again, as it was.
            let again = steps[at].clone();
            steps.insert(at + 1, again);
        }
    }
}

fn quirk(dice: &mut Dice, step: &Step) -> Quirk {
    match dice.below(12) {
        0 | 1 => Quirk::BadSum,
        2 => Quirk::Ttl(dice.pick(&[0, 1, 2, 255])),
        3 => Quirk::Tos(dice.pick(&[1, 2, 3, 0x10, 0xb8, 0xfc])),
        4 => Quirk::DontFragment,
        5 => Quirk::Options,
        6 if step.kind == Kind::Udp => Quirk::NoSum,
        6 | 7 => Quirk::Short(dice.pick(&[0, 1, 4, 7, 8, 12, 16, 19])),
        8 => Quirk::Cut(dice.pick(&[1, 12, 19, 20, 24, 27])),
        9 => Quirk::Flip(flip(dice, step)),
        10 => Quirk::Length(dice.pick(&[0, 1, 64, 1360, 1372, 1380, 1400])),
        _ => Quirk::Fragments(dice.pick(&[8, 24, 256]), dice.pick(&Order::ALL)),
    }
}

/// A bit anywhere but where it makes the packet another host's or another conversation's: in the
/// addresses, the ports, the protocol, and a header length that grows. Nor is it in the transport
/// checksum, where the same bit means something else in every lab.
fn flip(dice: &mut Dice, step: &Step) -> u16 {
    let checksum = match step.kind {
        Kind::Tcp(_) => 36..38,
        Kind::Udp => 26..28,
        Kind::Ping | Kind::Pong | Kind::Icmp(_) | Kind::Error(..) | Kind::Other(_) => 22..24,
    };
    loop {
        let bit = dice.below(40 * 8);
        let byte = bit / 8;
        let whose = (12..24).contains(&byte) || (24..26).contains(&byte) && is_query(step.kind);
        let what = byte == 9 || matches!(bit, 4 | 6);
        if !whose && !what && !checksum.contains(&byte) {
            return u16::try_from(bit).expect("forty bytes have few bits");
        }
    }
}

fn is_query(kind: Kind) -> bool {
    matches!(kind, Kind::Ping | Kind::Pong | Kind::Icmp(_))
}
