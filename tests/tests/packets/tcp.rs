//! TCP, step by step, as the flow's record tells it.

use vnet_common::account::Reason;
use vnet_common::tcp::State;
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::{Packet, TcpFlags};

use crate::scene::{CLIENT, SERVER, key, outside};

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN;
const RST: TcpFlags = TcpFlags::RST;

/// A connection between client and server, whose numbers start at 1000 and at 5000.
struct Connection {
    datapath: Datapath,
}

impl Connection {
    fn new() -> Self {
        Self { datapath: Datapath::new() }
    }

    /// One that both ends have greeted.
    fn established() -> Self {
        let mut connection = Self::new();
        connection.out(SYN, 1000, 0, State::SynSent);
        connection.back(SYN | ACK, 5000, 1001, State::SynRecv);
        connection.out(ACK, 1001, 5001, State::Established);
        connection
    }

    /// The client says this; then the connection is in that state.
    #[track_caller]
    fn out(&mut self, flags: TcpFlags, sequence: u32, acknowledgement: u32, state: State) {
        let segment = Packet::tcp(CLIENT, SERVER, flags).numbers(sequence, acknowledgement);
        self.datapath.out(&segment, Reason::NatOut);
        self.is(state);
    }

    /// The server says this.
    #[track_caller]
    fn back(&mut self, flags: TcpFlags, sequence: u32, acknowledgement: u32, state: State) {
        let segment = Packet::tcp(SERVER, outside(4000), flags).numbers(sequence, acknowledgement);
        self.datapath.back(&segment, Reason::NatIn);
        self.is(state);
    }

    #[track_caller]
    fn is(&mut self, state: State) {
        let key = key(&Packet::tcp(CLIENT, SERVER, SYN));
        assert_eq!(self.datapath.state(&key), state);
    }
}

#[test]
fn a_connection_is_opened_and_closed_by_the_client() {
    let mut connection = Connection::established();
    connection.out(FIN | ACK, 1001, 5001, State::FinOut);
    connection.back(ACK, 5001, 1002, State::FinOut);
    connection.back(FIN | ACK, 5001, 1002, State::TimeWait);
    connection.out(ACK, 1002, 5002, State::TimeWait);
}

#[test]
fn a_connection_is_closed_by_the_server() {
    let mut connection = Connection::established();
    connection.back(FIN | ACK, 5001, 1001, State::FinIn);
    connection.out(ACK, 1001, 5002, State::FinIn);
    connection.out(FIN | ACK, 1001, 5002, State::TimeWait);
}

#[test]
fn both_ends_may_open_at_once() {
    let mut connection = Connection::new();
    connection.out(SYN, 1000, 0, State::SynSent);
    connection.back(SYN, 5000, 0, State::SynRecv);
    connection.out(SYN | ACK, 1000, 5001, State::SynRecv);
    connection.back(SYN | ACK, 5000, 1001, State::SynRecv);
    connection.out(ACK, 1001, 5001, State::Established);
}

#[test]
fn a_repeated_syn_changes_nothing() {
    let mut connection = Connection::new();
    connection.out(SYN, 1000, 0, State::SynSent);
    connection.out(SYN, 1000, 0, State::SynSent);
    connection.back(SYN | ACK, 5000, 1001, State::SynRecv);
    connection.back(SYN | ACK, 5000, 1001, State::SynRecv);
}

#[test]
fn a_refused_connection_is_reset() {
    let mut connection = Connection::new();
    connection.out(SYN, 1000, 0, State::SynSent);
    connection.back(RST | ACK, 0, 1001, State::Reset);
}

#[test]
fn a_refusal_of_another_syn_is_not_believed() {
    let mut connection = Connection::new();
    connection.out(SYN, 1000, 0, State::SynSent);
    connection.back(RST | ACK, 0, 999, State::SynSent);
    connection.back(RST, 0, 0, State::SynSent);
}

#[test]
fn a_reset_where_the_other_end_expects_it_counts() {
    let mut connection = Connection::established();
    connection.back(RST, 5001, 0, State::Reset);
    let mut connection = Connection::established();
    connection.out(RST | ACK, 1001, 5001, State::Reset);
}

#[test]
fn a_reset_out_of_the_window_does_not() {
    let mut connection = Connection::established();
    for sequence in [0, 5000, 5002, 70_000, 5001u32.wrapping_sub(1 << 31)] {
        connection.back(RST, sequence, 0, State::Established);
    }
    connection.out(RST, 900, 0, State::Established);
    connection.out(RST, 1002, 0, State::Established);
}

#[test]
fn traffic_after_a_reset_shows_that_nobody_believed_it() {
    let mut connection = Connection::established();
    connection.back(RST, 5001, 0, State::Reset);
    connection.out(ACK, 1001, 5001, State::Established);
    connection.back(RST, 5001, 0, State::Reset);
    connection.back(ACK, 5001, 1001, State::Established);
}

