//! Changes: the `clsact` qdisc, and filters taken off it. Filters are put on by the loader of the
//! programs, because that needs the program's descriptor.

use futures_util::StreamExt as _;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage};

use super::{Doing as _, Error, Netlink, is_absent};
use crate::spec::Hook;

/// `ETH_P_ALL` in network order, as a filter's header has it.
const ALL_PROTOCOLS: u16 = 0x0003_u16.to_be();
/// The handle `clsact` always has.
const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0 };

impl Netlink {
    /// Adds the `clsact` qdisc to a device.
    ///
    /// # Errors
    /// When there is one already, or the kernel refuses.
    pub async fn add_clsact(&self, index: u32) -> Result<(), Error> {
        let mut message = TcMessage::default();
        message.header = clsact_header(index);
        message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
        let new = RouteNetlinkMessage::NewQueueDiscipline(message);
        let request = self.request(new, NLM_F_CREATE | NLM_F_EXCL);
        request.await.doing(|| format!("add the qdisc clsact to device {index}"))
    }

    /// Removes the `clsact` qdisc of a device, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_clsact(&self, index: u32) -> Result<(), Error> {
        let mut message = TcMessage::default();
        message.header = clsact_header(index);
        let gone = self.request(RouteNetlinkMessage::DelQueueDiscipline(message), 0).await;
        absent_is_fine(gone).doing(|| format!("remove the qdisc clsact from device {index}"))
    }

    /// Removes one filter from the `clsact` qdisc, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_filter(
        &self,
        index: u32,
        hook: Hook,
        priority: u16,
        handle: u32,
    ) -> Result<(), Error> {
        let minor = match hook {
            Hook::In | Hook::Xdp => TcHandle::MIN_INGRESS,
            Hook::Out => TcHandle::MIN_EGRESS,
        };
        let mut message = TcMessage::default();
        message.header = TcHeader {
            index: index.cast_signed(),
            parent: TcHandle { major: 0xffff, minor },
            handle: handle.into(),
            info: TcHandle { major: priority, minor: ALL_PROTOCOLS }.into(),
            ..TcHeader::default()
        };
        let gone = self.request(RouteNetlinkMessage::DelTrafficFilter(message), 0).await;
        absent_is_fine(gone).doing(|| format!("remove filter {hook} from device {index}"))
    }

    async fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), rtnetlink::Error> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.clone().request(request)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(refusal) = answer.payload
                && refusal.code.is_some()
            {
                return Err(rtnetlink::Error::NetlinkError(refusal));
            }
        }
        Ok(())
    }
}

fn clsact_header(index: u32) -> TcHeader {
    TcHeader {
        index: index.cast_signed(),
        handle: CLSACT,
        parent: TcHandle::CLSACT,
        ..TcHeader::default()
    }
}

fn absent_is_fine(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    result.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) })
}
