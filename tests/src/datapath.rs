//! The programs of vnet, loaded without vnetctl and tried on single frames.
//!
//! A [`Datapath`] lives in a namespace of its own with two devices, `in0` and `up0`, and nobody
//! behind them. Its maps are as empty as the loader leaves them: a test writes what it needs
//! ([`Datapath::map`]) and asks which counters moved.

use std::path::PathBuf;

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader, Pod};
use vnet_common::account::{Counter, Reason};

use crate::counters::Counters;
use crate::link::{self, Cable, Port};
use crate::netns::Netns;
use crate::packet::Packet;
use crate::test_run::{self, Context, Verdict};

/// Which of the two programs of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What the device has received: `vnet_in`.
    In,
    /// What the device is about to send: `vnet_out`.
    Out,
}

impl Hook {
    /// The program's name in the object.
    pub fn program(self) -> &'static str {
        match self {
            Self::In => "vnet_in",
            Self::Out => "vnet_out",
        }
    }
}

/// The loaded programs and maps, and the namespace they are tried in.
#[derive(Debug)]
pub struct Datapath {
    /// Where the devices are.
    pub netns: Netns,
    /// The device towards the inside.
    pub inside: Port,
    /// The device towards the outside.
    pub uplink: Port,
    object: Ebpf,
}

impl Datapath {
    /// Loads the object and makes the devices.
    ///
    /// # Panics
    /// When the object is not built, or the kernel refuses it, in the verifier's words.
    pub fn new() -> Self {
        let netns = Netns::new("datapath");
        let (inside, _) = Cable::new((&netns, "in0"), (&netns, "in0-peer")).plug();
        let (uplink, _) = Cable::new((&netns, "up0"), (&netns, "up0-peer")).plug();
        link::address(&netns, "in0", "10.0.0.1/24");
        link::address(&netns, "up0", "198.51.100.1/24");
        Self { object: load(), netns, inside, uplink }
    }

    /// Runs a program on a packet, as if at the uplink; what comes from inside came in by `in0`.
    ///
    /// # Panics
    /// When the kernel refuses to try it.
    #[track_caller]
    pub fn run(&self, hook: Hook, packet: &Packet) -> Verdict {
        let ingress_ifindex = match hook {
            Hook::In => self.uplink.index,
            Hook::Out => self.inside.index,
        };
        let context = Context { ifindex: self.uplink.index, ingress_ifindex, ..Context::default() };
        self.run_frame(hook, &context, &packet.bytes())
    }

    /// Runs a program on any bytes, in any context.
    ///
    /// # Panics
    /// When the kernel refuses to try it.
    #[track_caller]
    pub fn run_frame(&self, hook: Hook, context: &Context, frame: &[u8]) -> Verdict {
        let program = self.object.program(hook.program());
        let program: &SchedClassifier = program
            .and_then(|program| program.try_into().ok())
            .unwrap_or_else(|| panic!("the object has no classifier {}", hook.program()));
        let verdict = test_run::run(program, &self.netns, context, frame);
        verdict.unwrap_or_else(|e| panic!("cannot try {hook:?} on this frame: {e}"))
    }

    /// How many packets met each end so far, on all CPUs.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn counters(&self) -> Counters {
        let map = self.object.map("counters").expect("the object has counters");
        let map = PerCpuArray::<_, Counter>::try_from(map).expect("a per-CPU array of Counter");
        let total = |reason: &Reason| {
            let values = map.get(&(*reason as u32), 0).expect("an entry for every reason");
            values.iter().map(|counter| counter.packets).sum()
        };
        Counters(Reason::ALL.iter().map(|r| (r.name().to_owned(), total(r))).collect())
    }

    /// A hash map of the object, to write what a control plane would.
    ///
    /// # Panics
    /// When there is none of that name with such keys and values.
    pub fn map<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        let map =
            self.object.map_mut(name).unwrap_or_else(|| panic!("the object has no map {name}"));
        let map: Result<_, MapError> = HashMap::try_from(map);
        map.unwrap_or_else(|e| panic!("the map {name} is not as expected: {e}"))
    }

    /// An array of the object, to write what a control plane would.
    ///
    /// # Panics
    /// When there is none of that name with such values.
    pub fn array<V: Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        let map =
            self.object.map_mut(name).unwrap_or_else(|| panic!("the object has no map {name}"));
        let map: Result<_, MapError> = Array::try_from(map);
        map.unwrap_or_else(|e| panic!("the map {name} is not as expected: {e}"))
    }
}

impl Default for Datapath {
    fn default() -> Self {
        Self::new()
    }
}

fn load() -> Ebpf {
    let path = object();
    let mut object = EbpfLoader::new()
        .load_file(&path)
        .unwrap_or_else(|e| panic!("cannot load {}: {e}", path.display()));
    for hook in [Hook::In, Hook::Out] {
        let program = object.program_mut(hook.program());
        let program: &mut SchedClassifier = program
            .and_then(|program| program.try_into().ok())
            .unwrap_or_else(|| panic!("{} has no {}", path.display(), hook.program()));
        program.load().unwrap_or_else(|e| panic!("the kernel refuses {}: {e}", hook.program()));
    }
    object
}

/// The object under test: `$VNET_EBPF_OBJECT`, else the one vnet-ctl's build left.
fn object() -> PathBuf {
    if let Some(path) = std::env::var_os("VNET_EBPF_OBJECT") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a running test knows its own path");
    // target/<profile>/deps/<test>; the object's own target directory is target/bpf.
    let target = test.ancestors().nth(3).expect("a test runs from its target directory");
    let path = target.join("bpf/bpfel-unknown-none/release/vnet");
    assert!(path.exists(), "the eBPF object is not built: run `cargo xtask build`");
    path
}
