//! The usual scene: clients, a router, a server.
//!
//! ```text
//!   client 0  10.0.0.2 -- in0 10.0.0.1  \
//!   client 1  10.0.1.2 -- in1 10.0.1.1   router  up0 198.51.100.1 -- server 198.51.100.2, .3, …
//! ```
//!
//! or, bridged, all clients in 10.0.0.0/24 behind `br0`. The server has **no route back** to the
//! inside: an answer can only come if the router translated. The router does not forward until
//! someone tells it to ([`Lab::forward`], or vnetctl). All labs use the same addresses; their
//! namespaces keep them apart.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::instance;
use crate::link::{self, Cable, Port};
use crate::netns::Netns;
use crate::patience;
use crate::vnetctl::{self, Outcome, Running};

/// The router's address on the uplink: what the server must see.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The router's device towards the server.
pub const UPLINK: &str = "up0";

/// Everything inside, however many clients there are.
pub const INSIDE: &str = "10.0.0.0/16";

/// The device of every client and server.
pub const ETH: &str = "eth0";

/// One machine inside.
#[derive(Debug)]
pub struct Client {
    /// Where it runs.
    pub netns: Netns,
    /// Its device.
    pub port: Port,
    /// The router's end of its cable.
    pub router_port: Port,
    /// Its address.
    pub address: Ipv4Addr,
}

/// A running lab; dropping it takes everything away.
#[derive(Debug)]
pub struct Lab {
    /// The machines inside; at least one.
    pub clients: Vec<Client>,
    /// Where vnetctl and the datapath run.
    pub router: Netns,
    /// The router's device towards the server.
    pub uplink: Port,
    /// The machine outside.
    pub server: Netns,
    /// The server's device.
    pub server_port: Port,
    instance: String,
    offloads: bool,
}

/// How a lab shall be; [`Lab::new`] is the usual one.
#[derive(Clone, Debug)]
#[must_use = "nothing is built before `build`"]
pub struct Plan {
    clients: u8,
    server_addresses: u8,
    bridged: bool,
    offloads: bool,
    uplink_mtu: u32,
}

impl Plan {
    /// So many clients (1 otherwise).
    pub fn clients(self, clients: u8) -> Self {
        Self { clients, ..self }
    }

    /// So many addresses of the server, from 198.51.100.2 on (1 otherwise).
    pub fn server_addresses(self, server_addresses: u8) -> Self {
        Self { server_addresses, ..self }
    }

    /// All clients in one network, ports of the router's bridge `br0`.
    pub fn bridged(self) -> Self {
        Self { bridged: true, ..self }
    }

    /// Checksum and segmentation offloads as a kernel has them by default, instead of none.
    pub fn with_offloads(self) -> Self {
        Self { offloads: true, ..self }
    }

    /// Another MTU of the uplink and the server than 1500.
    pub fn uplink_mtu(self, uplink_mtu: u32) -> Self {
        Self { uplink_mtu, ..self }
    }

    /// Builds it.
    ///
    /// # Panics
    /// When the kernel refuses any part, saying which.
    pub fn build(self) -> Lab {
        assert!(self.clients > 0 && self.server_addresses > 0, "a lab needs both sides");
        let (router, server) = (Netns::new("router"), Netns::new("server"));
        let cable = self.cable((&router, UPLINK), (&server, ETH)).mtu(self.uplink_mtu);
        let (uplink, server_port) = cable.plug();
        link::address(&router, UPLINK, &format!("{OUTSIDE}/24"));
        for n in 0..self.server_addresses {
            link::address(&server, ETH, &format!("{}/24", server_address(n)));
        }
        if self.bridged {
            router.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0");
            router.ip("link set br0 up");
            link::address(&router, "br0", "10.0.0.1/24");
        }
        let clients = (0..self.clients).map(|n| self.client(n, &router)).collect();
        let (instance, offloads) = (instance::unique(), self.offloads);
        Lab { clients, router, uplink, server, server_port, instance, offloads }
    }

    fn client(&self, n: u8, router: &Netns) -> Client {
        let netns = Netns::new(&format!("client{n}"));
        let device = format!("in{n}");
        let (port, router_port) = self.cable((&netns, ETH), (router, &device)).plug();
        let (subnet, host) = if self.bridged { (0, n + 2) } else { (n, 2) };
        let gateway = Ipv4Addr::new(10, 0, subnet, 1);
        if self.bridged {
            router.ip(&format!("link set dev {device} master br0"));
            link::wait_running(router, "br0");
        } else {
            link::address(router, &device, &format!("{gateway}/24"));
        }
        let address = Ipv4Addr::new(10, 0, subnet, host);
        link::address(&netns, ETH, &format!("{address}/24"));
        netns.ip(&format!("route add default via {gateway}"));
        Client { netns, port, router_port, address }
    }

