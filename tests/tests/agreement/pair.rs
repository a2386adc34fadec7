//! The programs in the kernel, and the host asked about every frame that they are given.

use std::fmt::Write as _;

use vnet_common::account::{Reason, Verdict};
use vnet_common::flow::{Direction, FlowKey};
use vnet_ebpf::packet::{Kind, Packet};
use vnet_judge::{ETHERNET, Frame, look};
use vnet_tests::counters::Counters;
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::packet::{explain, internet_checksum};
use vnet_tests::test_run::{Action, Context};

use crate::follow::Entries;
use crate::host::{Said, Way, may_end, say};

/// Both, and what the kernel's counters said last.
pub(crate) struct Pair {
    /// The programs and their maps.
    pub(crate) datapath: Datapath,
    counted: Counters,
}

/// What became of a frame, on which both agree.
#[derive(Debug)]
pub(crate) struct Agreed {
    /// How it ended.
    pub(crate) end: Reason,
    /// The packet, and the entries it made, when it opened a connection.
    pub(crate) opened: Option<(Packet, Entries)>,
}

impl Pair {
    /// A pair whose maps nothing has happened to.
    pub(crate) fn new(datapath: Datapath) -> Self {
        let counted = datapath.counters();
        Self { datapath, counted }
    }

    /// Runs a frame on both sides.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub(crate) fn agree(&mut self, hook: Hook, context: &Context, frame: &[u8]) -> Agreed {
        let told = format!("{hook:?} {}\nframe {}", explain(frame), hex(frame));
        let before = self.entries_of(frame);
        let verdict = self.datapath.run_frame(hook, context, frame);
        let end = self.the_end(&told);
        let action = match end.verdict() {
            Verdict::Pass => Action::Next,
            Verdict::Drop => Action::Drop,
            Verdict::Detour | Verdict::Shortcut => Action::Redirect,
        };
        assert_eq!(verdict.action, action, "{end:?} of {told}");
        let direction = match hook {
            Hook::Out => Direction::Out,
            Hook::In => Direction::In,
        };
        let way = Way { direction, link: context.ifindex };
        let said = say(way, frame, |key| self.datapath.flow(key));
        let (wanted, left) = match &said {
            Said::Aside(reason) => (Some(*reason), frame),
            Said::Malformed if hook == Hook::In => (Some(Reason::MalformedIn), frame),
            Said::Malformed => (Some(Reason::Malformed), frame),
            Said::Known { end, left, .. } => (Some(*end), &left[..]),
            Said::Later => (Some(end), &verdict.frame[..]),
            Said::Unknown(kind) => (may_end(*kind, end).then_some(end), frame),
        };
        assert_eq!(Some(end), wanted, "the kernel's end, and what the host says: {said:?} {told}");
        let renumbered = renumbered(left, &verdict.frame);
        let left = renumbered.as_deref().filter(|_| hook == Hook::Out).unwrap_or(left);
        assert!(
            verdict.frame == left,
            "the kernel left {}\nthe host      {}\nof {told}",
            hex(&verdict.frame),
            hex(left)
        );
        let opened = match &said {
            Said::Known { packet, .. } if packet.kind != Kind::Error => {
                self.followed(packet, direction, before, &told)
            }
            _ => None,
        };
        Agreed { end, opened }
    }

    /// The one end that was counted.
    fn the_end(&mut self, told: &str) -> Reason {
        let now = self.datapath.counters();
        let moved = now.since(&self.counted);
        self.counted = now;
        let [(name, 1)] = &moved.iter().map(|(name, by)| (name, *by)).collect::<Vec<_>>()[..]
        else {
            panic!("one end and no other is counted, but {moved:?} of {told}")
        };
        let named = |reason: &&Reason| reason.name() == name.as_str();
        *Reason::ALL.iter().find(named).expect("counters have the names of reasons")
    }

    fn entries_of(&mut self, frame: &[u8]) -> Option<Entries> {
        let packet = look(&Frame(frame.to_vec()), ETHERNET).ok()?;
        self.entries(&packet.key)
    }

    /// Both entries of a flow.
    pub(crate) fn entries(&mut self, key: &FlowKey) -> Option<Entries> {
        let own = self.datapath.flow(key)?;
        let twin = self.datapath.flow(&own.twin(key.proto)).expect("a flow has a twin");
        Some(Entries { own, twin })
    }

    /// The entries are what the host makes of those before; returns them when they are new.
    fn followed(
        &mut self,
        packet: &Packet,
        direction: Direction,
        before: Option<Entries>,
        told: &str,
    ) -> Option<(Packet, Entries)> {
        let made = self.entries(&packet.key).expect("a flow that was found a moment ago");
        let start = before.unwrap_or_else(|| Entries::opened_by(packet, made));
        let wanted = start.after(packet, direction);
        assert_eq!(made.timeless(), wanted.timeless(), "entries, from {start:?} by {told}");
        before.is_none().then_some((*packet, made))
    }
}

/// A fragment that leaves gets an identifier that no other inside host's fragment has: which one is
/// the kernel's to choose, but its header must add up.
fn renumbered(left: &[u8], by_kernel: &[u8]) -> Option<Vec<u8>> {
    let packet = look(&Frame(left.to_vec()), ETHERNET).ok()?;
    let [ip, end] = [packet.l3 as usize, packet.l4 as usize];
    let fragment = u16::from_be_bytes([left[ip + 6], left[ip + 7]]) & 0x3fff != 0;
    let sound = internet_checksum(by_kernel.get(ip..end)?) == 0;
    (fragment && sound).then(|| {
        let mut left = left.to_vec();
        for half in [ip + 4, ip + 10] {
            left[half..half + 2].copy_from_slice(&by_kernel[half..half + 2]);
        }
        left
    })
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    bytes.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
    text
}
