//! Several generators at once, each on a CPU of its own: what of the way through the router they have to
//! share.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::contender::Contender;
use super::cpu;
use super::generator::{Arrived, End, Flows};
use super::packets::{TURN, drained, frame, judge, warm_up};
use super::scene::Scene;
use super::series::Sample;

/// Flows of each generator.
const FLOWS: u32 = 1000;
/// Generators.
const CORES: u32 = 2;

/// Takes one sample: packets of one generator alone, and of several; nothing where there are too few CPUs.
pub(super) fn sample(
    contender: Contender,
    object: &[u8],
    duration: Duration,
) -> Result<Vec<Sample>> {
    let there = thread::available_parallelism().map_or(1, usize::from);
    if there < CORES as usize {
        return Ok(Vec::new());
    }
    let scene = &Scene::with_queues(contender, object, CORES)?;
    let rates = [1, CORES].map(|cores| rate(scene, object, cores, duration));
    let [one, all] = rates;
    let title =
        |n: u32| format!("60-byte UDP, {FLOWS} flows each, {n} generators on CPUs of their own");
    let sample =
        |n, rate: f64| Sample::more(&format!("udp-cores-{n}"), &title(n), "Mpackets/s", rate / 1e6);
    Ok(vec![sample(1, one?), sample(CORES, all?)])
}

/// Packets a second that so many generators bring to the server.
fn rate(scene: &Scene, object: &[u8], cores: u32, duration: Duration) -> Result<f64> {
    let plan = |core: u32| Flows { frame: frame(scene), count: FLOWS, first: core * FLOWS };
    let there = (scene.server(), scene.server_port());
    let mut server = End::load(object, there, scene.source(), &plan(0))?;
    let mut ends = Vec::new();
    for core in 0..cores {
        let here = (scene.client(), scene.client_port());
        let mut client = End::load(object, here, scene.server_address(), &plan(core))?;
        let link = client.attach("count")?;
        let mut answering = End::load(object, there, scene.source(), &plan(core))?;
        warm_up(scene, &mut client, &mut answering, &plan(core))?;
        client.detach("count", link)?;
        ends.push(client);
    }
    server.attach("count")?;
    let before: Arrived = server.arrived()?;
    let frame = frame(scene);
    let sent = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(ends)
            .map(|(core, mut end)| {
                let frame = &frame;
                scope.spawn(move || scene.client().run(|| send(&mut end, frame, core, duration)))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().map_err(|_| anyhow!("a thread panicked; its words are above"))?
        });
        joined.collect::<Result<Vec<_>>>()
    })?;
    let all = sent.iter().map(|(sent, _)| sent).sum();
    let arrived = drained(&server, before, all)?;
    judge(scene.source(), all, arrived)?;
    let share = arrived.expected as f64 / all as f64;
    Ok(sent.iter().map(|(sent, wall)| *sent as f64 / wall.as_secs_f64()).sum::<f64>() * share)
}

/// Sends for a while from one CPU: how many, and in which time.
fn send(
    end: &mut End<'_>,
    frame: &[u8],
    core: usize,
    duration: Duration,
) -> Result<(u64, Duration)> {
    cpu::pin_to(core)?;
    let (mut sent, mut wall) = (0, Duration::ZERO);
    while wall < duration {
        wall += end.send(frame, TURN)?;
        sent += u64::from(TURN);
    }
    Ok((sent, wall))
}
