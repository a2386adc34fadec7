//! A refusal is answered: the sender is told by ICMP why nothing comes back (RFC 5508 REQ-8), as
//! often as the kernel itself would (RFC 1812 section 4.3.2.8).
//!
//! The refused packet becomes the answer and is sent back by the device it came in on. It quotes the
//! IP header and as much of what follows as tells the sender which connection is meant.

use vnet_common::{
    Ipv4,
    account::Reason,
    answer::{Limit, SYN_SILENCE, Unsolicited},
    flow::{flag, proto},
    policy::config_flag,
};

use crate::{
    account::SHOT,
    checksum,
    kernel::{
        answers,
        atomic::bound,
        clock,
        desk::desk,
        fib,
        frame::{Frame, Skb, Wire},
        maps, reply,
    },
    packet::{IPV4_HEADER, Kind, Packet, Part},
};

/// Codes of "destination unreachable" (RFC 792, RFC 1812).
pub mod code {
    /// Port unreachable.
    pub const PORT: u32 = 3;
    /// Communication administratively prohibited.
    pub const PROHIBITED: u32 = 13;
}

/// Bit `n` is set when reason number `n` refuses a connection for want of room.
const REFUSALS: u64 = 1 << Reason::PortsExhausted as u32
    | 1 << Reason::FlowsFull as u32
    | 1 << Reason::HostPorts as u32
    | 1 << Reason::HostFlows as u32;

/// Words of the headers before the quote: IP and ICMP.
const HEADERS: usize = 7;
/// The longest quote, in bytes: a multiple of four below 128.
const QUOTE_MAX: u32 = 0x7c;
/// Words of the longest answer.
const WORDS: usize = HEADERS + QUOTE_MAX as usize / 4;

/// Type of "destination unreachable".
const UNREACHABLE: u32 = 3;
/// Internetwork control, as the kernel's own errors have it (RFC 1812 section 4.3.2.5).
const TOS: u32 = 0xc0;
const TTL: u32 = 64;

/// The answer while it is written: an IPv4 packet, its words as they lie in memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Answer {
    words: [u32; WORDS],
}

/// What becomes of a packet whose end was counted: it is answered if it was refused; if not, or if
/// there is no answer, the verdict stays.
#[inline(always)]
#[must_use]
pub fn or_verdict(frame: &Frame, reason: u32, verdict: i32) -> i32 {
    if reason == Reason::Filtered as u32 && vnet_syn_is_late() != 0 {
        let own = desk().map_or(0, |desk| u32::from_ne_bytes(desk.packet.key.daddr));
        return vnet_answer(frame.skb(), code::PORT, frame.device(), own);
    }
    if REFUSALS >> (reason & 63) & 1 == 0 {
        return verdict;
    }
    let Some(desk) = desk() else { return verdict };
    // Nor is anybody told more than once about one datagram (RFC 1122 section 3.2.2).
    if desk.packet.part == Part::Later {
        return verdict;
    }
    // Nobody outside is told that there is no room.
    if desk.opening.flags & (flag::INVITED | flag::FORWARD) != 0 {
        return verdict;
    }
    let own = u32::from_ne_bytes(desk.opening.addr);
    vnet_answer(frame.skb(), code::PROHIBITED, frame.arrived_on(), own)
}

/// Whether the packet on the desk, which filtering does not let in, is a SYN that has been coming for
/// so long that its sender shall be told (RFC 5382 REQ-4). Until then the inside may open the same
/// connection from its end.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_syn_is_late() -> u32 {
    let Some(desk) = desk() else { return 0 };
    let packet = &desk.packet;
    if packet.kind != Kind::Tcp || !packet.segment.opens() {
        return 0;
    }
    let (key, sequence, now) = (packet.key, packet.segment.seq, clock::now());
    match answers::first_seen(&key, sequence) {
        Some(since) => u32::from(now.saturating_sub(since) >= SYN_SILENCE),
        None => {
            answers::remember(&key, &Unsolicited { since: now, sequence, reserved: 0 });
            0
        }
    }
}

/// Makes the packet on the desk an answer and sends it to `device`. It comes from `own`, unless the
/// kernel names an address that its receiver knows better. Returns the verdict.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_answer(skb: Skb, code: u32, device: u32, own: u32) -> i32 {
    let mut frame = Frame::new(skb);
    let Some(config) = maps::config() else { return SHOT };
    let to = desk().map_or([0; 4], |desk| desk.packet.key.saddr);
    // What this host makes itself came in nowhere.
    let wanted = config.flags & config_flag::ANSWER != 0 && device != 0;
    if !wanted || !spend(to, Limit::EACH) || !spend(answers::all(code), Limit::ALL) {
        return SHOT;
    }
    // Who has sent to one of our addresses hears from that one.
    let named = if code == code::PORT { None } else { fib::source(&frame, device, to) };
    let from = named.map_or(own, u32::from_ne_bytes);
    let Some(desk) = desk() else { return SHOT };
    let Some(quote) = begin(&mut frame, &desk.packet, &mut desk.answer) else { return SHOT };
    write(&mut desk.answer, quote, (from, u32::from_ne_bytes(to)), code);
    if !frame.put(desk.packet.l3, &desk.answer.words, HEADERS as u32 * 4 + quote) {
        return SHOT;
    }
    let bytes = u64::from(frame.length());
    maps::count(Reason::IcmpSent as u32, Wire { packets: 1, bytes });
    frame.send_to(device, desk.packet.l3)
}

/// Notes what to quote, makes the frame as long as its answer, and returns how many bytes are quoted.
#[inline(always)]
fn begin(frame: &mut Frame, packet: &Packet, answer: &mut Answer) -> Option<u32> {
    let enough = if packet.key.proto == proto::TCP { 20 } else { 8 };
    let header = packet.l4.wrapping_sub(packet.l3);
    let rest = packet.end.wrapping_sub(packet.l4).min(enough);
    let quote = bound::<QUOTE_MAX>((header + rest).into()) as u32;
    if quote < IPV4_HEADER || !frame.copy(packet.l3, &mut answer.words, HEADERS, quote) {
        return None;
    }
    frame.resize(packet.l3, HEADERS as u32 * 4 + quote).then_some(quote)
}

/// Writes the headers.
#[inline(always)]
fn write(answer: &mut Answer, quote: u32, (from, to): (u32, u32), code: u32) {
    let words = &mut answer.words;
    let kind = TTL << 24 | u32::from(proto::ICMP) << 16;
    (words[0], words[1]) = ((0x4500_0000 | TOS << 16 | (HEADERS as u32 * 4 + quote)).to_be(), 0);
    (words[2], words[3], words[4]) = (kind.to_be(), from, to);
    let sum = checksum::of(words[..5].iter().map(|word| u64::from(*word)).sum());
    words[2] = with_second(kind, sum);
    let kind = UNREACHABLE << 24 | code << 16;
    (words[5], words[6]) = (kind.to_be(), 0);
    let sum = checksum::of(reply::sum(words, 5, 8 + quote));
    words[5] = with_second(kind, sum);
}

/// A word whose second half is a checksum, as it lies in memory.
#[inline(always)]
fn with_second(word: u32, checksum: u16) -> u32 {
    (word | u32::from(u16::from_be(checksum))).to_be()
}

/// Takes one answer out of a budget, if there is one left.
#[inline(always)]
fn spend(to: Ipv4, limit: Limit) -> bool {
    let left = limit.spend(answers::budget(to), clock::now());
    left.is_some_and(|left| answers::keep(to, &left))
}
