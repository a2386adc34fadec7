//! `cargo xtask`: every developer command, one file each. Imports nothing of vnet's own crates, so
//! it builds in seconds on a machine where nothing else does yet.

mod bench;
mod build;
mod check;
mod ci;
mod conformance;
mod demo;
mod differential;
mod fuzz;
mod kernels;
mod next;
mod root_user;
mod setup;
mod shell;
mod steps;
mod test;
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of vnet.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing to build, test and demonstrate vnet, and nothing else
    Setup,
    /// Build vnetctl in release mode, with the eBPF programs inside
    Build,
    /// Show vnet translating live traffic in a private lab
    Demo(demo::Options),
    /// Run all tests, here and on other kernels
    Test(test::Options),
    /// Measure vnet beside plain forwarding and nftables, in private labs
    Bench(bench::Options),
    /// Measure what a NAT must do on vnet and on nftables, and write CONFORMANCE.md
    Conformance(conformance::Options),
    /// Feed the datapath's core with invented input, on the host
    Fuzz(fuzz::Options),
    /// Compare vnet with nftables packet by packet, on generated traffic in private labs
    Differential(differential::Options),
    /// Judge format, lints, documentation and the rules of the house; warnings are errors
    Check,
    /// Do all that continuous integration does
    Ci,
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Setup => setup::run(),
        Command::Build => build::run(),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Differential(options) => differential::run(&options),
        Command::Check => check::run(),
        Command::Ci => ci::run(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault:#}");
            ExitCode::FAILURE
        }
    }
}
