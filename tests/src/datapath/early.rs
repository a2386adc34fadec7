//! The XDP program, tried on single frames.

use aya::maps::xdp::DevMapHash;
use vnet_common::account::{Reason, Verdict};

use super::{Datapath, explain, faults};
use crate::link::Port;
use crate::test_run::{self, EarlyAction};

impl Datapath {
    /// Tries a frame where a device receives it, before the kernel makes a packet of it: it must meet
    /// just this end, or pass as it was when none is named. Returns what is left of it.
    ///
    /// # Panics
    /// When something else came of it.
    #[track_caller]
    pub fn early(&self, port: &Port, frame: &[u8], end: Option<Reason>) -> Vec<u8> {
        let before = self.counters();
        let mut loaded = self.loaded.borrow_mut();
        let program = loaded.xdp().unwrap_or_else(|e| panic!("{e}"));
        let verdict = test_run::run_early(program, &self.netns, port.index, frame);
        drop(loaded);
        let (action, left) = verdict.unwrap_or_else(|e| panic!("cannot try this frame: {e}"));
        let moved = self.counters().since(&before);
        let wanted = end.iter().map(|end| (end.name().to_owned(), 1)).collect();
        assert_eq!(moved, wanted, "ends of {}, and the one expected", explain(frame));
        match end.map(Reason::verdict) {
            None => assert_eq!((action, left.as_slice()), (EarlyAction::Pass, frame)),
            Some(Verdict::Shortcut) => {
                assert_eq!(action, EarlyAction::Redirect, "{}", explain(&left));
                assert_eq!(faults(frame), faults(&left), "{}", explain(&left));
            }
            Some(other) => panic!("{other:?} is no end of XDP"),
        }
        left
    }

    /// Lets XDP send packets out by a device.
    ///
    /// # Panics
    /// When the kernel does not know the device.
    pub fn exit(&mut self, index: u32) {
        let map = self.loaded.get_mut().ebpf().map_mut("exits").expect("the object has exits");
        let mut exits: DevMapHash<_> = map.try_into().expect("a map of devices");
        // The kernel looks the index up in the namespace of the thread that asks.
        let put = self.netns.run(|| exits.insert(index, index, None, 0));
        put.expect("the device is there");
    }
}
