//! `events`: mappings that began or ended, read and thereby taken out of their buffer.

use aya::maps::{MapData, RingBuf};
use vnet_common::event::Event;

use super::error::Error;
use super::maps::Maps;
use super::pins::Pins;

/// The events of one instance. One reader at a time: two would share them.
pub struct Events {
    buffer: RingBuf<MapData>,
}

impl Events {
    /// Opens them by their pin.
    ///
    /// # Errors
    /// When they are not there.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self { buffer: Maps::of(pins).open("events")? })
    }

    /// Takes out every event there is, but no more than fit the buffer at once: who writes fast
    /// shall not keep the reader from its other business.
    pub fn take(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < MOST
            && let Some(item) = self.buffer.next()
        {
            events.extend(read(&item));
        }
        events
    }
}

/// Events that are taken out in one go.
const MOST: usize = 8192;

/// The record in its bytes; `None` when there are too few.
fn read(bytes: &[u8]) -> Option<Event> {
    let mut rest = bytes;
    Some(Event {
        time: u64::from_ne_bytes(part(&mut rest)?),
        inside: part(&mut rest)?,
        outside: part(&mut rest)?,
        inside_port: u16::from_ne_bytes(part(&mut rest)?),
        outside_port: u16::from_ne_bytes(part(&mut rest)?),
        proto: u8::from_ne_bytes(part(&mut rest)?),
        kind: u8::from_ne_bytes(part(&mut rest)?),
        flags: u16::from_ne_bytes(part(&mut rest)?),
    })
}

/// The next `N` bytes.
fn part<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_field_by_field() {
        let mut bytes = 7u64.to_ne_bytes().to_vec();
        bytes.extend([10, 0, 0, 2, 198, 51, 100, 1]);
        bytes.extend([4000u16, 5000].iter().flat_map(|port| port.to_ne_bytes()));
        bytes.extend([17, 1, 0, 0]);
        let event = Event {
            time: 7,
            inside: [10, 0, 0, 2],
            outside: [198, 51, 100, 1],
            inside_port: 4000,
            outside_port: 5000,
            proto: 17,
            kind: 1,
            flags: 0,
        };
        assert_eq!(read(&bytes), Some(event));
        assert_eq!(read(&bytes[1..]), None);
    }
}
