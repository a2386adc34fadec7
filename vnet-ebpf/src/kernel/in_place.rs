//! Headers written in place, without a helper for each write.

use vnet_common::account::Reason;

use super::frame::Frame;
use crate::{
    checksum::Change,
    packet::Bytes,
    rewrite::{Field, Patch},
};

/// A packet whose headers are written in place: the kernel lets a program do that after it has made
/// sure that they are nobody else's too.
pub struct InPlace<'a>(pub &'a mut Frame);

impl InPlace<'_> {
    #[inline(always)]
    fn write<T: Copy>(&mut self, offset: u32, value: T) -> Result<(), Reason> {
        let start = self.0.linear(offset, size_of::<T>()).ok_or(Reason::Rewrite)?;
        // SAFETY: `linear` has checked that the bytes are there, which is also what the verifier asks
        // for, and they were read before. Alignment as in `words`.
        unsafe { core::ptr::write(start as *mut T, value) };
        Ok(())
    }
}

impl Bytes for InPlace<'_> {
    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.0.words(offset)
    }

    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        self.0.half(offset)
    }
}

impl Patch for InPlace<'_> {
    #[inline(always)]
    fn set_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> Result<(), Reason> {
        self.write(offset, *words)
    }

    #[inline(always)]
    fn set_half(&mut self, offset: u32, half: u16) -> Result<(), Reason> {
        self.write(offset, half)
    }

    #[inline(always)]
    fn set_bare_words<const N: usize>(
        &mut self,
        offset: u32,
        words: &[u32; N],
    ) -> Result<(), Reason> {
        self.0.set_bare_words(offset, words)
    }

    #[inline(always)]
    fn set_bare_half(&mut self, offset: u32, half: u16) -> Result<(), Reason> {
        self.0.set_bare_half(offset, half)
    }

    #[inline(always)]
    fn checksum(
        &mut self,
        offset: u32,
        change: Change,
        field: Field,
        pseudo: bool,
    ) -> Result<(), Reason> {
        self.0.checksum(offset, change, field, pseudo)
    }

    #[inline(always)]
    fn checksum_port(
        &mut self,
        offset: u32,
        old: u16,
        new: u16,
        field: Field,
    ) -> Result<(), Reason> {
        self.0.checksum_port(offset, old, new, field)
    }
}