    fn cable<'a>(&self, a: (&'a Netns, &'a str), b: (&'a Netns, &'a str)) -> Cable<'a> {
        let cable = Cable::new(a, b);
        if self.offloads { cable.with_offloads() } else { cable }
    }
}

/// The exit code of a command that has waited for its turn in vain.
const LOCKED: i32 = 11;

impl Lab {
    /// One client, one router, one server with one address.
    pub fn new() -> Self {
        Self::plan().build()
    }

    /// Starts from the usual lab and changes it.
    pub fn plan() -> Plan {
        Plan {
            clients: 1,
            server_addresses: 1,
            bridged: false,
            offloads: false,
            uplink_mtu: link::DEFAULT_MTU,
        }
    }

    /// The first client.
    pub fn client(&self) -> &Client {
        &self.clients[0]
    }

    /// The name of this lab's instance of vnet.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether checksums and segments are left to whoever comes next.
    pub fn has_offloads(&self) -> bool {
        self.offloads
    }

    /// Lets the kernel of the router forward, as vnetctl would.
    pub fn forward(&self) {
        self.router.set_sysctl("net/ipv4/ip_forward", "1");
    }

    /// Writes every neighbour of the lab down, so that the only packets are those a test sends.
    pub fn fix_neighbours(&self) {
        let server_addresses = self.server.ip("-4 -o address show dev eth0");
        link::neighbour(&self.server, ETH, OUTSIDE, self.uplink.mac);
        for n in (0..server_addresses.lines().count()).filter_map(|n| u8::try_from(n).ok()) {
            link::neighbour(&self.router, UPLINK, server_address(n), self.server_port.mac);
        }
        for client in &self.clients {
            self.fix_client(client);
        }
    }

    fn fix_client(&self, client: &Client) {
        let [a, b, c, _] = client.address.octets();
        let gateway = Ipv4Addr::new(a, b, c, 1);
        let owner = self.router.ip(&format!("-4 -o address show to {gateway}"));
        let device = owner.split_whitespace().nth(1).expect("the gateway is an address of ours");
        let shown = self.router.ip(&format!("-o link show dev {device}"));
        let mac = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
        let mac = mac.and_then(|mac| mac.parse().ok()).expect("an Ethernet device has a MAC");
        link::neighbour(&client.netns, ETH, gateway, mac);
        link::neighbour(&self.router, device, client.address, client.port.mac);
    }

    /// Runs vnetctl in the router, on this lab's own instance, and waits for it.
    #[must_use = "an outcome nobody looks at tests nothing: use ok() or fails()"]
    pub fn vnetctl(&self, args: &[&str]) -> Outcome {
        let mut left = patience::FACTOR;
        loop {
            let outcome = vnetctl::run(self.vnetctl_command(args));
            left -= 1;
            // Where everything is slow, another story's turn may take longer than a command waits.
            if left == 0 || outcome.status.code() != Some(LOCKED) {
                return outcome;
            }
        }
    }

    /// Starts vnetctl in the router (a watch, an agent); dropping the value kills it.
    pub fn start_vnetctl(&self, args: &[&str]) -> Running {
        vnetctl::start(self.vnetctl_command(args))
    }

    /// Has vnetctl translate what leaves the uplink, [`INSIDE`] being inside; `more` are further
    /// words.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn attach(&self, more: &[&str]) {
        let words = [&["attach", "--nat", UPLINK, "--inside", INSIDE], more].concat();
        self.vnetctl(&words).ok();
    }

    /// The connections vnetctl shows, a JSON object each.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn flows(&self) -> Vec<Value> {
        self.rows("flows")
    }

    /// The mappings vnetctl shows, a JSON object each.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn mappings(&self) -> Vec<Value> {
        self.rows("mappings")
    }

    #[track_caller]
    fn rows(&self, command: &str) -> Vec<Value> {
        let answer = self.vnetctl(&[command, "--json"]).ok();
        let rows = answer.json().as_array().cloned();
        rows.unwrap_or_else(|| panic!("not a list: {answer}"))
    }

    /// The command those two run, for a test that wants to change it first.
    pub fn vnetctl_command(&self, args: &[&str]) -> Command {
        self.command_of(&vnetctl::program(), args)
    }

    /// The same of another build of vnetctl.
    pub fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let args: Vec<_> = args.iter().copied().chain(["--instance", &self.instance]).collect();
        self.router.command(&program.to_string_lossy(), &args)
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Programs and their links go with the router's devices; the pins would outlive them.
        instance::remove_pins(&self.instance);
    }
}

/// The server's n-th address, at `port`.
pub fn server(n: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(server_address(n), port)
}

/// The server's n-th address.
pub fn server_address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 2 + n)
}
