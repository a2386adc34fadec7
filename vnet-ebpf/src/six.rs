//! What becomes of an IPv6 packet: read once, then by prefix, else by address, else left alone.

use vnet_common::{account::Reason, flow::Direction, policy::role};

use crate::{
    account, hairpin6,
    kernel::{
        self,
        desk::desk,
        frame::{Frame, Skb},
        maps,
    },
    known, learn_path, nat66,
    npt::{vnet_npt_hairpin, vnet_npt_in, vnet_npt_out},
    packet6::{self, EXTENSIONS, Kind6, Packet6},
    sort, sort6,
};

/// Not an end: the packet is on the desk.
const READ: u32 = 0xff;

/// Decides about an IPv6 packet on its way out, and says and counts its end.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_six_out(skb: Skb) -> i32 {
    let frame = &Frame::new(skb);
    let code = match vnet_read6(frame.skb()) {
        READ if on_uplink(frame) => match vnet_npt_out(frame.skb()) {
            code if code == Reason::Ipv6 as u32 => nat66::out(frame),
            code => code,
        },
        end if end == Reason::Ipv6 as u32 && nat66::is_from_inside(frame) => {
            Reason::IcmpType as u32
        }
        READ => hairpin6::outward(frame),
        end => end,
    };
    finish(frame, Direction::Out, code)
}

/// Decides about an IPv6 packet on its way in, as [`vnet_six_out`] does.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_six_in(skb: Skb) -> i32 {
    let frame = &Frame::new(skb);
    let code = match vnet_read6(frame.skb()) {
        READ if has_role(frame, role::SORTER) => return sort6::vnet_come_back66(frame.skb()),
        READ if on_uplink(frame) => match vnet_npt_in(frame.skb()) {
            code if code == Reason::Ipv6 as u32 => nat66::inward(frame),
            code => code,
        },
        READ => match vnet_npt_hairpin(frame.skb()) {
            code if code == Reason::Ipv6 as u32 => hairpin6::inward(frame),
            code => code,
        },
        end if end == Reason::Malformed as u32 => Reason::MalformedIn as u32,
        end => end,
    };
    finish(frame, Direction::In, code)
}

#[inline(always)]
fn on_uplink(frame: &Frame) -> bool {
    has_role(frame, role::UPLINK)
}

#[inline(always)]
fn has_role(frame: &Frame, role: u32) -> bool {
    maps::link(frame.device()).is_some_and(|link| link.roles & role != 0)
}

#[inline(always)]
fn finish(frame: &Frame, direction: Direction, code: u32) -> i32 {
    account::log6(frame, direction, code);
    let payload = desk().map_or(0, |desk| desk.six.payload);
    let verdict = account::tally(frame, payload, code);
    if code == Reason::Sorted as u32 {
        return sort::redirect(frame);
    }
    // What comes back has not come in where it seems to.
    let learns = direction == Direction::Out && !frame.is_back();
    frame.forget_detour();
    if learns { learn_path::or_verdict(code, verdict) } else { verdict }
}

/// Puts the packet on the desk: [`READ`], or its end.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_read6(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let (l3, length) = (
        maps::link(frame.device()).map(|link| known::network_header(&frame, link)),
        frame.length(),
    );
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    desk.six = Packet6::UNKNOWN;
    let Some(l3) = l3 else { return Reason::Unmanaged as u32 };
    match read(&mut frame, &mut desk.six, l3, length) {
        Ok(()) if desk.six.kind == Kind6::Link => Reason::Ipv6 as u32,
        Ok(()) => READ,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn read(frame: &mut Frame, packet: &mut Packet6, l3: u32, length: u32) -> Result<(), Reason> {
    packet6::begin(frame, packet, l3, length)?;
    walk(frame, packet);
    packet6::finish(frame, packet)
}

/// Goes past the extension headers, [`EXTENSIONS`] at most.
#[inline(always)]
pub fn walk(frame: &Frame, packet: &mut Packet6) {
    if packet6::extended(packet) {
        kernel::repeat(EXTENSIONS, step, &mut Walk { frame, packet });
    }
}

/// A packet whose extension headers are walked.
struct Walk<'a> {
    frame: &'a Frame,
    packet: &'a mut Packet6,
}

extern "C" fn step(_turn: u64, walk: &mut Walk<'_>) -> i64 {
    i64::from(packet6::step(walk.frame, walk.packet).is_none())
}
