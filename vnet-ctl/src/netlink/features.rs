//! What drivers can do with XDP, as the kernel tells it by generic netlink (family `netdev`,
//! Documentation/netlink/specs/netdev.yaml; Linux 6.3).

use std::collections::BTreeMap;
use std::io;

use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use rtnetlink::packet_core::{
    DecodeError, Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlasIterator,
    ParseableParametrized,
};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rtnetlink::sys::{Socket, SocketAddr};

use super::Error;
use crate::state::Driver;

/// Numbers of the family.
mod number {
    pub(super) const DEV_GET: u8 = 1;
    pub(super) const VERSION: u8 = 1;
    pub(super) const IFINDEX: u16 = 1;
    pub(super) const XDP_FEATURES: u16 = 3;
    /// `NETDEV_XDP_ACT_BASIC` and `NETDEV_XDP_ACT_REDIRECT`.
    pub(super) const REDIRECTS: u64 = 1 | 2;
    /// `NETDEV_XDP_ACT_NDO_XMIT`.
    pub(super) const SENDS: u64 = 4;
}

/// What the driver of every device can do; nothing when the kernel does not tell.
///
/// # Errors
/// When it cannot be asked.
pub(super) fn drivers() -> Result<Option<BTreeMap<u32, Driver>>, Error> {
    ask().map_err(Error::Socket)
}

fn ask() -> io::Result<Option<BTreeMap<u32, Driver>>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let name = GenlCtrlAttrs::FamilyName(Device::family_name().to_owned());
    let which = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] };
    let Some(found) = talk(&socket, GenlMessage::from_payload(which), 0)? else { return Ok(None) };
    let id = found.iter().flat_map(|family| &family.nlas).find_map(|attribute| {
        if let GenlCtrlAttrs::FamilyId(id) = attribute { Some(*id) } else { None }
    });
    let mut message = GenlMessage::from_payload(Device::default());
    message.set_resolved_family_id(id.unwrap_or_default());
    let devices = talk(&socket, message, NLM_F_DUMP)?.unwrap_or_default();
    Ok(Some(devices.iter().map(|device| (device.index, device.driver())).collect()))
}

/// Sends a request and reads all that is answered; nothing when the kernel does not know of it.
fn talk<F>(socket: &Socket, message: GenlMessage<F>, flags: u16) -> io::Result<Option<Vec<F>>>
where
    F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + std::fmt::Debug,
{
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut found = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<GenlMessage<F>>::deserialize(rest);
            let message = message.map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            if let NetlinkPayload::Error(error) = &message.payload {
                match error.raw_code() {
                    0 => return Ok(Some(found)),
                    code if code == -ENOENT => return Ok(None),
                    _ => return Err(error.to_io()),
                }
            }
            let NetlinkPayload::InnerMessage(inner) = message.payload else {
                return Ok(Some(found));
            };
            found.push(inner.payload);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if flags & NLM_F_DUMP == 0 {
            return Ok(Some(found));
        }
    }
}

const ENOENT: i32 = 2;

/// A device, as far as this looks: a request for all of them is empty.
#[derive(Clone, Copy, Debug, Default)]
struct Device {
    index: u32,
    features: u64,
}

impl Device {
    const fn driver(&self) -> Driver {
        Driver {
            redirects: self.features & number::REDIRECTS == number::REDIRECTS,
            sends: self.features & number::SENDS != 0,
        }
    }
}

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        number::DEV_GET
    }

    fn version(&self) -> u8 {
        number::VERSION
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        0
    }

    fn emit(&self, _buffer: &mut [u8]) {}
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(bytes: &[u8], _header: GenlHeader) -> Result<Self, DecodeError> {
        let mut device = Self::default();
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                number::IFINDEX => {
                    device.index = value.try_into().map_or(0, u32::from_ne_bytes);
                }
                number::XDP_FEATURES => {
                    device.features = value.try_into().map_or(0, u64::from_ne_bytes);
                }
                _ => {}
            }
        }
        Ok(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_can_do_is_read_from_its_bits() {
        let driver = |features| Device { index: 1, features }.driver();
        assert_eq!(driver(0x23), Driver { redirects: true, sends: false }, "veth without NAPI");
        assert_eq!(driver(0x67), Driver { redirects: true, sends: true }, "veth with NAPI");
        assert_eq!(driver(1), Driver { redirects: false, sends: false });
        assert_eq!(driver(0), Driver { redirects: false, sends: false });
    }

    #[test]
    fn the_kernel_tells_of_every_device_or_of_none() {
        if let Some(drivers) = drivers().unwrap() {
            assert!(drivers.values().all(|driver| driver.redirects || !driver.sends));
            assert!(!drivers.is_empty());
        }
    }
}
