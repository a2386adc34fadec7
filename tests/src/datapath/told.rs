//! What a datapath tells of mappings, and how large its programs are.

use std::mem::offset_of;
use std::net::{Ipv4Addr, SocketAddrV4};

use aya::maps::RingBuf;
use vnet_common::event::Event;

use super::{Datapath, Hook};

impl Datapath {
    /// What was told of mappings since the last look: kind, inside and outside end.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn events(&mut self) -> Vec<(u8, SocketAddrV4, SocketAddrV4)> {
        let map = self.loaded.get_mut().ebpf().map_mut("events").expect("the object has events");
        let mut buffer = RingBuf::try_from(map).expect("a ring buffer");
        let mut events = Vec::new();
        while let Some(item) = buffer.next() {
            let address = |at: usize| <[u8; 4]>::try_from(&item[at..at + 4]).expect("four bytes");
            let port = |at: usize| u16::from_ne_bytes([item[at], item[at + 1]]);
            let end = |addr, at| SocketAddrV4::new(Ipv4Addr::from(address(addr)), port(at));
            let (inside, outside) = (offset_of!(Event, inside), offset_of!(Event, outside));
            let kind = item[offset_of!(Event, kind)];
            events.push((
                kind,
                end(inside, offset_of!(Event, inside_port)),
                end(outside, offset_of!(Event, outside_port)),
            ));
        }
        events
    }

    /// Bytes of a program's instructions, as the kernel has them.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn size(&self, hook: Hook) -> u32 {
        let mut loaded = self.loaded.borrow_mut();
        let program = loaded.program(hook.program()).unwrap_or_else(|e| panic!("{e}"));
        let info = program.info().expect("a loaded program tells about itself");
        info.size_translated().expect("root may know the size")
    }
}
