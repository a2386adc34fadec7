//! Writes a translation into a packet: addresses, ports and every checksum that covers them.
//!
//! Checksums are changed by what the words they cover changed by, never computed anew, so a packet
//! that was damaged before stays recognisably damaged (RFC 3022 section 4.2).

use vnet_common::{Ipv4, account::Reason};

use crate::{
    checksum::Change,
    packet::{Bytes, Kind, Packet},
};

/// How a transport checksum is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// TCP and ICMP.
    Plain,
    /// UDP: 0 means "none" and stays 0; a computed 0 is written as 0xffff (RFC 768).
    Udp,
}

/// A packet that can be changed.
pub trait Patch: Bytes {
    /// Overwrites words, given as they shall lie in memory. No checksum follows by itself.
    fn set_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> Result<(), Reason>;

    /// Overwrites half a word, given as it shall lie in memory. No checksum follows by itself.
    fn set_half(&mut self, offset: u32, half: u16) -> Result<(), Reason>;

    /// Overwrites words of a header that has no checksum to make up for it (IPv6's): the sum that a device
    /// may have made of the whole packet follows.
    fn set_bare_words<const N: usize>(
        &mut self,
        offset: u32,
        words: &[u32; N],
    ) -> Result<(), Reason> {
        self.set_words(offset, words)
    }

    /// The same for half a word.
    fn set_bare_half(&mut self, offset: u32, half: u16) -> Result<(), Reason> {
        self.set_half(offset, half)
    }

    /// Changes the transport checksum at `offset`. `pseudo`: the change is in the pseudo-header,
    /// which counts even while the sender's hardware has yet to finish the sum.
    fn checksum(
        &mut self,
        offset: u32,
        change: Change,
        field: Field,
        pseudo: bool,
    ) -> Result<(), Reason>;

    /// Changes the transport checksum at `offset` for one port.
    fn checksum_port(
        &mut self,
        offset: u32,
        old: u16,
        new: u16,
        field: Field,
    ) -> Result<(), Reason>;
}

/// The tuple a packet shall have. Aligned as [`vnet_common::flow::FlowKey`] is.
#[repr(align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Source address.
    pub saddr: Ipv4,
    /// Destination address.
    pub daddr: Ipv4,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

/// Gives a TCP, UDP or ICMP query packet the tuple of `target`.
#[inline(always)]
pub fn apply(frame: &mut impl Patch, packet: &Packet, target: &Target) -> Result<(), Reason> {
    let change = addresses(frame, packet.l3, target.saddr, target.daddr)?;
    transport(frame, packet, target, change)
}

/// The same, and takes one from the TTL (RFC 1812 section 5.3.1), which must be there.
#[inline(always)]
pub fn forward(frame: &mut impl Patch, packet: &Packet, target: &Target) -> Result<(), Reason> {
    let change = header(frame, packet.l3, target.saddr, target.daddr, 1 << 24)?;
    transport(frame, packet, target, change)
}

/// Takes one from the TTL of a packet that keeps its tuple.
#[inline(always)]
pub fn age(frame: &mut impl Patch, packet: &Packet) -> Result<(), Reason> {
    header(frame, packet.l3, packet.key.saddr, packet.key.daddr, 1 << 24).map(|_| ())
}

/// Ports and checksum, given what the addresses have changed by.
#[inline(always)]
fn transport(
    frame: &mut impl Patch,
    packet: &Packet,
    target: &Target,
    change: Change,
) -> Result<(), Reason> {
    let key = &packet.key;
    let (field, offset) = match packet.kind {
        Kind::Tcp => (Field::Plain, packet.l4 + 16),
        Kind::Udp => (Field::Udp, packet.l4 + 6),
        Kind::Query | Kind::Reply => return identifier(frame, packet, target),
        Kind::Other if pseudo_header(key.proto) => {
            return frame.checksum(packet.l4 + 6, change, Field::Plain, true);
        }
        Kind::Error | Kind::OtherIcmp | Kind::Fragment | Kind::Other => return Ok(()),
    };
    frame.checksum(offset, change, field, true)?;
    if key.sport != target.sport {
        frame.checksum_port(offset, key.sport, target.sport, field)?;
        frame.set_half(packet.l4, target.sport.to_be())?;
    }
    if key.dport != target.dport {
        frame.checksum_port(offset, key.dport, target.dport, field)?;
        frame.set_half(packet.l4 + 2, target.dport.to_be())?;
    }
    Ok(())
}

