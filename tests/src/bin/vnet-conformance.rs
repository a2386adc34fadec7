//! `vnet-conformance`: measures every requirement on vnet and on nftables, and writes the table.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

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
    /// Measure only requirements whose test's name contains this, and write nothing
    filter: Option<String>,
    /// Write the table to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = arguments.filter.as_deref().unwrap_or("");
    let wanted: Vec<_> = all().filter(|requirement| requirement.test.contains(filter)).collect();
    let rows = measure(&wanted);
    let whole = rows.len() == all().count();
    match &arguments.write {
        Some(path) if whole => write(path, &rows),
        Some(_) if arguments.filter.is_none() => {
            eprintln!("error: {} probes did not work", wanted.len() - rows.len());
            ExitCode::FAILURE
        }
        Some(_) | None => ExitCode::SUCCESS,
    }
}

fn write(path: &PathBuf, rows: &Rows) -> ExitCode {
    if let Err(error) = std::fs::write(path, table::page(rows)) {
        eprintln!("error: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    println!("written: {}", path.display());
    ExitCode::SUCCESS
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
