//! A TCP connection through the translator, segment by segment, by hand.

use std::net::SocketAddrV4;

use super::field::Field;
use super::{Miss, fails};
use crate::packet::{Endpoint, Packet, TcpFlags};

/// SYN and ACK.
pub(super) const SYN_ACK: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
/// RST and ACK.
pub(super) const RST_ACK: TcpFlags = TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0);
/// FIN and ACK.
pub(super) const FIN_ACK: TcpFlags = TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0);
/// PSH and ACK: data.
pub(super) const DATA: TcpFlags = TcpFlags(TcpFlags::PSH.0 | TcpFlags::ACK.0);

/// First sequence numbers of the two ends.
const FIRST: (u32, u32) = (1000, 500_000);

/// An open connection.
pub(super) struct Connection {
    /// The end inside.
    pub(super) host: SocketAddrV4,
    /// The same end as the other sees it.
    pub(super) mapped: SocketAddrV4,
    /// The end outside.
    pub(super) server: SocketAddrV4,
    /// Next sequence number of the host, and of the server.
    pub(super) next: (u32, u32),
}

impl Connection {
    /// A SYN from inside; as whose it arrives.
    pub(super) fn syn(
        field: &Field,
        from: impl Endpoint,
        to: impl Endpoint,
    ) -> Result<SocketAddrV4, Miss> {
        let syn = Packet::tcp(from, to.endpoint(), TcpFlags::SYN).numbers(FIRST.0, 0);
        match field.out(&syn) {
            Some(packet) => Ok(packet.source()),
            None => fails(format!("a SYN from {} did not leave", syn.source())),
        }
    }

    /// The whole handshake.
    pub(super) fn open(
        field: &Field,
        from: impl Endpoint,
        to: impl Endpoint,
    ) -> Result<Self, Miss> {
        let (host, server) = (from.endpoint(), to.endpoint());
        let mapped = Self::syn(field, host, server)?;
        let open = Self { host, mapped, server, next: (FIRST.0 + 1, FIRST.1 + 1) };
        let answer = Packet::tcp(server, mapped, SYN_ACK).numbers(FIRST.1, FIRST.0 + 1);
        if field.back(&answer, *host.ip()).is_none() {
            return fails("a SYN's answer did not come back");
        }
        if field.out(&open.outward(TcpFlags::ACK)).is_none() {
            return fails("the last segment of a handshake did not leave");
        }
        Ok(open)
    }

    /// The next segment of the host.
    pub(super) fn outward(&self, flags: TcpFlags) -> Packet {
        Packet::tcp(self.host, self.server, flags).numbers(self.next.0, self.next.1)
    }

    /// The next segment of the server.
    pub(super) fn inward(&self, flags: TcpFlags) -> Packet {
        Packet::tcp(self.server, self.mapped, flags).numbers(self.next.1, self.next.0)
    }

    /// Four bytes from the host; whether they arrive as from the mapping.
    pub(super) fn say(&mut self, field: &Field) -> bool {
        let sent = self.outward(DATA).payload(b"ping");
        self.next.0 += 4;
        field.out(&sent).is_some_and(|heard| heard.source() == self.mapped)
    }

    /// Four bytes from the server; whether they arrive at the host.
    pub(super) fn hear(&mut self, field: &Field) -> bool {
        let sent = self.inward(DATA).payload(b"pong");
        self.next.1 += 4;
        let heard = field.back(&sent, *self.host.ip());
        heard.is_some_and(|heard| heard.destination() == self.host)
    }

    /// Data both ways, or what is wrong.
    pub(super) fn talks(&mut self, field: &Field) -> Result<(), Miss> {
        if !self.say(field) {
            return fails("data of the host did not arrive outside");
        }
        if !self.hear(field) {
            return fails("data from outside did not arrive at the host");
        }
        Ok(())
    }
}
