//! A step as frames on the wire of one lab.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::checksum;
use super::history::Facts;
use super::step::{About, Kind, Order, Quirk, Step, Way};
use crate::packet::{Body, Icmp, IcmpBody, IcmpKind, Mac, Packet, Protocol, Sum, TcpFlags};

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// What an error quotes if nothing is said (RFC 792).
const QUOTE: u16 = 8;
/// Payload of a packet that an error is about.
const QUOTED: usize = 600;
/// The MTU that "fragmentation needed" tells.
const MTU: u32 = 1300;

/// Where a step's packets go in one lab.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The inside end of the conversation.
    pub inside: SocketAddrV4,
    /// What the server takes for it.
    pub outside: SocketAddrV4,
    /// The inside end that the outside one stands for: of a hairpin, the other one.
    pub holder: SocketAddrV4,
    /// The server's end; of a hairpin the holder's.
    pub server: SocketAddrV4,
    /// Somebody else on the sender's side.
    pub router: Ipv4Addr,
    /// Stations: sender and receiver.
    pub stations: (Mac, Mac),
}

/// The frames of a step, in the order in which they are sent. `last` are the numbers of the TCP
/// segment that an error is about.
pub fn frames(step: &Step, facts: &Facts, last: (u32, u32), ends: &Ends) -> Vec<Vec<u8>> {
    let mut packet = packet(step, facts, last, ends).id(facts.id);
    for quirk in &step.quirks {
        packet = header(packet, *quirk);
    }
    let (source, destination) = ends.stations;
    let packet = packet.frame(source, destination);
    let whole = match step.fragments() {
        None => vec![damage(step, &packet)],
        Some((size, order)) => pieces(&damage(step, &packet), usize::from(size), order),
    };
    whole.into_iter().map(|frame| last_damage(step, frame)).collect()
}

fn packet(step: &Step, facts: &Facts, last: (u32, u32), ends: &Ends) -> Packet {
    let (from, to) = match step.way {
        Way::Out => (ends.inside, ends.server),
        Way::In => (ends.server, ends.outside),
        Way::Hairpin => (ends.inside, ends.outside),
    };
    // The inside end's number, which is where NAT works.
    let id = if step.way == Way::In { to.port() } else { from.port() };
    let data: Vec<u8> = (0..usize::from(step.length())).map(|n| (n * 7 + 1) as u8).collect();
    match step.kind {
        Kind::Tcp(flags) => Packet::tcp(from, to, flags)
            .numbers(facts.sequence, facts.acknowledgement)
            .payload(&data),
        Kind::Udp => Packet::udp(from, to).payload(&data),
        Kind::Ping => Packet::ping(*from.ip(), *to.ip(), id).payload(&data),
        Kind::Pong => Packet::pong(*from.ip(), *to.ip(), id).payload(&data),
        Kind::Icmp(kind) => {
            let body = IcmpBody::Other { rest: u32::from(id) << 16 | 1, quote: data };
            Packet::icmp(*from.ip(), *to.ip(), Icmp { kind, checksum: Sum::Right, body })
        }
        Kind::Error(kind, about) => {
            error(step, kind, &quoted(step.way, about, (from, to), last), ends)
        }
        Kind::Other(protocol) => {
            let data = [&from.port().to_be_bytes(), &to.port().to_be_bytes(), &data[..]].concat();
            Packet::raw(*from.ip(), *to.ip(), Protocol(protocol), &data)
        }
    }
}

/// A packet of the other direction, which came to `from` and of which it now complains.
fn quoted(
    way: Way,
    about: About,
    (from, to): (SocketAddrV4, SocketAddrV4),
    last: (u32, u32),
) -> Packet {
    let data = [0x51; QUOTED];
    let packet = match about {
        About::Tcp => Packet::tcp(to, from, TcpFlags::ACK).numbers(last.0, last.1),
        About::Udp => Packet::udp(to, from),
        About::Ping if way == Way::In => Packet::ping(*to.ip(), *from.ip(), to.port()),
        About::Ping => Packet::pong(*to.ip(), *from.ip(), from.port()),
    };
    packet.payload(&data).ttl(60).id(0x77)
}

