//! `cargo xtask test --kernels 6.1,6.12,7.2`: the guest tests on stock Debian kernels under QEMU.
//!
//! Promise: the machine's apt configuration is never changed, every kernel fetched is kept under
//! `target/kernels/`, and the command fails when anything failed, crashed, hung or never ran.

mod apt;
mod boot;
mod checks;
mod console;
mod cpio;
mod fetch;
mod initramfs;
mod modules;
mod programs;
mod report;
mod talk;
mod tools;
mod version;

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use self::boot::Machine;
use self::checks::Check;
use self::fetch::Kernel;
use self::report::Guest;
use self::talk::Talk;
use crate::shell;

/// Boots every kernel of `list` ("6.1", "7.2", ...), runs the guest tests there whose names contain
/// a word of `filter`, and prints a report.
///
/// Kernels below [`version::MINIMUM`] must refuse `vnetctl attach` instead.
///
/// # Errors
/// When a version is misspelt, something cannot be fetched or built, or any check failed.
pub(crate) fn run(list: &[String], filter: Option<&str>) -> Result<()> {
    let versions = version::parse_list(list)?;
    let cache = shell::target_dir().join("kernels");
    let talk = Talk::new();

    tools::ensure_installed(&cache, &talk)?;
    let machine = Machine::detect()?;
    talk.line(&machine.describe());
    let kernels = versions
        .iter()
        .map(|version| fetch::kernel(&cache, *version, &talk))
        .collect::<Result<Vec<_>>>()?;
    let programs = programs::build(&talk)?;

    let guests = boot_all(&kernels, &talk, |kernel| {
        let checks = checks::for_kernel(kernel.version, machine.processors(), filter);
        let image = cache.join(format!("{}.cpio", kernel.version));
        initramfs::write(&image, kernel, &programs, &checks)?;
        run_guest(&machine, kernel, &image, &checks, &talk)
    })?;
    if report::print(&guests) {
        return Ok(());
    }
    let failed: Vec<String> = guests.iter().flat_map(Guest::failed).collect();
    bail!("the tests did not pass on every kernel: {}", failed.join("; "))
}

/// Runs `guest` for every kernel, as many side by side as there are processors, at most two: a
/// software-emulated guest keeps about one processor busy.
fn boot_all(
    kernels: &[Kernel],
    talk: &Talk,
    guest: impl Fn(&Kernel) -> Result<Guest> + Sync,
) -> Result<Vec<Guest>> {
    let side_by_side = thread::available_parallelism().map_or(1, usize::from).min(2);
    let queue = Mutex::new(kernels.iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                loop {
                    let Some((place, kernel)) = queue.lock().ok().and_then(|mut q| q.next()) else {
                        return;
                    };
                    let outcome = guest(kernel).with_context(|| {
                        format!("running the guest with Linux {}", kernel.release)
                    });
                    if let Err(error) = &outcome {
                        talk.line(&format!("{error:#}"));
                    }
                    if let Ok(mut done) = done.lock() {
                        done.push((place, outcome));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(place, _)| *place);
    if done.len() != kernels.len() {
        bail!("a guest's thread ended early; its reason is printed above");
    }
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn run_guest(
    machine: &Machine,
    kernel: &Kernel,
    image: &Path,
    checks: &[Check],
    talk: &Talk,
) -> Result<Guest> {
    let step = talk.step(&format!("Linux {}: booting", kernel.release));
    let run = machine.boot(&kernel.vmlinuz, image, |line| {
        if let Some(name) = console::begun(line) {
            step.say(&format!("Linux {}: {name}", kernel.release));
        }
    })?;
    let log = image.with_extension("console.log");
    std::fs::write(&log, run.lines.join("\n"))
        .with_context(|| format!("cannot write {}", log.display()))?;
    let guest = Guest::judge(kernel, checks, &console::read(&run.lines), &run, log);
    step.done(&guest.headline());
    Ok(guest)
}
