//! The TCP step, as conversations.

use proptest::prelude::*;
use vnet_common::{
    flow::Direction::{self, In, Out},
    tcp::{REACH, Segment, State, Window, advance, flags::*, step},
};

/// Both ends of a connection, as a NAT sees them.
struct Conversation {
    state: State,
    sent: [u32; 2],
    acknowledged: [u32; 2],
}

impl Conversation {
    fn opened() -> Self {
        let mut conversation = Self { state: State::SynSent, sent: [0; 2], acknowledged: [0; 2] };
        conversation.says(Out, SYN, 100, 0, 0);
        conversation
    }

    fn established() -> Self {
        let mut conversation = Self::opened();
        conversation.says(In, SYN | ACK, 500, 101, 0);
        conversation.says(Out, ACK, 101, 501, 0);
        assert_eq!(conversation.state, State::Established);
        conversation
    }

    fn says(&mut self, from: Direction, flags: u8, seq: u32, ack: u32, length: u32) -> State {
        let used = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let segment = Segment { flags, seq, ack, end: seq.wrapping_add(length + used) };
        let (me, peer) = (from as usize, 1 - from as usize);
        let window = Window {
            sent: self.sent[me],
            expected: self.acknowledged[peer],
            receiver_sent: self.sent[peer],
        };
        self.state = step(self.state, from, &segment, &window);
        if flags & RST == 0 {
            let begins = flags & SYN != 0 && matches!(self.state, State::SynSent | State::SynRecv);
            let first = begins || self.sent[me] == 0;
            self.sent[me] = if first { segment.end } else { advance(self.sent[me], &segment) };
            if flags & ACK != 0 {
                self.acknowledged[me] = ack;
            }
        }
        self.state
    }
}

#[test]
fn handshake_data_and_orderly_close() {
    let mut tcp = Conversation::opened();
    assert_eq!(tcp.says(In, SYN | ACK, 500, 101, 0), State::SynRecv);
    assert_eq!(tcp.says(Out, ACK, 101, 501, 0), State::Established);
    assert_eq!(tcp.says(Out, ACK, 101, 501, 1000), State::Established);
    assert_eq!(tcp.says(Out, FIN | ACK, 1101, 501, 0), State::FinOut);
    assert_eq!(tcp.says(In, ACK, 501, 1102, 300), State::FinOut, "half closed, data still comes");
    assert_eq!(tcp.says(In, FIN | ACK, 801, 1102, 0), State::TimeWait);
    assert_eq!(tcp.says(Out, ACK, 1102, 802, 0), State::TimeWait);
}

#[test]
fn rfc5382_req2_simultaneous_open() {
    let mut tcp = Conversation::opened();
    assert_eq!(tcp.says(In, SYN, 500, 0, 0), State::SynRecv);
    assert_eq!(tcp.says(Out, SYN | ACK, 100, 501, 0), State::SynRecv);
    assert_eq!(tcp.says(In, SYN | ACK, 500, 101, 0), State::SynRecv);
    assert_eq!(tcp.says(Out, ACK, 101, 501, 0), State::Established);
}

#[test]
fn a_refused_connection_is_reset() {
    let mut tcp = Conversation::opened();
    assert_eq!(tcp.says(In, RST | ACK, 0, 101, 0), State::Reset);
}

#[test]
fn a_refusal_that_does_not_acknowledge_the_syn_is_ignored() {
    let mut tcp = Conversation::opened();
    assert_eq!(tcp.says(In, RST | ACK, 0, 7, 0), State::SynSent);
    assert_eq!(tcp.says(In, RST, 500, 0, 0), State::SynSent);
}

#[test]
fn a_reset_at_the_expected_number_counts_from_both_ends() {
    for (from, seq) in [(Out, 101), (In, 501)] {
        let mut tcp = Conversation::established();
        assert_eq!(tcp.says(from, RST, seq, 0, 0), State::Reset, "{from:?}");
    }
}

#[test]
fn a_reset_after_data_in_flight_counts() {
    let mut tcp = Conversation::established();
    tcp.says(In, ACK, 501, 101, 5000);
    assert_eq!(tcp.says(In, RST, 5501, 0, 0), State::Reset);
}

#[test]
fn a_server_that_takes_back_its_syn_resets_the_handshake() {
    for seq in [500, 0x9000_0000] {
        let mut tcp = Conversation::opened();
        tcp.says(In, SYN | ACK, seq, 101, 0);
        assert_eq!(tcp.says(In, RST, seq.wrapping_add(1), 0, 0), State::Reset, "seq {seq:#x}");
    }
}

