//! The UDP datagram (RFC 768).

use super::checksum::{Sum, with_pseudo_header, without_field};
use super::parse::Reader;
use super::{Ipv4, Protocol};

const CHECKSUM_AT: usize = 6;
const HEADER_LENGTH: usize = 8;

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Checksum over pseudo-header, header and payload, or [`Sum::Absent`].
    pub checksum: Sum,
    /// The data.
    pub payload: Vec<u8>,
}

impl Udp {
    /// An empty datagram.
    pub fn new(source: u16, destination: u16) -> Self {
        Self { source, destination, checksum: Sum::Right, payload: Vec::new() }
    }

    pub(super) fn write(&self, ip: &Ipv4) -> Vec<u8> {
        let length = u16::try_from(HEADER_LENGTH + self.payload.len());
        let length = length.expect("a UDP datagram is shorter than 64 KiB");
        let mut bytes = Vec::new();
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&self.payload);
        let sum = self.checksum.wire(right_sum(ip, &bytes));
        bytes[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Reads a datagram; None when its header is cut short or its length is not the packet's.
    pub(super) fn read(ip: &Ipv4, bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (source, destination) = (from.u16().ok()?, from.u16().ok()?);
        let length = usize::from(from.u16().ok()?);
        let wire = from.u16().ok()?;
        if length != bytes.len() {
            return None;
        }
        let checksum = match wire {
            0 => Sum::Absent,
            _ => Sum::read(wire, right_sum(ip, &without_field(bytes, CHECKSUM_AT))),
        };
        Some(Self { source, destination, checksum, payload: from.0.to_vec() })
    }
}

/// A computed zero is sent as its twin, all ones: zero means that there is no checksum.
fn right_sum(ip: &Ipv4, zeroed: &[u8]) -> u16 {
    match with_pseudo_header(ip.source, ip.destination, Protocol::UDP.0, zeroed) {
        0 => 0xffff,
        sum => sum,
    }
}
