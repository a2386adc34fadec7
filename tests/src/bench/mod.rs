//! What `cargo xtask bench` measures: the same work by every way a packet can take through a
//! router, in private labs.
//!
//! Promise: the contenders take turns within every round, so that a machine that grows slower
//! wrongs nobody; packets that arrive with another source than the contender must give them end
//! the run with an error; number and time of everything are bounded. What comes out are samples:
//! medians and ratios are made by who asked.

mod attach;
mod bulk;
mod connect;
mod contender;
mod cores;
mod cpu;
mod generator;
mod latency;
mod limit;
mod mapping;
mod packets;
mod scene;
mod series;
mod stages;
mod verify;
mod work;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use vnet_common::policy::Config;

use self::contender::Contender;
use self::scene::Scene;
pub use self::series::Series;
use self::work::{Budget, Work};

/// The most flows. The kernel's own table, which nftables fills, often holds fewer: then it has no turn.
const MOST_FLOWS: u32 = 1_000_000;
/// The most rounds: closed connections hold their ports for a while, and ports run out.
const MOST_ROUNDS: u32 = 20;

/// Set by Ctrl-C: no further sample is taken, and the labs are removed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How often every contender has its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=MOST_ROUNDS as i64))]
    pub rounds: u32,
    /// Numbers of UDP flows
    #[arg(long, value_delimiter = ',', default_value = "1,1000,64000",
          value_parser = clap::value_parser!(u32).range(1..=MOST_FLOWS as i64))]
    pub flows: Vec<u32>,
    /// Ways to compare
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "direct,kernel,nft,tc,xdp,slow,vnet,events"
    )]
    pub contenders: Vec<Contender>,
    /// Works to do
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "udp,cores,latency,connect,bulk,mapping,attach,memory,verify,stages"
    )]
    pub works: Vec<work::Kind>,
    /// Take short samples: to see that it works, not how fast it is
    #[arg(long)]
    pub quick: bool,
    /// The generator's eBPF object
    #[arg(long, value_name = "PATH")]
    pub generator: PathBuf,
}

/// Measures; the progress goes to stderr.
///
/// # Errors
/// When packets did not arrive, or not as the contender promises, and after Ctrl-C.
///
/// # Panics
/// When a lab cannot be built.
pub fn run(options: &Options) -> Result<Vec<Series>> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .context("Ctrl-C cannot be handled")?;
    let object = std::fs::read(&options.generator)
        .with_context(|| format!("cannot read the generator {}", options.generator.display()))?;
    let budget = if options.quick { Budget::QUICK } else { Budget::FULL };
    let works = Work::list(&options.works, &options.flows);
    let most = options.flows.iter().max().copied().unwrap_or_default();
    // vnet's default has room for fewer than a million.
    let room = (most > Config::DEFAULT.max_flows / 2).then_some(most / 4 * 5);
    let scenes = options.contenders.iter();
    let scenes = scenes.map(|contender| Scene::new(*contender, &object, room));
    let scenes = scenes.collect::<Result<Vec<_>>>()?;
    let mut series = Vec::new();
    for round in 1..=options.rounds {
        for work in &works {
            eprintln!("round {round} of {}: {work}", options.rounds);
            for scene in scenes.iter().filter(|scene| work.compares(scene.contender)) {
                if INTERRUPTED.load(Ordering::Relaxed) {
                    bail!("interrupted");
                }
                let taken = work.sample(scene, &object, budget).with_context(|| {
                    format!("{work}, by way of {}, round {round}", scene.contender.title())
                })?;
                taken.into_iter().for_each(|sample| sample.file(scene.contender, &mut series));
            }
        }
    }
    Ok(series)
}
