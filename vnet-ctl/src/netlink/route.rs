//! Where packets go.

use std::net::Ipv4Addr;

use futures_util::TryStreamExt as _;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAttribute, RouteType};

use super::{Doing as _, Error, Netlink};
use crate::state::Target;

/// What the kernel says where no route leads.
const NO_WAY: [i32; 4] = [-101, -113, -13, -22];

impl Netlink {
    /// Where this host would send a packet to the address.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn way_to(&self, address: Ipv4Addr) -> Result<Target, Error> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
        let found: Result<Vec<_>, _> = self.handle.route().get(route).execute().try_collect().await;
        let found = match found {
            Err(rtnetlink::Error::NetlinkError(message))
                if NO_WAY.contains(&message.raw_code()) =>
            {
                return Ok(Target::Unreachable);
            }
            found => found.doing(|| format!("look up the route to {address}"))?,
        };
        let Some(route) = found.first() else { return Ok(Target::Unreachable) };
        let device = route.attributes.iter().find_map(|attribute| {
            if let RouteAttribute::Oif(index) = attribute { Some(*index) } else { None }
        });
        Ok(match (route.header.kind, device) {
            (RouteType::Local | RouteType::Broadcast, _) => Target::Local,
            (_, Some(index)) => Target::Device(index),
            (_, None) => Target::Unreachable,
        })
    }
}
