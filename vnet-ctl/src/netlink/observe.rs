//! Facts: devices, their addresses, their qdiscs and filters.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt as _;
use ipnet::{Ipv4Net, Ipv6Net};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};
use rtnetlink::packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};

use super::{Doing as _, Error, Netlink, features};
use crate::spec::Hook;
use crate::state::{Device, DeviceXdp, Filter, Tc, XdpProgram};

/// Bytes of an Ethernet header.
const ETHERNET_HEADER: u32 = 14;
/// The same with a VLAN tag in it.
const TAGGED_HEADER: u32 = 18;
/// Qdiscs that only see to fairness, which are the kernel's defaults.
const PLAIN: [&str; 7] = ["noqueue", "noop", "mq", "pfifo", "pfifo_fast", "fq_codel", "fq"];

impl Netlink {
    /// Every device with its addresses.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn devices(&self) -> Result<BTreeMap<u32, Device>, Error> {
        let links = self.handle.link().get().execute();
        let links: Vec<_> = links.try_collect().await.doing(|| "list devices".to_owned())?;
        let mut devices: BTreeMap<_, _> =
            links.iter().map(|link| (link.header.index, device(link, &links))).collect();
        if let Some(drivers) = features::drivers()? {
            for (index, device) in &mut devices {
                device.xdp.driver = Some(drivers.get(index).copied().unwrap_or_default());
            }
        }
        let addresses = self.handle.address().get().execute();
        let addresses: Vec<_> =
            addresses.try_collect().await.doing(|| "list addresses".to_owned())?;
        for message in &addresses {
            let Some(device) = devices.get_mut(&message.header.index) else { continue };
            device.addresses.extend(address(message));
            device.networks.extend(network(message));
            device.networks6.extend(network6(message));
        }
        Ok(devices)
    }

    /// The `clsact` (or `ingress`) qdisc of a device and all filters on it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn tc(&self, index: u32) -> Result<Tc, Error> {
        let qdiscs = self.handle.qdisc().get().index(index.cast_signed()).execute();
        let doing = || format!("list the qdiscs of device {index}");
        let qdiscs: Vec<_> = qdiscs.try_collect().await.doing(doing)?;
        let ours = |message: &&TcMessage| {
            message.header.index == index.cast_signed() && message.header.parent == TcHandle::CLSACT
        };
        let qdisc = qdiscs.iter().find(ours).map(|message| kind(message).to_owned());
        let mut filters = Vec::new();
        if qdisc.is_some() {
            for hook in Hook::TC {
                filters.extend(self.filters(index, hook).await?);
            }
        }
        let others = qdiscs.iter().filter(|message| !ours(message));
        let own = |message: &&TcMessage| message.header.index == index.cast_signed();
        let shaped = others.filter(own).any(|message| !PLAIN.contains(&kind(message)));
        Ok(Tc { qdisc, filters, shaped, ..Tc::default() })
    }

    async fn filters(&self, index: u32, hook: Hook) -> Result<Vec<Filter>, Error> {
        let request = self.handle.traffic_filter(index.cast_signed()).get();
        let request = match hook {
            Hook::In | Hook::Xdp => request.ingress(),
            Hook::Out => request.egress(),
        };
        let doing = || format!("list the filters of device {index}");
        let found: Vec<_> = request.execute().try_collect().await.doing(doing)?;
        // A classifier also reports itself without a handle; only its filters have one.
        let filters = found.iter().filter(|message| u32::from(message.header.handle) != 0);
        Ok(filters.map(|message| filter(message, hook)).collect())
    }
}

/// The first attribute that `pick` takes.
fn first<'a, A, T: 'a>(attributes: &'a [A], pick: impl Fn(&'a A) -> Option<T>) -> Option<T> {
    attributes.iter().find_map(pick)
}

fn device(message: &LinkMessage, all: &[LinkMessage]) -> Device {
    let name = first(&message.attributes, |attribute| {
        if let LinkAttribute::IfName(name) = attribute { Some(name.clone()) } else { None }
    });
    let header = match header(message.header.link_layer_type) {
        Some(ETHERNET_HEADER) if is(message, &InfoKind::Vlan) => Some(TAGGED_HEADER),
        header => header,
    };
    Device {
        name: name.unwrap_or_default(),
        header,
        enters: enters(message, all),
        needs_route: needs_route(message),
        up: message.header.flags.contains(LinkFlags::Up),
        mac: mac(message),
        xdp: xdp(message, all),
        ..Device::default()
    }
}

/// What the kernel tells of a device that matters to XDP, but for what its driver can do.
fn xdp(message: &LinkMessage, all: &[LinkMessage]) -> DeviceXdp {
    let program = first(&message.attributes, |attribute| {
        let LinkAttribute::Xdp(facts) = attribute else { return None };
        first(facts, |fact| if let LinkXdp::ProgId(id) = fact { Some(*id) } else { None })
    });
    let generic = first(&message.attributes, |attribute| {
        let LinkAttribute::Xdp(facts) = attribute else { return None };
        first(facts, |fact| if let LinkXdp::SkbProgId(id) = fact { Some(*id) } else { None })
    });
    let on_it = |link: &&LinkMessage| {
        is(link, &InfoKind::Vlan)
            && link.attributes.contains(&LinkAttribute::Link(message.header.index))
    };
    DeviceXdp {
        driver: None,
        program: program.map(|id| XdpProgram { id, generic: generic == Some(id), owner: None }),
        vlans: all.iter().any(|link| on_it(&link)),
        bond: is(message, &InfoKind::Bond),
        unfinished: is(message, &InfoKind::Veth) || is(message, &InfoKind::Tun),
    }
}