/// Whether a protocol whose ports are not looked at has a checksum over addresses: DCCP (RFC 4340)
/// and UDP-Lite (RFC 3828) have it where UDP has.
#[inline(always)]
#[must_use]
pub fn pseudo_header(proto: u8) -> bool {
    matches!(proto, 33 | 136)
}

/// The ICMP query identifier (RFC 792), which a key has as both ports. Its checksum knows no
/// pseudo-header.
#[inline(always)]
fn identifier(frame: &mut impl Patch, packet: &Packet, target: &Target) -> Result<(), Reason> {
    let (old, new) = (packet.key.sport, target.sport);
    if new == old {
        return Ok(());
    }
    frame.checksum_port(packet.l4 + 2, old, new, Field::Plain)?;
    frame.set_half(packet.l4 + 4, new.to_be())
}

/// Gives the IP header at `l3` another identification and its own checksum. It is no part of a
/// pseudo-header.
#[inline(always)]
pub fn identification(frame: &mut impl Patch, l3: u32, id: u16) -> Result<(), Reason> {
    let old = frame.half(l3 + 4).ok_or(Reason::Rewrite)?;
    let sum = frame.half(l3 + 10).ok_or(Reason::Rewrite)?;
    let id = id.to_be();
    frame.set_half(l3 + 4, id)?;
    frame.set_half(l3 + 10, Change::NONE.half(old, id).apply(sum))
}

/// Gives the IP header at `l3` another TTL and its own checksum, and returns what it was.
#[inline(always)]
pub fn ttl(frame: &mut impl Patch, l3: u32, ttl: u8) -> Result<u8, Reason> {
    let old = frame.half(l3 + 8).ok_or(Reason::Rewrite)?;
    let sum = frame.half(l3 + 10).ok_or(Reason::Rewrite)?;
    let [was, proto] = old.to_ne_bytes();
    let new = u16::from_ne_bytes([ttl, proto]);
    frame.set_half(l3 + 8, new)?;
    frame.set_half(l3 + 10, Change::NONE.half(old, new).apply(sum))?;
    Ok(was)
}

/// Gives the IP header at `l3` new addresses and its own checksum, and returns what that means for
/// a pseudo-header.
#[inline(always)]
pub fn addresses(
    frame: &mut impl Patch,
    l3: u32,
    saddr: Ipv4,
    daddr: Ipv4,
) -> Result<Change, Reason> {
    header(frame, l3, saddr, daddr, 0)
}

/// The same, and takes `less` from the word that begins with the TTL.
#[inline(always)]
fn header(
    frame: &mut impl Patch,
    l3: u32,
    saddr: Ipv4,
    daddr: Ipv4,
    less: u32,
) -> Result<Change, Reason> {
    let old: [u32; 3] = frame.words(l3 + 8).ok_or(Reason::Rewrite)?;
    let (saddr, daddr) = (u32::from_ne_bytes(saddr), u32::from_ne_bytes(daddr));
    let change = Change::NONE.word(old[1], saddr).word(old[2], daddr);
    // The checksum is the second half of the word that begins with TTL and protocol.
    let start = u32::from_be(old[0]);
    let (before, after) = (start >> 16, start.wrapping_sub(less) >> 16);
    let whole = change.half((before as u16).to_be(), (after as u16).to_be());
    let sum = u16::from_be(whole.apply((start as u16).to_be()));
    let start = after << 16 | u32::from(sum);
    frame.set_words(l3 + 8, &[start.to_be(), saddr, daddr])?;
    Ok(change)
}
