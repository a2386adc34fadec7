//! Ordinary sockets inside a namespace.
//!
//! They are the standard library's own types, made inside: wherever they are used from, they belong
//! to that namespace. All have a time limit, so that a lost packet fails a test instead of
//! hanging it.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with};

use crate::netns::Netns;
use crate::packet::Endpoint;
use crate::patience;

/// How long a socket waits for a packet.
pub const PATIENCE: Duration = patience::seconds(3);

/// How long to wait for a packet that shall not come.
pub const NOT_COMING: Duration = Duration::from_millis(300);

impl Netns {
    /// A UDP socket bound to an address of this namespace; port 0 takes any.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn udp(&self, local: impl Endpoint) -> UdpSocket {
        let local = local.endpoint();
        let socket = self.run(|| UdpSocket::bind(local));
        let socket = socket.unwrap_or_else(|e| panic!("cannot bind udp {local}: {e}"));
        limit(&socket, PATIENCE).expect("a socket takes a time limit");
        socket
    }

    /// A TCP listener at an address of this namespace.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn listen(&self, local: impl Endpoint) -> TcpListener {
        let local = local.endpoint();
        let listener = self.run(|| -> io::Result<OwnedFd> {
            let socket = tcp_bound(local)?;
            listen(&socket, 128)?;
            Ok(socket)
        });
        TcpListener::from(listener.unwrap_or_else(|e| panic!("cannot listen at {local}: {e}")))
    }

    /// A TCP connection from an address of this namespace (port 0 takes any) to a server.
    pub fn connect(&self, local: impl Endpoint, server: impl Endpoint) -> io::Result<TcpStream> {
        let (local, server) = (local.endpoint(), server.endpoint());
        let connected = self.run(|| -> io::Result<OwnedFd> {
            let socket = tcp_bound(local)?;
            connect(&socket, &server)?;
            Ok(socket)
        });
        connected.map(TcpStream::from)
    }
}

/// Receives one datagram and says whom it came from.
///
/// # Panics
/// When none comes in time.
#[track_caller]
pub fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddrV4) {
    try_receive(socket).unwrap_or_else(|e| {
        panic!("no datagram for {}: {e}", socket.local_addr().expect("the socket is bound"))
    })
}

/// Receives one datagram if one comes in time.
pub fn try_receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddrV4)> {
    let mut data = vec![0; 1 << 16];
    let (length, from) = socket.recv_from(&mut data)?;
    data.truncate(length);
    let SocketAddr::V4(from) = from else { panic!("an IPv4 socket heard from {from}") };
    Ok((data, from))
}

/// Asserts that nothing is heard for a while, and then that the socket can hear: `probe` must make
/// one datagram arrive.
///
/// # Panics
/// When something was heard, or the probe was not.
#[track_caller]
pub fn expect_silence(socket: &UdpSocket, probe: impl FnOnce()) {
    limit(socket, NOT_COMING).expect("a socket takes a time limit");
    if let Ok((data, from)) = try_receive(socket) {
        panic!("heard {} bytes from {from} where nothing should come", data.len());
    }
    limit(socket, PATIENCE).expect("a socket takes a time limit");
    probe();
    receive(socket);
}

fn tcp_bound(local: SocketAddrV4) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    limit(&socket, PATIENCE)?;
    bind(&socket, &local)?;
    Ok(socket)
}

/// Limits how long the socket's calls (connect and accept among them) may wait.
fn limit(socket: impl AsFd, patience: Duration) -> io::Result<()> {
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    Ok(set_socket_timeout(&socket, Timeout::Send, Some(patience))?)
}
