//! `vnet-bench`: takes the samples of `cargo xtask bench` and prints them as JSON.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vnet_tests::bench;

/// Measures ways through a router in private labs, and prints every sample as JSON
///
/// `cargo xtask bench` runs it and makes a table of what it prints. $VNETCTL names the vnetctl to
/// measure.
#[derive(Parser)]
#[command(name = "vnet-bench")]
struct Arguments {
    #[command(flatten)]
    options: bench::Options,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse().options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &bench::Options) -> Result<()> {
    let series = bench::run(options)?;
    println!("{}", serde_json::to_string_pretty(&series)?);
    Ok(())
}
