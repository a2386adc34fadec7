//! One CPU for everything that is measured, and its time.
//!
//! Packets are carried by soft interrupts, which the kernel charges to the thread they interrupt:
//! the sender itself, since all happens on its CPU, or that CPU's `ksoftirqd` when there are many.
//! The sum of both threads' time is steadier than the clock on the wall of a shared machine.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Measures the calling thread, which it keeps on one CPU.
#[derive(Debug)]
pub(super) struct Meter {
    ksoftirqd: Option<PathBuf>,
    before: Duration,
}

/// The CPU that all measured threads share: the last, for the first has most of the interrupts.
fn number() -> usize {
    thread::available_parallelism().map_or(0, |count| count.get() - 1)
}

/// Keeps the calling thread on the CPU that all measured threads share.
pub(super) fn pin() -> Result<()> {
    pin_to(number())
}

/// Keeps the calling thread on one CPU.
pub(super) fn pin_to(number: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(number);
    sched_setaffinity(None, &set).context("a thread cannot be kept on one CPU")
}

impl Meter {
    /// Begins.
    pub(super) fn start() -> Result<Self> {
        pin()?;
        let mut meter = Self { ksoftirqd: ksoftirqd(number()), before: Duration::ZERO };
        meter.before = meter.used();
        Ok(meter)
    }

    /// CPU time spent since the beginning.
    pub(super) fn cpu(&self) -> Duration {
        self.used().saturating_sub(self.before)
    }

    fn used(&self) -> Duration {
        let own = clock_gettime(ClockId::ThreadCPUTime);
        let own = Duration::try_from(own).unwrap_or_default();
        own + self.ksoftirqd.as_ref().and_then(on_cpu).unwrap_or_default()
    }
}

/// Where the kernel says how long a CPU's soft interrupt thread has run. A container may not see it.
fn ksoftirqd(cpu: usize) -> Option<PathBuf> {
    let name = format!("ksoftirqd/{cpu}");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut named = processes.filter(|process| {
        fs::read_to_string(process.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    named.next().map(|process| process.path().join("schedstat"))
}

/// The first number of a schedstat file: nanoseconds on a CPU.
fn on_cpu(schedstat: &PathBuf) -> Option<Duration> {
    let text = fs::read_to_string(schedstat).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}