/// The address on the link, where it is one of Ethernet.
fn mac(message: &LinkMessage) -> [u8; 6] {
    let mac = first(&message.attributes, |attribute| {
        let LinkAttribute::Address(address) = attribute else { return None };
        address.as_slice().try_into().ok()
    });
    mac.unwrap_or_default()
}

/// Whether what the device receives is given to this host's IP. A port of a bridge or a bond gives
/// it to that; one of a VRF keeps it.
fn enters(message: &LinkMessage, all: &[LinkMessage]) -> bool {
    let flags = message.header.flags;
    let master = first(&message.attributes, |attribute| {
        if let LinkAttribute::Controller(index) = attribute { Some(*index) } else { None }
    });
    let master = master.and_then(|index| all.iter().find(|link| link.header.index == index));
    flags.contains(LinkFlags::Up)
        && !flags.contains(LinkFlags::Loopback)
        && !is(message, &InfoKind::Vrf)
        && master.is_none_or(|master| is(master, &InfoKind::Vrf))
}

/// Whether a device may look at the route that a packet has (`skb_dst`): tunnels whose other end the
/// route tells. On PPP older kernels leave a link header before what a program sends there.
fn needs_route(message: &LinkMessage) -> bool {
    const LAYERS: [LinkLayerType; 3] =
        [LinkLayerType::Ppp, LinkLayerType::Tunnel, LinkLayerType::Ipgre];
    const KINDS: [InfoKind; 6] = [
        InfoKind::Vxlan,
        InfoKind::Geneve,
        InfoKind::GreTap,
        InfoKind::GreTap6,
        InfoKind::ErSpan,
        InfoKind::Ip6ErSpan,
    ];
    LAYERS.contains(&message.header.link_layer_type) || KINDS.iter().any(|kind| is(message, kind))
}

/// Whether a device is of this kind.
fn is(message: &LinkMessage, kind: &InfoKind) -> bool {
    let infos = first(&message.attributes, |attribute| {
        if let LinkAttribute::LinkInfo(infos) = attribute { Some(infos.as_slice()) } else { None }
    });
    infos.unwrap_or_default().contains(&LinkInfo::Kind(kind.clone()))
}

/// Bytes of link header of devices with that kind of link layer; `None` when it is not known.
fn header(layer: LinkLayerType) -> Option<u32> {
    const ETHERNET: [LinkLayerType; 2] = [LinkLayerType::Ether, LinkLayerType::Loopback];
    const BARE: [LinkLayerType; 5] = [
        LinkLayerType::None,
        LinkLayerType::Ppp,
        LinkLayerType::Tunnel,
        LinkLayerType::Ipgre,
        LinkLayerType::Rawip,
    ];
    if ETHERNET.contains(&layer) {
        Some(ETHERNET_HEADER)
    } else {
        BARE.contains(&layer).then_some(0)
    }
}

fn address(message: &AddressMessage) -> Option<(Ipv4Addr, bool)> {
    if message.header.family != AddressFamily::Inet {
        return None;
    }
    // On point-to-point devices ADDRESS is the other end; LOCAL is always ours.
    let local = first(&message.attributes, |attribute| {
        if let AddressAttribute::Local(IpAddr::V4(own)) = attribute { Some(*own) } else { None }
    });
    local.map(|own| (own, message.header.scope == AddressScope::Universe))
}

/// The network an address is in: that of the other end, where there is one.
fn network(message: &AddressMessage) -> Option<Ipv4Net> {
    let address = first(&message.attributes, |attribute| {
        if let AddressAttribute::Address(IpAddr::V4(one)) = attribute { Some(*one) } else { None }
    });
    Some(Ipv4Net::new(address?, message.header.prefix_len).ok()?.trunc())
}

/// An IPv6 address of global scope and its network: what link-local ones say is the link's matter.
fn network6(message: &AddressMessage) -> Option<Ipv6Net> {
    let address = first(&message.attributes, |attribute| {
        if let AddressAttribute::Address(IpAddr::V6(one)) = attribute { Some(*one) } else { None }
    });
    let net = Ipv6Net::new(address?, message.header.prefix_len).ok()?;
    (message.header.scope == AddressScope::Universe).then_some(net)
}

fn kind(message: &TcMessage) -> &str {
    let kind = first(&message.attributes, |attribute| {
        if let TcAttribute::Kind(kind) = attribute { Some(kind.as_str()) } else { None }
    });
    kind.unwrap_or_default()
}

fn filter(message: &TcMessage, hook: Hook) -> Filter {
    let options = first(&message.attributes, |attribute| {
        if let TcAttribute::Options(options) = attribute { Some(options.as_slice()) } else { None }
    });
    let options = options.unwrap_or_default();
    let name = first(options, |option| {
        let TcOption::Bpf(TcFilterBpfOption::ProgName(name)) = option else { return None };
        Some(name.clone())
    });
    let program = first(options, |option| {
        let TcOption::Bpf(TcFilterBpfOption::ProgId(id)) = option else { return None };
        Some(*id)
    });
    Filter {
        hook,
        priority: TcHandle::from(message.header.info).major,
        handle: message.header.handle.into(),
        kind: kind(message).to_owned(),
        name: name.unwrap_or_default(),
        program,
    }
}
