//! Fragments joined again (RFC 791). Routers may cut as they like; what counts is the whole.

use super::checksum::finish_ip;
use super::rig::Heard;

const HEADER: usize = 20;
const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Everything heard as whole packets where all their fragments have come; others stay as they are.
/// Frames lose their Ethernet header and what follows the packet.
pub fn join(heard: &[Heard]) -> Vec<Heard> {
    let mut joined: Vec<Heard> = Vec::new();
    let mut waiting: Vec<Heard> = Vec::new();
    let mut done: Vec<Heard> = Vec::new();
    for one in heard {
        let packet = Heard { side: one.side, bytes: trim(&one.bytes) };
        if piece(&packet.bytes).is_none() {
            joined.push(packet);
            continue;
        }
        if waiting.contains(&packet) || done.contains(&packet) {
            // What comes twice counts once.
            continue;
        }
        waiting.push(packet);
        let key = key(waiting.last().expect("pushed a moment ago"));
        let parts: Vec<&Heard> = waiting.iter().filter(|other| self::key(other) == key).collect();
        if let Some(bytes) = whole(&parts) {
            joined.push(Heard { side: one.side, bytes });
            done.extend(waiting.extract_if(.., |other| self::key(other) == key));
        }
    }
    joined.extend(waiting);
    joined
}

/// The packet in a frame, without padding.
fn trim(frame: &[u8]) -> Vec<u8> {
    let packet = frame.get(super::frames::ETHERNET..).unwrap_or_default();
    let total = packet.get(2..4).map_or(0, |two| usize::from(u16::from_be_bytes([two[0], two[1]])));
    packet.get(..total).unwrap_or(packet).to_vec()
}

/// Offset in bytes, and whether more follows; None for a packet that is whole.
fn piece(packet: &[u8]) -> Option<(usize, bool)> {
    let word = packet.get(6..8).map(|two| u16::from_be_bytes([two[0], two[1]]))?;
    let (offset, more) = (usize::from(word & OFFSET) * 8, word & MORE != 0);
    (packet.len() >= HEADER && (more || offset > 0)).then_some((offset, more))
}

/// What fragments of one packet have in common.
fn key(heard: &Heard) -> (super::rig::Side, Vec<u8>) {
    let packet = &heard.bytes;
    (heard.side, [&packet[4..6], &packet[9..10], &packet[12..20]].concat())
}

fn whole(parts: &[&Heard]) -> Option<Vec<u8>> {
    let mut pieces: Vec<(usize, bool, &[u8])> = Vec::new();
    let mut header = None;
    for part in parts {
        let (offset, more) = piece(&part.bytes)?;
        let length = usize::from(part.bytes[0] & 0xf) * 4;
        pieces.push((offset, more, part.bytes.get(length..)?));
        if offset == 0 {
            header = Some(part.bytes.get(..length)?);
        }
    }
    pieces.sort_by_key(|(offset, ..)| *offset);
    let mut body = Vec::new();
    let mut ended = false;
    for (offset, more, bytes) in pieces {
        if offset > body.len() {
            return None;
        }
        body.truncate(offset);
        body.extend(bytes);
        ended |= !more;
    }
    let mut packet = [header.filter(|_| ended)?, &body].concat();
    let total = u16::try_from(packet.len()).ok()?;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    // The bit that says "do not cut" stays.
    packet[6] &= 0x40;
    packet[7] = 0;
    finish_ip(&mut packet);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::rig::Side;
    use crate::packet::Packet;

    #[test]
    fn fragments_in_any_order_are_the_packet() {
        let packet = Packet::udp("10.0.0.2:1", "10.0.0.3:2").payload(&[3; 300]);
        let mut heard: Vec<Heard> = packet
            .fragments(64)
            .iter()
            .map(|part| Heard { side: Side::Outside, bytes: part.bytes() })
            .collect();
        heard.swap(0, 2);
        assert_eq!(join(&heard)[0].bytes, packet.ip_bytes());
        assert_eq!(join(&heard).len(), 1);
        heard.pop();
        assert_eq!(join(&heard).len(), heard.len());
    }
}
