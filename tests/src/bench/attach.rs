//! How long a router takes to begin, and to be changed while it works; and what a connection takes of the
//! kernel's memory. Each in a lab of its own, with nothing else in it.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::contender::Contender;
use super::packets;
use super::scene::Scene;
use super::series::Sample;
use crate::lab::Lab;

/// Connections whose memory is measured.
const FLOWS: u32 = 64_000;

/// Takes a sample of beginning, and of a change in place; each with all that the command does.
pub(super) fn sample(contender: Contender) -> Vec<Sample> {
    let lab = Lab::new();
    let millis = |work: &dyn Fn()| {
        let since = Instant::now();
        work();
        since.elapsed().as_secs_f64() * 1e3
    };
    let began = millis(&|| contender.prepare(&lab, None, None));
    let changed = millis(&|| contender.change(&lab));
    let title = "Changed in place: programs replaced, or rules loaded anew";
    vec![
        Sample::less("attach", "Attached, or rules loaded", "ms", began),
        Sample::less("change", title, "ms", changed),
    ]
}

/// Takes a sample of memory.
pub(super) fn memory(contender: Contender, object: &[u8]) -> Result<Vec<Sample>> {
    let scene = Scene::new(contender, object, None)?;
    let lab = scene.lab().context("a router translates")?;
    let taken = || lab.vnetctl(&["status", "--json"]).ok().json()[0]["memory_bytes"].as_f64();
    let before = taken().context("status tells")?;
    packets::warm(&scene, object, FLOWS)?;
    let each = (taken().context("status tells")? - before) / f64::from(FLOWS);
    let title = "Memory of a UDP connection with a mapping of its own";
    Ok(vec![Sample::less("memory-flow", title, "bytes", each)])
}
