//! `vnet-conformance`: measures every requirement on vnet and on nftables, and writes the table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use vnet_tests::conformance::table::{self, Rows, Verdicts};
use vnet_tests::conformance::{Requirement, Translator, all};

/// Probes that run at the same time: most of them wait most of the time.
const AT_ONCE: usize = 6;

/// Measures what a NAT must do on vnet and on nftables masquerade, in private labs
///
/// `cargo xtask conformance` runs it. $VNETCTL names the vnetctl to measure.
#[derive(Parser)]
#[command(name = "vnet-conformance")]
struct Arguments {
    /// Measure only requirements whose test's name contains this
    filter: Option<String>,
    /// Write the table to this file; what is not measured stays as it was there
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let filter = arguments.filter.as_deref().unwrap_or("");
    let wanted: Vec<_> = all().filter(|requirement| requirement.test.contains(filter)).collect();
    ensure!(!wanted.is_empty(), "no requirement's test has `{filter}` in its name");
    let rows = measure(&wanted);
    println!("{}", table::summary(&rows));
    if let Some(path) = &arguments.write {
        write(path, &rows)?;
        println!("written: {}", path.display());
    }
    let failed = wanted.len() - rows.len();
    ensure!(failed == 0, "{failed} probes could not do their work; their words are above");
    Ok(())
}

/// Writes the table; rows that were not measured are taken from the file.
fn write(path: &Path, measured: &Rows) -> Result<()> {
    let mut rows = table::read(&fs::read_to_string(path).unwrap_or_default());
    rows.extend(measured.clone());
    rows.retain(|test, _| all().any(|requirement| requirement.test == test));
    let missing: Vec<_> = all().filter(|r| !rows.contains_key(r.test)).map(|r| r.test).collect();
    ensure!(missing.is_empty(), "not written, for nothing is known of {}", missing.join(", "));
    fs::write(path, table::page(&rows)).with_context(|| path.display().to_string())
}

/// Runs the probes; one that panics says why by itself and has no row.
fn measure(wanted: &[&'static Requirement]) -> Rows {
    let (queue, rows) = (Mutex::new(wanted.iter()), Mutex::new(Rows::new()));
    let next = || queue.lock().expect("nobody panics with it").next();
    let work = || {
        while let Some(requirement) = next() {
            if let Some(verdicts) = judge(requirement) {
                println!("{}\n    vnet      {}", requirement.test, verdicts.vnet);
                println!("    nftables  {}", verdicts.nft);
                let mut rows = rows.lock().expect("nobody panics with it");
                rows.insert(requirement.test.to_owned(), verdicts);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    rows.into_inner().expect("nobody panics with it")
}

fn judge(requirement: &'static Requirement) -> Option<Verdicts> {
    let probe = |translator: Translator| {
        let name = format!("{} on {translator}", requirement.test);
        let thread = thread::Builder::new().name(name);
        let thread = thread.spawn(move || requirement.measure(translator));
        thread.expect("a thread can be started").join().ok()
    };
    let (vnet, nft) = (probe(Translator::Vnet)?, probe(Translator::Nft)?);
    if let (Ok(()), Some(why)) = (&vnet, requirement.pending) {
        eprintln!("{}: holds, but is pending: \"{why}\". Take the mark off", requirement.test);
    }
    Some(Verdicts::of(requirement, &vnet, &nft))
}
