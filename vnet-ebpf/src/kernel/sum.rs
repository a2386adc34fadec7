//! Checksums over any number of bytes, read as they are.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_csum_diff, bpf_skb_load_bytes};

use super::{atomic::bound, desk::desk, frame::Frame, repeat};

/// Bytes added at once.
const CHUNK: u32 = 64;
/// Chunks at most: as many as a packet of 64 KiB has.
const CHUNKS: u32 = 1024;

/// A sum under way; it lies on the desk.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sum {
    /// Offset of the next byte.
    next: u32,
    /// Offset of the end.
    end: u32,
    /// The sum so far.
    sum: u32,
    /// 1 when a byte could not be read.
    failed: u32,
    /// What is being added.
    chunk: [u32; (CHUNK / 4) as usize],
}

/// Whether the bytes from `start` to `end`, their checksum among them, add up (RFC 1071).
#[inline(always)]
#[must_use]
pub fn adds_up(frame: &mut Frame, start: u32, end: u32) -> bool {
    adds_up_with(frame, 0, start, end)
}

/// Whether they do with what else their checksum covers, which adds up to `before`.
#[inline(always)]
#[must_use]
pub fn adds_up_with(frame: &mut Frame, before: u32, start: u32, end: u32) -> bool {
    let Some(desk) = desk() else { return false };
    (desk.sum.next, desk.sum.end, desk.sum.sum, desk.sum.failed) = (start, end, before, 0);
    repeat(CHUNKS, add, frame);
    let sum = desk.sum.sum;
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    desk.sum.failed == 0 && folded == 0xffff
}

/// Adds one chunk; returns 1 when there is no more.
extern "C" fn add(_turn: u64, frame: &mut Frame) -> i64 {
    let Some(desk) = desk() else { return 1 };
    let work = &mut desk.sum;
    let left = work.end.saturating_sub(work.next);
    if left == 0 {
        return 1;
    }
    let chunk: *mut c_void = work.chunk.as_mut_ptr().cast();
    let size = if left >= CHUNK {
        CHUNK
    } else {
        work.chunk = [0; (CHUNK / 4) as usize];
        left
    };
    // Between 1 and 64, in words the verifier understands.
    let size = bound::<63>((size - 1).into()) as u32 + 1;
    // SAFETY: the chunk has room for 64 bytes, and the helper checks the offset; all of the chunk is
    // initialised.
    let (refused, sum) = unsafe {
        let refused = bpf_skb_load_bytes(frame.skb().cast(), work.next, chunk, size);
        let to = work.chunk.as_mut_ptr();
        (refused, bpf_csum_diff(core::ptr::null_mut(), 0, to, CHUNK, work.sum))
    };
    if refused != 0 {
        work.failed = 1;
        return 1;
    }
    (work.sum, work.next) = (sum as u32, work.next + CHUNK);
    0
}
