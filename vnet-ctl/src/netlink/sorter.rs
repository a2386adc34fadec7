//! The cable to the sorter, and what is at its other end: a device that forwards everything back
//! to where it came from. Neither end asks for neighbours: both have the same address.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use vnet_common::fragment::SORTER_MAC;

use super::{Doing as _, Error, Netlink, is_absent};

/// The longest packet there is fits.
const MTU: u32 = 65_535;
/// The device in the sorter's namespace.
const FAR: &str = "sort0";
/// Whom the sorter sends everything to. Nobody has this address (RFC 7600), nor need anybody.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// The same for IPv6: a neighbour that is not asked for.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

impl Netlink {
    /// Plugs a cable between this namespace and the sorter's; the near end is still down.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn plug_sorter(
        &self,
        name: &str,
        index: u32,
        netns: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let far = LinkMessageBuilder::<LinkUnspec>::new()
            .name(FAR)
            .address(SORTER_MAC.to_vec())
            .mtu(MTU)
            .arp(false)
            .setns_by_fd(netns.as_raw_fd())
            .build();
        let near = LinkMessageBuilder::<LinkVeth>::new(name, FAR)
            .index(index)
            .address(SORTER_MAC.to_vec())
            .mtu(MTU)
            .arp(false)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .build();
        let made = self.handle.link().add(near).execute().await;
        made.doing(|| format!("make the device {name}"))
    }

    /// Takes a device up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn up(&self, index: u32) -> Result<(), Error> {
        let up = LinkUnspec::new_with_index(index).up().build();
        let done = self.handle.link().set(up).execute().await;
        done.doing(|| format!("take device {index} up"))
    }

    /// Removes a device, and with it the other end of its cable; one that is gone is fine.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_device(&self, index: u32) -> Result<(), Error> {
        let gone = self.handle.link().del(index).execute().await;
        let gone = gone.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) });
        gone.doing(|| format!("remove device {index}"))
    }

    /// Lets the far end send back all that it receives, of IPv6 too where that is wanted. To be called
    /// in the sorter's namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn turn_back(&self, six: bool) -> Result<(), Error> {
        let devices = self.devices().await?;
        // The loopback gives the namespace the routing table that gateways are looked up in.
        for index in devices.keys() {
            self.up(*index).await?;
        }
        let far = devices.iter().find(|(_, device)| device.name == FAR).map(|(index, _)| *index);
        let far = far.unwrap_or_default();
        let route = RouteMessageBuilder::<Ipv4Addr>::new();
        let route = route.gateway(GATEWAY).output_interface(far).onlink().build();
        let added = self.handle.route().add(route).execute().await;
        added.doing(|| "add the sorter's route".to_owned())?;
        if !six {
            return Ok(());
        }
        let route = RouteMessageBuilder::<Ipv6Addr>::new();
        let route = route.gateway(GATEWAY6).output_interface(far).build();
        let added = self.handle.route().add(route).execute().await;
        added.doing(|| "add the sorter's route for IPv6".to_owned())
    }
}
