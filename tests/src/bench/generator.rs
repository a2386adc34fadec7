//! The generator's eBPF object at one end of a scene.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::maps::PerCpuArray;
use aya::programs::xdp::{XdpLinkId, XdpMode};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};

use crate::link::Port;
use crate::netns::Netns;

/// 16-bit words of the headers that the generator writes.
const HEADERS: usize = 21;
/// Frames the kernel makes at once; a veth's ring takes 256.
const BATCH: u32 = 64;

/// What the generator sends; the program itself fills in ports and checksums.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    /// A whole frame with source port 0.
    pub(super) frame: Vec<u8>,
    /// How many.
    pub(super) count: u32,
    /// Number of the first one.
    pub(super) first: u32,
}

/// Packets that have arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrived {
    /// From where they should come.
    pub(super) expected: u64,
    /// From elsewhere.
    pub(super) strange: u64,
}

/// The object, loaded for one end.
#[derive(Debug)]
pub(super) struct End<'a> {
    object: Ebpf,
    netns: &'a Netns,
    index: u32,
}

impl<'a> End<'a> {
    /// Loads the object for a device where packets from `source` are expected, and which may send.
    pub(super) fn load(
        object: &[u8],
        (netns, port): (&'a Netns, &Port),
        source: Ipv4Addr,
        flows: &Flows,
    ) -> Result<Self> {
        let source = words::<2>(&source.octets());
        let (frame, sum) = (words::<HEADERS>(&flows.frame), u32::from(!checksum(&flows.frame)));
        let mut headers = frame;
        headers[HEADERS - 1] = 0;
        let mut object = EbpfLoader::new()
            .override_global("FRAME", &headers, true)
            .override_global("SUM", &sum, true)
            .override_global("FLOWS", &flows.count, true)
            .override_global("FIRST", &flows.first, true)
            .override_global("DEVICE", &port.index, true)
            .override_global("SOURCE", &source, true)
            .load(object)
            .context("the generator is no eBPF object that this kernel takes")?;
        for (name, program) in object.programs_mut() {
            // What is in the middle is none of the ends' business.
            let Ok(program) = <&mut Xdp>::try_from(program) else { continue };
            program.load().with_context(|| format!("the kernel refuses the generator's {name}"))?;
        }
        Ok(Self { object, netns, index: port.index })
    }

    /// Lets a program see what the device receives, until it is detached.
    pub(super) fn attach(&mut self, name: &str) -> Result<XdpLinkId> {
        let (netns, index) = (self.netns, self.index);
        let program = self.program(name)?;
        netns
            .run(|| program.attach_to_if_index(index, XdpMode::Driver))
            .with_context(|| format!("the generator's {name} cannot be attached"))
    }

    /// Takes the program from the device.
    pub(super) fn detach(&mut self, name: &str, link: XdpLinkId) -> Result<()> {
        Ok(self.program(name)?.detach(link)?)
    }

    /// Sends packets, and says how long the kernel took for all of them, without what it does
    /// before the first and after the last. The calling thread must be in this end's namespace.
    pub(super) fn send(&mut self, frame: &[u8], count: u32) -> Result<Duration> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let run = self.program("generate")?.test_run(options);
        Ok(run.context("the kernel runs no live frames")?.duration * count)
    }

    /// How many packets have arrived so far.
    pub(super) fn arrived(&self) -> Result<Arrived> {
        let map = self.object.map("arrived").context("the generator has no map `arrived`")?;
        let map = PerCpuArray::<_, u64>::try_from(map)?;
        let total = |index| Ok::<_, anyhow::Error>(map.get(&index, 0)?.iter().sum());
        Ok(Arrived { expected: total(0)?, strange: total(1)? })
    }

    fn program(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self.object.program_mut(name);
        let program = program.with_context(|| format!("the generator has no program {name}"))?;
        Ok(program.try_into()?)
    }
}

/// The first `N` words, in the order of the wire.
fn words<const N: usize>(bytes: &[u8]) -> [u16; N] {
    std::array::from_fn(|word| u16::from_ne_bytes([bytes[2 * word], bytes[2 * word + 1]]))
}

/// The UDP checksum of a frame.
fn checksum(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[2 * HEADERS - 2], frame[2 * HEADERS - 1]])
}
