//! One inside host reaches another by the uplink's IPv6 address (RFC 4787 REQ-9, RFC 5382 REQ-8,
//! RFC 5508 REQ-7), by the kernel's own IPv6 at both ends.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use vnet_tests::counters::Counters;
use vnet_tests::lab::{ETH, Lab, UPLINK};
use vnet_tests::netns::Netns;
use vnet_tests::socket::PATIENCE;

use crate::npt::{ROUTER, SERVER, at};
use crate::scene::wait_until;

/// Two clients behind different devices, or behind one bridge, and how they are known inside.
struct Neighbours {
    lab: Lab,
    addresses: [&'static str; 2],
}

impl Neighbours {
    fn of(lab: Lab, devices: &[(&str, &str)], addresses: [&'static str; 2]) -> Self {
        let clients = || lab.clients.iter().map(|client| &client.netns);
        let inside = devices.iter().map(|(device, address)| (&lab.router, *device, *address));
        let outside = [(&lab.router, UPLINK, ROUTER[1]), (&lab.server, ETH, SERVER[0])];
        let ends = clients().zip(addresses).map(|(netns, address)| (netns, ETH, address));
        for (n, (netns, device, address)) in (1..).zip(ends.chain(inside).chain(outside)) {
            netns.ip(&format!("address add {address}/64 dev {device}"));
            netns.ip(&format!("address add fe80::{n}/64 dev {device}"));
        }
        lab.router.set_sysctl("net/ipv6/conf/all/forwarding", "1");
        for (netns, gateway) in clients().zip(devices.iter().cycle()) {
            netns.ip(&format!("-6 route add default via {}", gateway.1));
        }
        lab.attach(&["--nat66"]);
        Self { lab, addresses }
    }

    fn all() -> [Self; 2] {
        let apart = [("in0", ROUTER[0]), ("in1", "fd01:203:405:2::1")];
        [
            Self::of(
                Lab::plan().clients(2).build(),
                &apart,
                ["fd01:203:405:1::2", "fd01:203:405:2::2"],
            ),
            Self::of(
                Lab::plan().clients(2).bridged().build(),
                &[("br0", ROUTER[0])],
                ["fd01:203:405:1::2", "fd01:203:405:1::3"],
            ),
        ]
    }

    fn client(&self, n: usize) -> &Netns {
        &self.lab.clients[n].netns
    }

    /// A socket that is known outside by its own port.
    fn mapped(&self, n: usize, port: u16) -> UdpSocket {
        let socket = self.client(n).run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)));
        let socket = socket.expect("it binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
        let server = self.lab.server.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 5000)));
        let server = server.expect("it binds");
        server.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
        socket.send_to(b"question", at(SERVER[0], 5000)).expect("a datagram can be sent");
        let (_, from) = server.recv_from(&mut [0; 9]).expect("the question arrives");
        assert_eq!(from, outside(port));
        socket
    }
}

/// A TCP socket of the present namespace that has this port.
fn bound(port: u16) -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0))?;
    Ok(socket)
}

/// The uplink's address.
fn outside(port: u16) -> SocketAddr {
    at(ROUTER[1], port)
}

#[track_caller]
fn say(from: &UdpSocket, to: &UdpSocket, by: SocketAddr) -> SocketAddr {
    from.send_to(b"hello", by).expect("a datagram can be sent");
    let mut heard = [0; 9];
    let (length, from) = to.recv_from(&mut heard).expect("the datagram arrives");
    assert_eq!(&heard[..length], b"hello");
    from
}

#[test]
fn rfc4787_req9_nat66_hairpin_external_source() {
    for neighbours in Neighbours::all() {
        let (a, b) = (neighbours.mapped(0, 4000), neighbours.mapped(1, 4001));
        for _ in 0..3 {
            assert_eq!(say(&a, &b, outside(4001)), outside(4000));
            assert_eq!(say(&b, &a, outside(4000)), outside(4001));
        }
        // To itself, and by inside addresses, which nobody touches.
        assert_eq!(say(&a, &a, outside(4000)), outside(4000));
        let [one, other] = neighbours.addresses;
        assert_eq!(say(&a, &b, at(other, 4001)), at(one, 4000));
        let counted = Counters::of(&neighbours.lab);
        assert_eq!((counted.0["hairpin"], counted.0["hairpin_out"]), (7, 7), "{counted:?}");
    }
}

#[test]
fn rfc5382_req8_nat66_hairpin_by_tcp() {
    for neighbours in Neighbours::all() {
        // A connection to the outside, refused or not, gives the listener's port its mapping.
        let client = neighbours.client(1);
        let asking = client.run(|| bound(4001)).expect("it binds");
        let server = SocketAddrV6::new(SERVER[0].parse().expect("an address"), 9, 0, 0);
        let refused = client.run(|| rustix::net::connect(&asking, &server));
        assert_eq!(refused, Err(rustix::io::Errno::CONNREFUSED));
        drop(asking);
        let listener = client.run(|| bound(4001)).expect("it binds");
        rustix::net::listen(&listener, 8).expect("it listens");
        let listener = TcpListener::from(listener);
        let connect = || TcpStream::connect_timeout(&outside(4001), PATIENCE);
        let mut sender = neighbours.client(0).run(connect).expect("it connects");
        let (mut stream, from) = listener.accept().expect("a connection comes");
        assert_eq!(from.ip(), outside(0).ip());
        sender.write_all(&[7; 100_000]).expect("the other end listens");
        sender.shutdown(Shutdown::Write).expect("a connection can be closed");
        let mut heard = Vec::new();
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
        stream.read_to_end(&mut heard).expect("the other end goes on talking");
        assert_eq!(heard.len(), 100_000);
    }
}

#[test]
fn rfc5508_req7_nat66_hairpin_errors_arrive() {
    for neighbours in Neighbours::all() {
        let (a, b) = (neighbours.mapped(0, 4000), neighbours.mapped(1, 4001));
        a.connect(outside(4001)).expect("a peer can be set");
        drop(b);
        a.send(b"anybody?").expect("a datagram can be sent");
        let refused = a.recv(&mut [0; 9]).expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    }
}

#[test]
fn rfc5508_req7_nat66_hairpin_narrow_places_are_told_by_the_router() {
    let [neighbours, _] = Neighbours::all();
    let (a, b) = (neighbours.mapped(0, 4000), neighbours.mapped(1, 4001));
    neighbours.lab.router.ip("link set in1 mtu 1300");
    a.send_to(&[7; 1400], outside(4001)).expect("a datagram can be sent");
    let learnt =
        || neighbours.client(0).ip(&format!("-6 route get {}", ROUTER[1])).contains("mtu 1300");
    wait_until("the path's MTU is known", Duration::from_secs(3), learnt);
    drop(b);
}
