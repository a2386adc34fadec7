//! The TCP segment (RFC 9293).

use std::fmt;
use std::ops::BitOr;

use super::checksum::{Sum, with_pseudo_header, without_field};
use super::parse::Reader;
use super::{Ipv4, Protocol};

const CHECKSUM_AT: usize = 16;
const BASE_LENGTH: usize = 20;

/// The control bits of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Ends a connection at once.
    pub const RST: Self = Self(0x04);
    /// Hand the data over now.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);

    /// Whether all of `flags` are set.
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for TcpFlags {
    /// As tcpdump writes them: `S.` is SYN and ACK.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (Self::FIN, "F"),
            (Self::SYN, "S"),
            (Self::RST, "R"),
            (Self::PSH, "P"),
            (Self::URG, "U"),
            (Self::ACK, "."),
        ];
        let set = letters.iter().filter(|(flag, _)| self.has(*flag));
        let text: String = set.map(|(_, letter)| *letter).collect();
        f.write_str(if text.is_empty() { "none" } else { &text })
    }
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Number of the first byte of the payload.
    pub sequence: u32,
    /// Number of the next byte expected.
    pub acknowledgement: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Room at the sender.
    pub window: u16,
    /// Checksum over pseudo-header, header and payload.
    pub checksum: Sum,
    /// Where urgent data ends.
    pub urgent: u16,
    /// Options, padded to a multiple of four bytes.
    pub options: Vec<u8>,
    /// The data.
    pub payload: Vec<u8>,
}

impl Tcp {
    /// A segment without flags, options and data.
    pub fn new(source: u16, destination: u16) -> Self {
        Self {
            source,
            destination,
            sequence: 0,
            acknowledgement: 0,
            flags: TcpFlags::default(),
            window: 64240,
            checksum: Sum::Right,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    pub(super) fn write(&self, ip: &Ipv4) -> Vec<u8> {
        assert!(self.options.len().is_multiple_of(4), "TCP options come in units of four bytes");
        let units = u8::try_from((BASE_LENGTH + self.options.len()) / 4);
        let units = units.ok().filter(|units| *units < 16).expect("TCP has 40 bytes of options");
        let mut bytes = Vec::new();
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgement.to_be_bytes());
        bytes.extend([units << 4, self.flags.0]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        let right = with_pseudo_header(ip.source, ip.destination, Protocol::TCP.0, &bytes);
        let sum = self.checksum.wire(right).to_be_bytes();
        bytes[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum);
        bytes
    }

    /// Reads a segment; None when its header is cut short.
    pub(super) fn read(ip: &Ipv4, bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (source, destination) = (from.u16().ok()?, from.u16().ok()?);
        let (sequence, acknowledgement) = (from.u32().ok()?, from.u32().ok()?);
        let header_length = usize::from(from.u8().ok()? >> 4) * 4;
        let flags = TcpFlags(from.u8().ok()?);
        let window = from.u16().ok()?;
        let zeroed = bytes.get(..BASE_LENGTH).map(|_| without_field(bytes, CHECKSUM_AT))?;
        let right = with_pseudo_header(ip.source, ip.destination, Protocol::TCP.0, &zeroed);
        Some(Self {
            source,
            destination,
            sequence,
            acknowledgement,
            flags,
            window,
            checksum: Sum::read(from.u16().ok()?, right),
            urgent: from.u16().ok()?,
            options: bytes.get(BASE_LENGTH..header_length)?.to_vec(),
            payload: bytes[header_length..].to_vec(),
        })
    }
}
