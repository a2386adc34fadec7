//! 60-byte UDP packets, made and counted in the kernel: what one costs from the client's device to
//! the server's, in time on the wall's clock and in CPU time.
//!
//! Before a sample every flow is used twice and answered, so that all contenders know it in both
//! directions; what is measured is the packets of flows that exist. Checksums are complete and
//! right: nftables would not translate packets whose are not.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::cpu::{self, Meter};
use super::generator::{Arrived, End, Flows};
use super::scene::Scene;
use super::series::Sample;
use crate::packet::Packet;

/// The first destination port.
const PORT: u16 = 9000;
/// Bytes behind the headers, for a frame of 60.
const PAYLOAD: [u8; 18] = [0; 18];
/// Packets between two looks at the clock. The kernel takes some milliseconds to get ready and to
/// clean up each time.
pub(super) const TURN: u32 = 32_768;
/// Packets that may get lost, of a hundred.
const LOSS_PERCENT: u64 = 5;
/// How long soft interrupts may still be busy with what was sent.
const DRAIN: Duration = Duration::from_millis(500);

/// What a sample has cost.
#[derive(Clone, Copy, Debug)]
struct Spent {
    /// On the wall's clock.
    wall: Duration,
    /// Of the CPU, soft interrupts included.
    cpu: Duration,
}

/// Takes one sample.
pub(super) fn sample(
    scene: &Scene,
    object: &[u8],
    flows: u32,
    duration: Duration,
) -> Result<Vec<Sample>> {
    let plan = Flows { frame: frame(scene), count: flows, first: 0 };
    let here = (scene.client(), scene.client_port());
    let mut client = End::load(object, here, scene.server_address(), &plan)?;
    let there = (scene.server(), scene.server_port());
    let mut server = End::load(object, there, scene.source(), &plan)?;

    client.attach("count")?;
    warm_up(scene, &mut client, &mut server, &plan)?;
    server.attach("count")?;
    let before = server.arrived()?;
    let (sent, spent) = scene.client().run(|| measured(&mut client, &plan.frame, duration))?;
    let arrived = drained(&server, before, sent)?;
    judge(scene.source(), sent, arrived)?;
    Ok(samples(flows, spent, arrived.expected))
}

/// Uses so many flows, in both directions.
pub(super) fn warm(scene: &Scene, object: &[u8], flows: u32) -> Result<()> {
    let plan = Flows { frame: frame(scene), count: flows, first: 0 };
    let here = (scene.client(), scene.client_port());
    let mut client = End::load(object, here, scene.server_address(), &plan)?;
    let there = (scene.server(), scene.server_port());
    let mut server = End::load(object, there, scene.source(), &plan)?;
    client.attach("count")?;
    warm_up(scene, &mut client, &mut server, &plan)
}

/// The frame of all flows, with source port 0.
pub(super) fn frame(scene: &Scene) -> Vec<u8> {
    let (from, to) = ((scene.client_address(), 0), (scene.server_address(), PORT));
    let packet = Packet::udp(from, to).payload(&PAYLOAD);
    packet.frame(scene.client_port().mac, scene.next_hop()).bytes()
}

/// Uses every flow twice, in both directions.
pub(super) fn warm_up(
    scene: &Scene,
    client: &mut End<'_>,
    server: &mut End<'_>,
    plan: &Flows,
) -> Result<()> {
    let link = server.attach("answer")?;
    let rounds = (2 * plan.count).div_ceil(TURN);
    scene.client().run(|| {
        // The generator counts by CPU whose turn it is.
        cpu::pin()?;
        (0..rounds).try_for_each(|_| client.send(&plan.frame, TURN).map(drop))
    })?;
    let sent = u64::from(rounds) * u64::from(TURN);
    judge(scene.source(), sent, drained(server, Arrived::default(), sent)?)?;
    let answered = drained(client, Arrived::default(), sent)?;
    ensure!(answered.strange == 0, "{} answers came from a wrong address", answered.strange);
    let least = sent / 100 * (100 - 2 * LOSS_PERCENT);
    ensure!(answered.expected >= least, "{} of {sent} packets were answered", answered.expected);
    server.detach("answer", link)
}

/// Sends for a while.
fn measured(client: &mut End<'_>, frame: &[u8], duration: Duration) -> Result<(u64, Spent)> {
    let meter = Meter::start()?;
    let (mut sent, mut wall) = (0, Duration::ZERO);
    while wall < duration {
        wall += client.send(frame, TURN)?;
        sent += u64::from(TURN);
    }
    Ok((sent, Spent { wall, cpu: meter.cpu() }))
}

/// What has arrived since `before`, once nothing more comes.
pub(super) fn drained(end: &End<'_>, before: Arrived, sent: u64) -> Result<Arrived> {
    let limit = Instant::now() + DRAIN;
    loop {
        let now = end.arrived()?;
        let arrived = Arrived {
            expected: now.expected - before.expected,
            strange: now.strange - before.strange,
        };
        if arrived.expected + arrived.strange >= sent || Instant::now() > limit {
            return Ok(arrived);
        }
        sleep(Duration::from_millis(5));
    }
}

/// Packets must arrive, and from where the contender promises.
pub(super) fn judge(source: Ipv4Addr, sent: u64, arrived: Arrived) -> Result<()> {
    if arrived.strange > 0 {
        bail!("{} of {sent} packets arrived from another source than {source}", arrived.strange);
    }
    let lost = sent.saturating_sub(arrived.expected);
    if lost * 100 > sent * LOSS_PERCENT {
        bail!("{lost} of {sent} packets did not arrive");
    }
    Ok(())
}

fn samples(flows: u32, spent: Spent, arrived: u64) -> Vec<Sample> {
    let each = |time: Duration| time.as_nanos() as f64 / arrived as f64;
    let plural = if flows == 1 { "" } else { "s" };
    let title = |clock: &str| format!("60-byte UDP, {flows} flow{plural}, {clock} time");
    let measure = |clock: &str| format!("udp-{flows}-{clock}");
    vec![
        Sample::less(&measure("cpu"), &title("CPU"), "ns/packet", each(spent.cpu)),
        Sample::less(&measure("wall"), &title("wall"), "ns/packet", each(spent.wall)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn judged(expected: u64, strange: u64) -> Result<(), String> {
        let arrived = Arrived { expected, strange };
        judge(Ipv4Addr::LOCALHOST, 100, arrived).map_err(|fault| fault.to_string())
    }

    #[test]
    fn one_untranslated_packet_ends_a_run() {
        let fault = "1 of 100 packets arrived from another source than 127.0.0.1".to_owned();
        assert_eq!(judged(99, 1), Err(fault));
    }

    #[test]
    fn a_few_may_get_lost() {
        assert_eq!(judged(95, 0), Ok(()));
        assert_eq!(judged(94, 0), Err("6 of 100 packets did not arrive".to_owned()));
    }
}
