//! One program, one frame, no network: the kernel's own way of trying a program
//! (BPF_PROG_TEST_RUN).
//!
//! The kernel runs a loaded program on a frame and hands back its verdict and the frame it left.
//! What would have come next (a redirect, a drop) is not done. Limits to know: the frame has an
//! Ethernet header (and where that says IPv4, 20 more bytes), is shorter than a page, carries no
//! VLAN tag beside it, and its checksums count as complete.

use std::mem::{offset_of, size_of};
use std::time::Duration;

use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp};

use crate::netns::Netns;
use crate::packet::{Packet, explain};

/// What a traffic control program returns (linux/pkt_cls.h, and TCX_NEXT and so on of linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The next program decides, or the packet goes on (-1).
    Next,
    /// The packet goes on (0).
    Pass,
    /// The packet ends (2).
    Drop,
    /// The packet goes where the program said (7).
    Redirect,
    /// Another value.
    Other(i32),
}

impl Action {
    fn from_return(value: u32) -> Self {
        match value.cast_signed() {
            -1 => Self::Next,
            0 => Self::Pass,
            2 => Self::Drop,
            7 => Self::Redirect,
            other => Self::Other(other),
        }
    }
}

/// What a program made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a verdict nobody looks at tests nothing"]
pub struct Verdict {
    /// What is to be done with it.
    pub action: Action,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// The packet's mark as the program left it.
    pub mark: u32,
    /// How long the program took.
    pub took: Duration,
}

impl Verdict {
    /// The packet as the program left it.
    ///
    /// # Panics
    /// When it is no longer one.
    #[track_caller]
    pub fn packet(&self) -> Packet {
        let parsed = Packet::parse(&self.frame);
        parsed.unwrap_or_else(|why| panic!("the program left no packet ({why}): {self}"))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.action, explain(&self.frame))
    }
}

/// What the kernel lets a caller say about a frame besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The device whose hook the program sits at; it must exist in the namespace.
    pub ifindex: u32,
    /// The device the packet came in by; 0 for a packet of the host's own.
    pub ingress_ifindex: u32,
    /// The packet's mark.
    pub mark: u32,
    /// Bytes on the wire, when the frame stands for a longer packet (0 means as many as given).
    pub wire_len: u32,
    /// Segments the frame stands for, and the bytes of each.
    pub gso: (u32, u32),
}

/// `struct __sk_buff` of linux/bpf.h. What is not named in [`Context`] must be zero, or the kernel
/// refuses (net/bpf/test_run.c, convert___skb_to_skb).
#[repr(C)]
#[derive(Default)]
struct SkBuff {
    len: u32,
    pkt_type: u32,
    mark: u32,
    queue_mapping: u32,
    protocol: u32,
    vlan: [u32; 3],
    priority: u32,
    ingress_ifindex: u32,
    ifindex: u32,
    tc_index: u32,
    cb: [u32; 5],
    hash: u32,
    tc_classid: u32,
    data: u32,
    data_end: u32,
    napi_id: u32,
    family: u32,
    addresses: [u32; 10],
    ports: [u32; 2],
    data_meta: u32,
    flow_keys: u64,
    tstamp: u64,
    wire_len: u32,
    gso_segs: u32,
    sk: u64,
    gso_size: u32,
    tstamp_type: u32,
    hwtstamp: u64,
}

const _: () = assert!(size_of::<SkBuff>() == 192);
const _: () = assert!(offset_of!(SkBuff, data_meta) == 140);
const _: () = assert!(offset_of!(SkBuff, tstamp) == 152);
const _: () = assert!(offset_of!(SkBuff, hwtstamp) == 184);

/// Room for what a program may add to a frame.
const HEADROOM: usize = 256;

/// Runs a loaded program once, in a namespace, on one frame.
pub fn run(
    program: &SchedClassifier,
    netns: &Netns,
    context: &Context,
    frame: &[u8],
) -> Result<Verdict, ProgramError> {
    run_often(program, netns, context, frame, 1)
}

/// The same so often, each time on what the time before has left of the frame: how long one takes.
pub fn run_often(
    program: &SchedClassifier,
    netns: &Netns,
    context: &Context,
    frame: &[u8],
    repeat: u32,
) -> Result<Verdict, ProgramError> {
    let given = to_bytes(&SkBuff {
        ifindex: context.ifindex,
        ingress_ifindex: context.ingress_ifindex,
        mark: context.mark,
        wire_len: context.wire_len,
        gso_segs: context.gso.0,
        gso_size: context.gso.1,
        ..SkBuff::default()
    });
    let mut left = vec![0; frame.len() + HEADROOM];
    let mut left_context = vec![0; size_of::<SkBuff>()];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut left),
        ctx_in: Some(&given),
        ctx_out: Some(&mut left_context),
        repeat,
        ..TestRunOptions::new()
    };
    // The kernel looks ifindex up in the namespace of the thread that asks.
    let result = netns.run(|| program.test_run(options))?;
    left.truncate(result.data_size_out as usize);
    let mark = offset_of!(SkBuff, mark);
    let mark = left_context[mark..mark + 4].try_into().map_or(0, u32::from_ne_bytes);
    let action = Action::from_return(result.return_value);
    Ok(Verdict { action, frame: left, mark, took: result.duration })
}

/// What an XDP program returns (`enum xdp_action` of linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyAction {
    /// The packet ends (1).
    Drop,
    /// The packet goes on, to the kernel (2).
    Pass,
    /// The packet goes where the program said (4).
    Redirect,
    /// Another value.
    Other(u32),
}

impl EarlyAction {
    const fn from_return(value: u32) -> Self {
        match value {
            1 => Self::Drop,
            2 => Self::Pass,
            4 => Self::Redirect,
            other => Self::Other(other),
        }
    }
}

/// Runs a loaded XDP program once, in a namespace, on a frame that came in by a device.
pub fn run_early(
    program: &Xdp,
    netns: &Netns,
    ifindex: u32,
    frame: &[u8],
) -> Result<(EarlyAction, Vec<u8>), ProgramError> {
    run_early_often(program, netns, ifindex, frame, 1).map(|(action, left, _)| (action, left))
}

/// The same so often, as [`run_often`] does.
pub fn run_early_often(
    program: &Xdp,
    netns: &Netns,
    ifindex: u32,
    frame: &[u8],
    repeat: u32,
) -> Result<(EarlyAction, Vec<u8>, Duration), ProgramError> {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let given = [0, length, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
    let mut left = vec![0; frame.len() + HEADROOM];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut left),
        ctx_in: Some(&given),
        repeat,
        ..TestRunOptions::new()
    };
    let result = netns.run(|| program.test_run(options))?;
    left.truncate(result.data_size_out as usize);
    Ok((EarlyAction::from_return(result.return_value), left, result.duration))
}

fn to_bytes(buffer: &SkBuff) -> Vec<u8> {
    // SAFETY: repr(C) of integers whose sizes add up to the asserted 192 bytes, so there is no
    // padding; the borrow keeps the bytes alive while they are copied.
    let bytes = unsafe {
        std::slice::from_raw_parts(std::ptr::from_ref(buffer).cast::<u8>(), size_of::<SkBuff>())
    };
    bytes.to_vec()
}