#[test]
fn a_late_reset_does_not_revive_a_closed_connection() {
    let mut tcp = Conversation::established();
    tcp.says(Out, FIN | ACK, 101, 501, 0);
    tcp.says(In, FIN | ACK, 501, 102, 0);
    assert_eq!(tcp.says(In, RST, 502, 0, 0), State::TimeWait);
    assert_eq!(tcp.says(Out, ACK, 102, 502, 0), State::TimeWait);
}

#[test]
fn traffic_after_a_reset_restores_the_connection() {
    let mut tcp = Conversation::established();
    tcp.says(In, RST, 501, 0, 0);
    assert_eq!(tcp.says(Out, ACK, 101, 501, 10), State::Established);
}

#[test]
fn a_refused_connection_is_not_established_by_one_end_alone() {
    for (from, seq, ack) in [(Out, 101, 1), (In, 500, 101)] {
        let mut tcp = Conversation::opened();
        assert_eq!(tcp.says(In, RST | ACK, 0, 101, 0), State::Reset);
        for data in 0..3 {
            assert_eq!(tcp.says(from, ACK, seq, ack, data), State::Reset, "{from:?}");
        }
        assert_eq!(tcp.says(Out, SYN, 90_000, 0, 0), State::SynSent, "it may try again");
    }
}

#[test]
fn a_host_cannot_refuse_its_own_syn_to_be_established() {
    let mut tcp = Conversation::opened();
    tcp.says(Out, RST | ACK, 101, 0, 0);
    assert_ne!(tcp.says(Out, ACK, 101, 0, 10), State::Established);
}

#[test]
fn a_closed_tuple_is_opened_again() {
    let mut tcp = Conversation::established();
    tcp.says(Out, FIN | ACK, 101, 501, 0);
    tcp.says(In, FIN | ACK, 501, 102, 0);
    assert_eq!(tcp.says(Out, SYN, 90_000, 0, 0), State::SynSent);
    assert_eq!(tcp.says(In, SYN | ACK, 7000, 90_001, 0), State::SynRecv);
}

#[test]
fn a_stray_syn_does_not_disturb_an_established_connection() {
    let mut tcp = Conversation::established();
    assert_eq!(tcp.says(Out, SYN, 7, 0, 0), State::Established);
    assert_eq!(tcp.says(In, SYN, 7, 0, 0), State::Established);
}

#[test]
fn a_connection_picked_up_in_the_middle_waits_for_the_other_side() {
    let mut tcp = Conversation { state: State::PickedUp, sent: [0; 2], acknowledged: [0; 2] };
    assert_eq!(tcp.says(Out, ACK, 9000, 700, 10), State::PickedUp);
    assert_eq!(tcp.says(In, ACK, 700, 9010, 0), State::Established);
}

proptest! {
    #[test]
    fn rfc5961_a_blind_reset_changes_nothing(seq: u32, from_in: bool, data in 0u32..100_000) {
        let mut tcp = Conversation::established();
        let (from, start) = if from_in { (In, 501) } else { (Out, 101u32) };
        tcp.says(from, ACK, start, if from_in { 101 } else { 501 }, data);
        prop_assume!(seq < start || seq > start + data);
        prop_assert_eq!(tcp.says(from, RST, seq, 0, 0), State::Established);
    }

    #[test]
    fn rfc5961_a_forged_syn_does_not_open_the_window_for_a_reset(seq: u32) {
        let mut tcp = Conversation::established();
        tcp.says(In, SYN, seq.wrapping_sub(1), 0, 0);
        prop_assume!(seq != 501 && seq.wrapping_sub(501) >= REACH);
        prop_assert_eq!(tcp.says(In, RST, seq, 0, 0), State::Established);
    }

    #[test]
    fn the_mark_moves_only_within_reach(sent: u32, end: u32) {
        let moved = advance(sent, &Segment { end, ..Segment::default() });
        let ahead = end.wrapping_sub(sent);
        prop_assert_eq!(moved, if ahead < REACH { end } else { sent });
    }

    #[test]
    fn only_the_other_side_can_confirm(flags in prop::collection::vec(any::<u8>(), 1..20)) {
        let mut tcp = Conversation::opened();
        for flags in flags {
            tcp.says(Out, flags & !RST, 101, 1, 0);
        }
        prop_assert_eq!(tcp.state, State::SynSent);
    }

    #[test]
    fn states_have_their_numbers(number: u8) {
        match State::from_number(number) {
            Some(state) => prop_assert_eq!(state as u8, number),
            None => prop_assert!(usize::from(number) >= State::ALL.len()),
        }
    }
}
