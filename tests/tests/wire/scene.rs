//! A lab where vnetctl translates, and what is said over it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use vnet_tests::lab::{self, Lab, Plan};
use vnet_tests::packet::Endpoint;
use vnet_tests::patience;
use vnet_tests::sentry::Sentry;
use vnet_tests::socket::receive;
use vnet_tests::tun::Layer;

/// Where the server listens.
pub(crate) const PORT: u16 = 5000;

/// A lab with NAT, and a sentry outside.
pub(crate) struct Scene {
    // Relieved before the lab goes.
    sentry: Option<Sentry>,
    pub(crate) lab: Lab,
}

impl Scene {
    /// One client, one server.
    pub(crate) fn new() -> Self {
        Self::of(Lab::plan(), &[])
    }

    /// Any lab, attached with further words.
    pub(crate) fn of(plan: Plan, words: &[&str]) -> Self {
        let scene = Self::unattached(plan);
        scene.lab.attach(words);
        scene
    }

    /// A lab that has been built, attached with further words.
    pub(crate) fn at(lab: Lab, words: &[&str]) -> Self {
        let scene = Self { sentry: Some(Sentry::post(&lab)), lab };
        scene.lab.attach(words);
        scene
    }

    /// Any lab, with nothing attached yet.
    pub(crate) fn unattached(plan: Plan) -> Self {
        let lab = plan.build();
        Self { sentry: Some(Sentry::post(&lab)), lab }
    }

    /// The same, where the server's device joins what it receives before anybody sees it.
    pub(crate) fn joining(plan: Plan) -> Self {
        let lab = plan.build();
        let sentry = Sentry::at_joining(&lab.server, &lab.server_port.device, Layer::Ethernet);
        Self { sentry: Some(sentry), lab }
    }

    /// A UDP socket of the n-th client.
    pub(crate) fn udp(&self, n: usize, port: u16) -> UdpSocket {
        let client = &self.lab.clients[n];
        client.netns.udp((client.address, port))
    }

    /// A TCP connection of the n-th client.
    #[track_caller]
    pub(crate) fn connect(&self, n: usize, port: u16, server: impl Endpoint) -> TcpStream {
        let client = &self.lab.clients[n];
        let stream = client.netns.connect((client.address, port), server);
        stream.unwrap_or_else(|e| panic!("{} cannot connect: {e}", client.address))
    }

    /// Ends the story: how many packets were seen outside.
    pub(crate) fn end(mut self) -> u64 {
        self.sentry.take().expect("a story ends once").relieve()
    }
}

/// The server, where it listens.
pub(crate) fn server() -> SocketAddrV4 {
    lab::server(0, PORT)
}

/// Asks by UDP and is answered; says from where the server heard it.
#[track_caller]
pub(crate) fn ask(client: &UdpSocket, server: &UdpSocket) -> SocketAddrV4 {
    let to = server.local_addr().expect("the server is bound");
    client.send_to(b"question", to).expect("a datagram can be sent");
    let (heard, from) = receive(server);
    assert_eq!(heard, b"question");
    server.send_to(b"answer", from).expect("a datagram can be sent");
    let (heard, by) = receive(client);
    assert_eq!((heard.as_slice(), by.into()), (b"answer".as_slice(), to));
    from
}

/// Accepts one connection and sends back all it hears, until the other end has said all. Returns
/// whom it heard.
pub(crate) fn echo(listener: &TcpListener) -> SocketAddrV4 {
    let (mut stream, from) = listener.accept().expect("a connection comes");
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = stream.read(&mut buffer).expect("the client goes on talking");
        if length == 0 {
            break;
        }
        stream.write_all(&buffer[..length]).expect("the client goes on listening");
    }
    match from {
        std::net::SocketAddr::V4(from) => from,
        std::net::SocketAddr::V6(from) => panic!("heard {from} over IPv4"),
    }
}

/// Says so many bytes, hears as many, and compares every one.
#[track_caller]
pub(crate) fn bulk(stream: &TcpStream, length: usize) {
    let said: Vec<u8> = (0..length).map(|n| (n * 7 + n / 251) as u8).collect();
    let heard = thread::scope(|scope| {
        let mut heard = Vec::with_capacity(length);
        scope.spawn(|| {
            let mut stream = stream;
            stream.write_all(&said).expect("the server goes on listening");
            stream.shutdown(Shutdown::Write).expect("a connection can be closed");
        });
        let mut stream = stream;
        stream.read_to_end(&mut heard).expect("the server goes on talking");
        heard
    });
    assert_eq!(heard.len(), said.len(), "bytes heard and said");
    assert!(heard == said, "the bytes differ");
}

/// A few bytes there and back on a connection that stays open.
#[track_caller]
pub(crate) fn exchange(client: &mut TcpStream, server: &mut TcpStream) {
    let mut heard = [0; 4];
    client.write_all(b"ping").expect("the connection is alive");
    server.read_exact(&mut heard).expect("the server hears the client");
    assert_eq!(&heard, b"ping");
    server.write_all(b"pong").expect("the connection is alive");
    client.read_exact(&mut heard).expect("the client hears the server");
    assert_eq!(&heard, b"pong");
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, limit: Duration, so: impl Fn() -> bool) {
    let limit = limit * patience::FACTOR;
    let end = Instant::now() + limit;
    while !so() {
        assert!(Instant::now() < end, "after {limit:?} still not so: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The outside address with a port: whom the server sees.
pub(crate) fn outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(lab::OUTSIDE, port)
}
