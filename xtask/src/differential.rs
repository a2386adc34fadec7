//! `cargo xtask differential`: vnet beside nftables masquerade, packet by packet, with as many
//! sequences as one has time for. `cargo xtask test` includes a short run.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;

use crate::{setup, shell, test};

/// What to send.
#[derive(Args)]
pub(crate) struct Options {
    /// How many sequences of packets
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    sequences: u64,
    /// What the sequences are made from; a failure names it [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Send only the packets of this file, written as the kept cases are
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sequences", "seed"])]
    case: Option<PathBuf>,
}

/// Builds what is needed and runs the test.
///
/// # Errors
/// When something does not build, or the two routers differ in a way that is not on the list.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    test::build_vnetctl()?;
    let filter = if options.case.is_some() { "kept::" } else { "generated::" };
    let words = ["test", "--package", "vnet-tests", "--test", "differential", filter];
    let mut tests = shell::cargo(words);
    test::as_root(&mut tests);
    tests.args(["--", "--nocapture"]).env("VNET_NO_SKIP", "1");
    // A failure explains itself by packets.
    tests.env("RUST_BACKTRACE", "0");
    match &options.case {
        Some(file) => {
            let file = fs::canonicalize(file).with_context(|| file.display().to_string())?;
            tests.env("VNET_DIFFERENTIAL_CASE", file);
        }
        None => {
            tests.env("VNET_DIFFERENTIAL_SEQUENCES", options.sequences.to_string());
            tests.env("VNET_DIFFERENTIAL_SEED", options.seed.unwrap_or_else(any).to_string());
        }
    }
    shell::run(&mut tests)
}

/// A seed that is easy to type.
fn any() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_micros())
}