fn error(step: &Step, kind: IcmpKind, about: &Packet, ends: &Ends) -> Packet {
    let find = |quirk| if let Quirk::Quote(bytes) = quirk { Some(bytes) } else { None };
    let quote = usize::from(step.find(find).unwrap_or(QUOTE));
    let by_router = step.has(|quirk| *quirk == Quirk::ByRouter);
    let from = if by_router { ends.router } else { about.ip.destination };
    let mut error = about.error(from, kind, quote);
    if let Body::Icmp(Icmp { body: IcmpBody::Other { rest, .. }, .. }) = &mut error.body
        && kind == IcmpKind::FRAGMENTATION_NEEDED
    {
        *rest = MTU;
    }
    error
}

/// Quirks of headers.
fn header(packet: Packet, quirk: Quirk) -> Packet {
    let mut packet = packet;
    match quirk {
        Quirk::Ttl(ttl) => packet.ip.ttl = ttl,
        Quirk::Tos(tos) => packet.ip.tos = tos,
        Quirk::DontFragment => packet.ip.dont_fragment = true,
        // Three that do nothing, and the end of the list.
        Quirk::Options => packet.ip.options = vec![1, 1, 1, 0],
        Quirk::NoSum => {
            if let Body::Udp(udp) = &mut packet.body {
                udp.checksum = Sum::Absent;
            }
        }
        Quirk::Length(_)
        | Quirk::Sequence(_)
        | Quirk::Acknowledgement(_)
        | Quirk::BadSum
        | Quirk::Quote(_)
        | Quirk::ByRouter
        | Quirk::Short(_)
        | Quirk::Cut(_)
        | Quirk::Flip(_)
        | Quirk::Fragments(..) => {}
    }
    packet
}

/// What is wrong with the whole packet, before it is cut.
fn damage(step: &Step, packet: &Packet) -> Vec<u8> {
    let mut frame = packet.bytes();
    let l4 = ETHERNET + 20 + packet.ip.options.len();
    if step.has(|quirk| *quirk == Quirk::BadSum)
        && let Some(at) = checksum::field(packet.ip.protocol)
        && let Some(field) = frame.get_mut(l4 + at..l4 + at + 2)
    {
        // Added, not replaced: what is wrong with it is then the same whatever its port is.
        checksum::add(field, 0x1234);
    }
    if let Some(bytes) = step.find(|q| if let Quirk::Short(bytes) = q { Some(bytes) } else { None })
    {
        frame.truncate(l4 + usize::from(bytes));
        let total = u16::try_from(frame.len() - ETHERNET).unwrap_or(u16::MAX);
        frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
        checksum::finish_ip(&mut frame[ETHERNET..]);
    }
    frame
}

/// What is wrong with each frame, at last.
fn last_damage(step: &Step, mut frame: Vec<u8>) -> Vec<u8> {
    for quirk in &step.quirks {
        match *quirk {
            Quirk::Cut(bytes) => frame.truncate(ETHERNET + usize::from(bytes)),
            Quirk::Flip(bit) => {
                let options = step.has(|quirk| *quirk == Quirk::Options) && bit >= 20 * 8;
                let at = usize::from(bit / 8) + if options { 4 } else { 0 };
                let Some(byte) = frame.get_mut(ETHERNET + at) else { continue };
                *byte ^= 0x80 >> (bit % 8);
                if at < 20 && at / 2 != 5 {
                    checksum::finish_ip(&mut frame[ETHERNET..]);
                }
            }
            _ => {}
        }
    }
    frame
}

fn pieces(frame: &[u8], size: usize, order: Order) -> Vec<Vec<u8>> {
    let header = ETHERNET + usize::from(frame[ETHERNET] & 0xf) * 4;
    let (header, body) = frame.split_at(header);
    let count = body.len().div_ceil(size);
    let mut all: Vec<_> = body
        .chunks(size)
        .enumerate()
        .map(|(n, piece)| {
            let mut cut = [header, piece].concat();
            let total = u16::try_from(cut.len() - ETHERNET).unwrap_or(u16::MAX);
            cut[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
            let more = if n + 1 < count { 0x2000 } else { 0 };
            let offset = u16::try_from(n * size / 8).unwrap_or(0x1fff);
            cut[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&(offset | more).to_be_bytes());
            checksum::finish_ip(&mut cut[ETHERNET..]);
            cut
        })
        .collect();
    if all.len() < 2 {
        // Too little to cut.
        return vec![[header, body].concat()];
    }
    match order {
        Order::Straight => {}
        Order::Reversed => all.reverse(),
        Order::Swapped => {
            all.swap(0, 1);
        }
        Order::Twice => all = all.iter().flat_map(|one| [one.clone(), one.clone()]).collect(),
        Order::Headless => drop(all.remove(0)),
        Order::Endless => drop(all.pop()),
    }
    all
}