#[test]
fn an_old_port_opens_anew() {
    let mut connection = Connection::established();
    connection.out(FIN | ACK, 1001, 5001, State::FinOut);
    connection.back(FIN | ACK, 5001, 1002, State::TimeWait);
    connection.out(SYN, 90_000_000, 0, State::SynSent);
    connection.back(SYN | ACK, 7000, 90_000_001, State::SynRecv);
    connection.out(ACK, 90_000_001, 7001, State::Established);
}

#[test]
fn a_connection_is_picked_up_in_its_middle_and_waits_for_confirmation() {
    let mut connection = Connection::new();
    connection.out(ACK, 1001, 5001, State::PickedUp);
    connection.out(ACK, 1001, 5001, State::PickedUp);
    connection.back(ACK, 5001, 1001, State::Established);
}

#[test]
fn a_connection_that_was_idle_over_a_restart_can_be_closed() {
    let mut connection = Connection::new();
    connection.out(FIN | ACK, 1001, 5001, State::PickedUp);
    connection.back(FIN | ACK, 5001, 1002, State::FinIn);
}

#[test]
fn a_forged_syn_does_not_prepare_a_reset() {
    let mut connection = Connection::established();
    connection.back(SYN, 90_000_000, 0, State::Established);
    connection.back(RST, 90_000_001, 0, State::Established);
}

#[test]
fn a_late_reset_does_not_reopen_what_both_have_closed() {
    let mut connection = Connection::established();
    connection.out(FIN | ACK, 1001, 5001, State::FinOut);
    connection.back(FIN | ACK, 5001, 1002, State::TimeWait);
    connection.back(RST, 5002, 0, State::TimeWait);
    connection.out(ACK, 1002, 5002, State::TimeWait);
}

#[test]
fn what_neither_opens_nor_continues_makes_no_flow() {
    let mut datapath = Datapath::new();
    for flags in [RST, RST | ACK, FIN, SYN | ACK, SYN | RST, SYN | FIN] {
        datapath.out(&Packet::tcp(CLIENT, SERVER, flags), Reason::TcpNoFlow);
    }
    assert_eq!(datapath.flows(), 0);
}

#[test]
fn sequence_numbers_are_remembered_for_each_direction() {
    let mut connection = Connection::established();
    let data = Packet::tcp(CLIENT, SERVER, ACK).numbers(1001, 5001).payload(&[1; 500]);
    connection.datapath.out(&data, Reason::NatOut);
    let out = connection.datapath.flow(&key(&data)).expect("the flow is there");
    assert_eq!((out.seq_end, out.ack), (1501, 5001));
    let answer = Packet::tcp(SERVER, outside(4000), ACK).numbers(5001, 1501).payload(&[2; 7]);
    connection.datapath.back(&answer, Reason::NatIn);
    let back = connection.datapath.flow(&key(&answer)).expect("the flow is there");
    assert_eq!((back.seq_end, back.ack), (5008, 1501));
    // With data on the way, a reset may come anywhere between what was confirmed and what was sent.
    connection.out(RST, 1200, 0, State::Established);
    connection.out(RST, 1501, 0, State::Reset);
}

#[test]
fn a_wild_sequence_number_does_not_move_the_mark() {
    let mut connection = Connection::established();
    let wild = Packet::tcp(SERVER, outside(4000), ACK).numbers(5001 + (1 << 30), 1001);
    connection.datapath.back(&wild.clone().payload(b"blind"), Reason::NatIn);
    let back = connection.datapath.flow(&key(&wild)).expect("the flow is there");
    assert_eq!(back.seq_end, 5001);
    connection.back(RST, 5001 + (1 << 30), 0, State::Established);
}

#[test]
fn numbers_wrap_around() {
    let mut connection = Connection::new();
    connection.out(SYN, u32::MAX, 0, State::SynSent);
    connection.back(SYN | ACK, u32::MAX - 1, 0, State::SynRecv);
    connection.out(ACK, 0, u32::MAX, State::Established);
    let data = Packet::tcp(SERVER, outside(4000), ACK).numbers(u32::MAX, 0).payload(&[3; 100]);
    connection.datapath.back(&data, Reason::NatIn);
    let back = connection.datapath.flow(&key(&data)).expect("the flow is there");
    assert_eq!(back.seq_end, 99);
    connection.back(RST, 50, 0, State::Reset);
}

#[test]
fn a_server_may_refuse_after_it_has_greeted() {
    let mut connection = Connection::new();
    connection.out(SYN, 1000, 0, State::SynSent);
    connection.back(SYN | ACK, 5000, 1001, State::SynRecv);
    connection.back(RST, 4000, 0, State::SynRecv);
    connection.back(RST, 5001, 0, State::Reset);
}
