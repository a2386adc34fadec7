//! Two labs that differ in who translates, and many sequences at once in both.

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use super::address::SLOTS;
use super::rig::{Rig, Router};
use super::step::Sequence;
use super::trial::Trial;

/// Sequences under way at once: each is sent one packet in turn.
const AT_ONCE: usize = 500;

/// The labs.
pub struct Twins {
    routers: [Router; 2],
    rigs: [Rig; 2],
    next_slot: u32,
}

impl Twins {
    /// vnet beside nftables. Keeps this thread on its CPU from now on.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn new() -> Self {
        Self::of(Router::Vnet, Router::Nft)
    }

    /// One router that must keep vnet's promises, beside one that is compared with it.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn of(judged: Router, oracle: Router) -> Self {
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        sched_setaffinity(None, &here).expect("a thread may stay where it is");
        let routers = [judged, oracle];
        Self { routers, rigs: routers.map(Rig::new), next_slot: 0 }
    }

    /// Sends all these sequences through both, none of which knows of another.
    pub fn run(&mut self, sequences: &[Sequence]) -> Vec<Trial> {
        sequences.chunks(AT_ONCE).flat_map(|some| self.some(some)).collect()
    }

    fn some(&mut self, sequences: &[Sequence]) -> Vec<Trial> {
        let count = u32::try_from(sequences.len()).expect("a chunk is small");
        if self.next_slot + count > SLOTS {
            (self.rigs, self.next_slot) = (self.routers.map(Rig::new), 0);
        }
        let slots = self.next_slot..;
        self.next_slot += count;
        let trials = slots.zip(sequences);
        let mut trials: Vec<_> = trials.map(|(slot, s)| Trial::new(slot, s.clone())).collect();
        while trials.iter().any(|trial| !trial.is_over()) {
            self.round(&mut trials);
        }
        trials
    }

    /// The next step of each.
    fn round(&mut self, trials: &mut [Trial]) {
        let rigs = &mut self.rigs;
        let mut going: Vec<_> = trials.iter_mut().filter(|trial| !trial.is_over()).collect();
        going.iter_mut().for_each(|trial| trial.send(rigs));
        let [mut vnet, mut nft] = [0, 1].map(|lab| rigs[lab].listen());
        for trial in going {
            let heard = [&mut vnet, &mut nft].map(|heard| heard.remove(&trial.slot()));
            trial.judge(heard.map(Option::unwrap_or_default), rigs);
        }
        assert!(vnet.is_empty() && nft.is_empty(), "heard what nobody caused: {vnet:?} {nft:?}");
    }
}

impl Default for Twins {
    fn default() -> Self {
        Self::new()
    }
}
