//! What a new mapping costs while its range of ports is empty, 99 % full and entirely full: the
//! first packet of a UDP flow, one flow after the other.
//!
//! Whoever is measured comes from a port outside the range, so that nobody keeps its own and every
//! port has to be searched for. The lab is made anew for each sample, because a range is filled once.
//! The wall's clock is read by the kernel around just these packets: they are too few for CPU time,
//! of which getting ready takes more.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::contender::Contender;
use super::cpu;
use super::generator::{End, Flows};
use super::packets;
use super::scene::Scene;
use super::series::Sample;

/// Flows that are in the range by their own ports: all but the last hundredth of it, and as many as
/// come from elsewhere while it is empty.
const INSIDE: u32 = RANGE - 2 * HUNDREDTH;
/// The ports that may be handed out, from the generator's first one on.
pub(super) const RANGE: u32 = 60_000;
/// Flows that are measured at a time.
const HUNDREDTH: u32 = RANGE / 100;
/// Flows that are sent before anything is measured.
const WARM: u32 = 64;
// All are flows that the generator can make, and none is met twice.
const _: () = assert!(RANGE + 5 * HUNDREDTH <= 64_000 && INSIDE + 2 * HUNDREDTH == RANGE);
/// Packets that may get lost, of a hundred.
const LOSS_PERCENT: u64 = 5;
/// How long soft interrupts may still be busy with what was sent.
const DRAIN: Duration = Duration::from_millis(200);

/// How full the range is.
const STATES: [(&str, &str); 3] = [("empty", "empty"), ("99", "99 % full"), ("full", "full")];

/// What sends and counts.
struct Field<'a> {
    scene: &'a Scene,
    object: &'a [u8],
    server: End<'a>,
}

/// Takes one sample, by a router that translates.
pub(super) fn sample(contender: Contender, object: &[u8]) -> Result<Vec<Sample>> {
    let scene = Scene::narrow(contender, object)?;
    let plan = Flows { frame: packets::frame(&scene), count: 1, first: 0 };
    let there = (scene.server(), scene.server_port());
    let mut server = End::load(object, there, scene.source(), &plan)?;
    server.attach("count")?;
    let field = Field { scene: &scene, object, server };
    field.send(0, WARM)?;
    let empty = field.send(RANGE, HUNDREDTH)?;
    ensure!(empty.1 >= 100 - LOSS_PERCENT, "{} % of new flows arrived outside", empty.1);
    // Twice, because a packet may get lost; the second one of a flow is nothing new.
    for _ in 0..2 {
        field.send(0, INSIDE)?;
    }
    let nearly = field.send(RANGE + HUNDREDTH, HUNDREDTH)?;
    // Whatever is left of the range is used up, and some more are refused.
    field.send(RANGE + 2 * HUNDREDTH, 2 * HUNDREDTH)?;
    let full = field.send(RANGE + 4 * HUNDREDTH, HUNDREDTH)?;
    Ok(samples([empty.0, nearly.0, full.0], nearly.1))
}

impl Field<'_> {
    /// Sends the first packets of so many flows; how long each took, and how many of a hundred
    /// arrived.
    fn send(&self, first: u32, count: u32) -> Result<(Duration, u64)> {
        let plan = Flows { frame: packets::frame(self.scene), count, first };
        let here = (self.scene.client(), self.scene.client_port());
        let mut client = End::load(self.object, here, Ipv4Addr::UNSPECIFIED, &plan)?;
        let before = self.settled()?;
        let took = self.scene.client().run(|| {
            // The generator counts by CPU whose turn it is.
            cpu::pin()?;
            client.send(&plan.frame, count)
        })?;
        let arrived = self.settled()? - before;
        Ok((took / count, arrived * 100 / u64::from(count)))
    }

    /// How many packets have arrived, once nothing more comes.
    fn settled(&self) -> Result<u64> {
        let limit = Instant::now() + DRAIN;
        let mut last = self.server.arrived()?;
        loop {
            sleep(Duration::from_millis(5));
            let now = self.server.arrived()?;
            ensure!(now.strange == 0, "{} packets arrived from another source", now.strange);
            if now == last || Instant::now() > limit {
                return Ok(now.expected);
            }
            last = now;
        }
    }
}

fn samples(took: [Duration; 3], made_percent: u64) -> Vec<Sample> {
    let nanos = took.map(|took| took.as_nanos() as f64);
    let mut samples = Vec::new();
    for ((name, state), nanos) in STATES.into_iter().zip(nanos) {
        let title = format!("New UDP mapping, range {state}");
        samples.push(Sample::less(&format!("mapping-{name}"), &title, "ns/mapping", nanos));
    }
    for ((name, state), own) in STATES.into_iter().zip(nanos).skip(1) {
        let title = format!("New UDP mapping, range {state}: against an empty one");
        let times = own / nanos[0].max(1.0);
        samples.push(Sample::less(&format!("mapping-{name}-times"), &title, "times", times));
    }
    let title = "Last hundredth of the range: mappings that were made".to_owned();
    samples.push(Sample::more("mapping-made", &title, "%", made_percent as f64));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_range_is_compared_with_an_empty_one() {
        let took = [200, 220, 400].map(Duration::from_nanos);
        let samples = samples(took, 99);
        let value = |measure: &str| samples.iter().find(|s| s.measure == measure).map(|s| s.value);
        assert_eq!(value("mapping-99-times"), Some(1.1));
        assert_eq!(value("mapping-full-times"), Some(2.0));
        assert_eq!(value("mapping-made"), Some(99.0));
    }
}
