//! `cargo xtask bench`: vnet beside a plain cable, plain forwarding and nftables, in private labs,
//! as medians and ratios: a time on a shared machine is no result by itself.
//!
//! `vnet-bench` (package vnet-tests) takes the samples, as root; here it is built and asked, and
//! what it says becomes a table, a JSON file and a chart.

mod baseline;
mod chart;
mod machine;
mod samples;
mod summary;
mod table;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use self::machine::Machine;
use self::samples::Series;
use self::summary::Report;
use crate::{build, root_user, setup, shell, toolchain};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How often every contender has its turn [default: 5; 1 with --quick]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Numbers of UDP flows
    #[arg(long, value_name = "LIST", default_value = "1,1000,64000")]
    flows: String,
    /// Ways to compare
    #[arg(
        long,
        value_name = "LIST",
        default_value = "direct,kernel,nft,tc,xdp,xdp-lookup,slow,vnet,vnet-xdp,events"
    )]
    contenders: String,
    /// Works to do
    #[arg(
        long,
        value_name = "LIST",
        default_value = "udp,cores,latency,connect,bulk,mapping,attach,memory,verify,stages"
    )]
    works: String,
    /// Take short samples: to see that it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Also compare with the baseline, tests/baseline.json
    #[arg(long)]
    compare: bool,
    /// Keep what is found as that baseline
    #[arg(long, conflicts_with_all = ["compare", "quick"])]
    save_baseline: bool,
    /// Where bench.json and bench.svg go [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Options {
    /// What `--quick` measures: enough to see that all of it works.
    pub(crate) fn smoke() -> Self {
        Self {
            rounds: None,
            flows: "1,1000".to_owned(),
            contenders: "direct,kernel,nft,tc,xdp,xdp-lookup,slow,vnet,events".to_owned(),
            works: "udp,cores,latency,connect,bulk,mapping,attach,memory,verify,stages".to_owned(),
            quick: true,
            compare: true,
            save_baseline: false,
            out: None,
        }
    }

    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }
}

/// Builds, measures, prints the table and writes the files.
///
/// # Errors
/// When something does not build, or packets did not arrive as they must.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    let programs = Programs::build()?;
    let machine = Machine::look();
    println!("{machine}");
    let samples = measure(&programs, options)?;
    let report = Report::new(machine, options.rounds(), options.quick, &samples);
    print!("{}", table::of(&report));
    if options.compare {
        print!("{}", baseline::compare(&report)?);
    }
    if options.save_baseline {
        baseline::save(&report)?;
    }
    let out = options.out.clone().unwrap_or_else(|| shell::target_dir().join("bench"));
    write(&out, &report)
}

/// What is needed to measure.
struct Programs {
    vnetctl: PathBuf,
    bench: PathBuf,
    generator: PathBuf,
}

impl Programs {
    fn build() -> Result<Self> {
        let vnetctl = build::vnetctl()?;
        let words = ["build", "--release", "--package", "vnet-tests", "--bin", "vnet-bench"];
        shell::run(&mut shell::cargo(words))?;
        let bench = shell::target_dir().join("release/vnet-bench");
        Ok(Self { vnetctl, bench, generator: generator()? })
    }
}

/// The generator is no part of vnetctl, so vnetctl's build does not build it.
fn generator() -> Result<PathBuf> {
    let tools = toolchain::find().map_err(|missing| anyhow!("{missing}"))?;
    let target_dir = shell::target_dir().join("bpf");
    let mut cargo = tools.cargo("build", shell::root(), &target_dir, ARCH);
    shell::run(cargo.args(["--bin", "generator"]))?;
    Ok(target_dir.join(toolchain::TARGET).join("release/generator"))
}

/// Takes the samples. Ctrl-C ends that program by way of its cleaning up, for which this one waits.
fn measure(programs: &Programs, options: &Options) -> Result<Vec<Series>> {
    ctrlc::set_handler(|| {}).context("Ctrl-C cannot be handled")?;
    let mut command = Command::new("env");
    if !root_user::is_root() {
        if shell::program("sudo").is_none() {
            bail!("network namespaces and eBPF need root: run this as root, there is no sudo");
        }
        println!("Network namespaces and eBPF need root, so sudo is used to take the samples.");
        command = Command::new("sudo");
        command.arg("env");
    }
    command.arg(format!("VNETCTL={}", programs.vnetctl.display())).arg(&programs.bench);
    command.arg("--generator").arg(&programs.generator);
    command.args(["--rounds", &options.rounds().to_string(), "--flows", &options.flows]);
    command.args(["--contenders", &options.contenders, "--works", &options.works]);
    command.args(options.quick.then_some("--quick"));
    let done = command.stderr(Stdio::inherit()).output().context("vnet-bench did not start")?;
    if !done.status.success() {
        bail!("vnet-bench failed ({}); its words are above", done.status);
    }
    serde_json::from_slice(&done.stdout).context("vnet-bench printed something else than samples")
}

fn write(out: &Path, report: &Report) -> Result<()> {
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    for (name, text) in [("bench.json", json), ("bench.svg", chart::of(report))] {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(())
}
