//! Request and response, one after the other, between two ordinary sockets: half of them are
//! answered within p50, all but one in a hundred within p99.
//!
//! Client and server share one CPU: waking another one costs a virtual machine far more, and far
//! less steadily, than what is between them.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::bulk;
use super::cpu;
use super::scene::Scene;
use super::series::Sample;

/// Where the server listens, UDP and TCP.
const PORT: u16 = 9100;
/// Bytes of a request and of its response.
const SIZE: usize = 64;

/// Takes one sample of each protocol, and one of each beside a TCP stream that goes as fast as it can.
pub(super) fn sample(scene: &Scene, requests: u32) -> Result<Vec<Sample>> {
    let mut samples = both_protocols(scene, requests, ("", ""))?;
    // Each takes many times as long.
    let _load = bulk::beside(scene)?;
    samples.extend(both_protocols(scene, requests / 10, ("loaded-", ", beside a TCP stream"))?);
    Ok(samples)
}

fn both_protocols(scene: &Scene, requests: u32, words: (&str, &str)) -> Result<Vec<Sample>> {
    let warm_up = requests / 10;
    let mut samples = percentiles("udp", words, udp(scene, warm_up + requests)?, warm_up);
    samples.extend(percentiles("tcp", words, tcp(scene, warm_up + requests)?, warm_up));
    Ok(samples)
}

fn udp(scene: &Scene, requests: u32) -> Result<Vec<Duration>> {
    let address = SocketAddrV4::new(scene.server_address(), PORT);
    let server = scene.server().udp(address);
    let client = scene.client().udp((Ipv4Addr::UNSPECIFIED, 0));
    client.connect(address).context("the client cannot reach the server")?;
    let ask = move || {
        client.send(&[0; SIZE])?;
        client.recv(&mut [0; SIZE]).map(drop)
    };
    both(|| serve_udp(&server, requests, scene.source()), || timed(requests, ask))
}

fn tcp(scene: &Scene, requests: u32) -> Result<Vec<Duration>> {
    let address = SocketAddrV4::new(scene.server_address(), PORT);
    let listener = scene.server().listen(address);
    let mut client = scene.client().connect((Ipv4Addr::UNSPECIFIED, 0), address)?;
    client.set_nodelay(true)?;
    let (server, from) = listener.accept()?;
    check_source(from.ip(), scene.source())?;
    let ask = move || {
        client.write_all(&[0; SIZE])?;
        client.read_exact(&mut [0; SIZE])
    };
    both(|| serve_tcp(server, requests), || timed(requests, ask))
}

/// Runs server and client on the CPU they share, and returns what the client has found.
fn both(
    server: impl FnOnce() -> Result<()> + Send,
    client: impl FnOnce() -> Result<Vec<Duration>> + Send,
) -> Result<Vec<Duration>> {
    thread::scope(|scope| {
        let server = scope.spawn(|| cpu::pin().and_then(|()| server()));
        let client = scope.spawn(|| cpu::pin().and_then(|()| client()));
        let panicked = |_| anyhow::anyhow!("a thread panicked; its words are above");
        let (client, server) = (client.join().map_err(panicked)?, server.join().map_err(panicked)?);
        server.context("the server").and(client.context("the client"))
    })
}

fn serve_udp(server: &UdpSocket, requests: u32, source: Ipv4Addr) -> Result<()> {
    let mut buffer = [0; SIZE];
    for _ in 0..requests {
        let (length, from) = server.recv_from(&mut buffer)?;
        check_source(from.ip(), source)?;
        server.send_to(&buffer[..length], from)?;
    }
    Ok(())
}

fn serve_tcp(mut server: TcpStream, requests: u32) -> Result<()> {
    server.set_nodelay(true)?;
    let mut buffer = [0; SIZE];
    for _ in 0..requests {
        server.read_exact(&mut buffer)?;
        server.write_all(&buffer)?;
    }
    Ok(())
}

/// A request that arrived untranslated makes the sample worthless.
pub(super) fn check_source(seen: IpAddr, promised: Ipv4Addr) -> Result<()> {
    ensure!(seen == IpAddr::V4(promised), "a request came from {seen}, not from {promised}");
    Ok(())
}

fn timed(requests: u32, mut ask: impl FnMut() -> io::Result<()>) -> Result<Vec<Duration>> {
    let one = |_| {
        let since = Instant::now();
        ask()?;
        Ok(since.elapsed())
    };
    (0..requests).map(one).collect()
}

fn percentiles(
    protocol: &str,
    (id, beside): (&str, &str),
    mut times: Vec<Duration>,
    skip: u32,
) -> Vec<Sample> {
    times.drain(..skip as usize);
    times.sort_unstable();
    let sample = |percent: usize| {
        let time = times[(times.len() - 1) * percent / 100];
        let name = protocol.to_uppercase();
        let title = format!("{name} request and response{beside}, p{percent}");
        let id = format!("{protocol}-{id}latency-p{percent}");
        Sample::less(&id, &title, "µs", time.as_secs_f64() * 1e6)
    };
    vec![sample(50), sample(99)]
}
