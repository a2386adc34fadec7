//! Checksums that are changed in place: to damage a packet, or to undo a translation, in such a way
//! that what was wrong before is wrong by the same amount after.

use crate::packet::{Protocol, internet_checksum};

/// Where a protocol has its checksum, from the start of its header.
pub fn field(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::TCP => Some(16),
        Protocol::UDP => Some(6),
        Protocol::ICMP => Some(2),
        Protocol(_) => None,
    }
}

/// Adds to a checksum field, in ones' complement. What comes out is never zero, which in UDP would
/// say something else.
pub fn add(field: &mut [u8], by: u16) {
    let old = u16::from_be_bytes([field[0], field[1]]);
    field.copy_from_slice(&sum(&[old, by]).to_be_bytes());
}

/// Follows a change of bytes that a checksum field covers, both of even length (RFC 1624). Zero is
/// written as all ones, its twin.
pub fn follow(field: &mut [u8], before: &[u8], after: &[u8]) {
    let old = !u16::from_be_bytes([field[0], field[1]]);
    // The checksum of bytes is the complement of their sum.
    let (gone, come) = (internet_checksum(before), !internet_checksum(after));
    let new = !sum(&[old, gone, come]);
    field.copy_from_slice(&(if new == 0 { 0xffff } else { new }).to_be_bytes());
}

/// Gives the IP header at the start of `packet` the checksum it asks for, as far as it is there.
pub fn finish_ip(packet: &mut [u8]) {
    let length = usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4;
    let Some(header) = packet.get_mut(..length).filter(|header| header.len() >= 20) else { return };
    header[10..12].fill(0);
    let sum = internet_checksum(header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
}

fn sum(words: &[u16]) -> u16 {
    let total: u32 = words.iter().map(|word| u32::from(*word)).sum();
    let folded = (total & 0xffff) + (total >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, faults};

    #[test]
    fn a_right_sum_stays_right_and_a_wrong_one_wrong() {
        let mut frame = Packet::udp("10.0.0.2:4000", "198.51.100.2:53").payload(b"abc").bytes();
        let before = frame[34..36].to_vec();
        frame[34..36].copy_from_slice(&9u16.to_be_bytes());
        let after = frame[34..36].to_vec();
        follow(&mut frame[40..42], &before, &after);
        assert!(faults(&frame).is_empty(), "{:?}", faults(&frame));
        add(&mut frame[40..42], 0x1234);
        assert_eq!(faults(&frame).len(), 1);
    }
}
