//! The works, and how much of each makes a sample.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::contender::Contender;
use super::scene::Scene;
use super::series::Sample;
use super::{attach, bulk, connect, cores, latency, mapping, packets, stages, verify};

/// A kind of work, as one asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Short UDP packets from the generator in the kernel.
    Udp,
    /// The same from several CPUs at once.
    Cores,
    /// TCP streams as fast as they go (iperf3).
    Bulk,
    /// Request and response, one after the other.
    Latency,
    /// TCP connections opened and closed, one after the other.
    Connect,
    /// New mappings while ports are many, few, and none.
    Mapping,
    /// Beginning, and being changed.
    Attach,
    /// Memory of a connection.
    Memory,
    /// What the verifier walks.
    Verify,
    /// The programs alone, stage by stage.
    Stages,
}

/// One work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// So many flows take turns.
    Udp { flows: u32 },
    /// From several CPUs at once.
    Cores,
    /// With the devices cutting and joining segments, or every packet on its own; and so many streams.
    Bulk { segmentation: bool, streams: u32 },
    /// UDP and TCP.
    Latency,
    /// Connections.
    Connect,
    /// New mappings.
    Mapping,
    /// Beginning, and being changed.
    Attach,
    /// Memory of a connection.
    Memory,
    /// What the verifier walks.
    Verify,
    /// The programs alone.
    Stages,
}

/// How much is done for one sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// How long packets are generated.
    pub(super) packets: Duration,
    /// How long a TCP stream runs; iperf3 takes whole seconds.
    pub(super) bulk_seconds: u32,
    /// Requests.
    pub(super) requests: u32,
    /// Connections; at most a few thousand, for each holds its port for a minute.
    pub(super) connections: u32,
}

impl Budget {
    /// For numbers that mean something.
    pub(super) const FULL: Self = Self {
        packets: Duration::from_millis(500),
        bulk_seconds: 2,
        requests: 10_000,
        connections: 1_000,
    };
    /// For seeing that it works.
    pub(super) const QUICK: Self = Self {
        packets: Duration::from_millis(100),
        bulk_seconds: 1,
        requests: 500,
        connections: 100,
    };
}

impl Work {
    /// The works of these kinds.
    pub(super) fn list(kinds: &[Kind], flows: &[u32]) -> Vec<Self> {
        let works = kinds.iter().flat_map(|kind| match kind {
            Kind::Udp => flows.iter().map(|&flows| Self::Udp { flows }).collect(),
            Kind::Cores => vec![Self::Cores],
            Kind::Bulk => [(true, 1), (true, 8), (false, 1), (false, 8)]
                .map(|(segmentation, streams)| Self::Bulk { segmentation, streams })
                .to_vec(),
            Kind::Latency => vec![Self::Latency],
            Kind::Connect => vec![Self::Connect],
            Kind::Mapping => vec![Self::Mapping],
            Kind::Attach => vec![Self::Attach],
            Kind::Memory => vec![Self::Memory],
            Kind::Verify => vec![Self::Verify],
            Kind::Stages => vec![Self::Stages],
        });
        works.collect()
    }

    /// Whether it tells something about this contender.
    pub(super) fn compares(self, contender: Contender) -> bool {
        match self {
            Self::Verify | Self::Memory | Self::Stages => return contender == Contender::Vnet,
            Self::Attach => return matches!(contender, Contender::Nft | Contender::Vnet),
            // So many are more than its table has room for, and that is the whole machine's.
            Self::Udp { flows } if contender == Contender::Nft => return flows <= tracked(),
            Self::Udp { .. }
            | Self::Cores
            | Self::Bulk { .. }
            | Self::Latency
            | Self::Connect
            | Self::Mapping => {}
        }
        match contender {
            Contender::Direct | Contender::Kernel | Contender::Tc | Contender::Slow => {
                self != Self::Mapping
            }
            // What is joined by the devices does not fit into XDP's frames.
            Contender::Xdp | Contender::XdpLookup | Contender::VnetXdp => {
                matches!(self, Self::Udp { .. } | Self::Cores)
            }
            Contender::Nft | Contender::Vnet => true,
            Contender::Events => self == Self::Mapping,
        }
    }

    /// Does it once, and returns what was measured.
    pub(super) fn sample(
        self,
        scene: &Scene,
        generator: &[u8],
        budget: Budget,
    ) -> Result<Vec<Sample>> {
        match self {
            Self::Udp { flows } => packets::sample(scene, generator, flows, budget.packets),
            Self::Cores => cores::sample(scene.contender, generator, budget.packets),
            Self::Bulk { segmentation, streams } => {
                bulk::sample(scene, (segmentation, streams), budget.bulk_seconds)
            }
            Self::Latency => latency::sample(scene, budget.requests),
            Self::Connect => connect::sample(scene, budget.connections),
            Self::Mapping => mapping::sample(scene.contender, generator),
            Self::Attach => Ok(attach::sample(scene.contender)),
            Self::Memory => attach::memory(scene.contender, generator),
            Self::Verify => verify::sample(),
            Self::Stages => stages::sample(),
        }
    }
}

/// How many connections the kernel tracks at most; any number where it does not tell.
fn tracked() -> u32 {
    let most = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max");
    most.ok().and_then(|most| most.trim().parse().ok()).unwrap_or(u32::MAX)
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { flows: 1 } => f.write_str("60-byte UDP, 1 flow"),
            Self::Udp { flows } => write!(f, "60-byte UDP, {flows} flows"),
            Self::Cores => f.write_str("60-byte UDP from several CPUs"),
            Self::Bulk { segmentation, streams } => {
                let word = if *segmentation { "on" } else { "off" };
                write!(f, "TCP bulk, {streams} streams, TSO and GRO {word}")
            }
            Self::Latency => f.write_str("request and response"),
            Self::Connect => f.write_str("TCP connections"),
            Self::Mapping => f.write_str("new UDP mappings"),
            Self::Attach => f.write_str("attach and change"),
            Self::Memory => f.write_str("memory"),
            Self::Verify => f.write_str("verified instructions"),
            Self::Stages => f.write_str("programs alone"),
        }
    }
}
