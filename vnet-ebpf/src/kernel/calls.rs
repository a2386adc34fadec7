//! What a socket asks for by a call (`connect`, `sendmsg`, …) or is told by one, as the hooks of the
//! root cgroup see it; `home` and `asked`.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    bindings::{
        bpf_sock_addr, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
    },
    btf_maps::{Array, LruHashMap},
    helpers::{
        bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_sk_lookup_udp, bpf_sk_release,
        bpf_skc_lookup_tcp,
    },
    macros::btf_map,
    programs::SockAddrContext,
};
use vnet_common::{
    Ipv4,
    call::{Asked, Home, Led},
    flow::proto,
};

#[btf_map(name = "home")]
static HOME: Array<Home, 1> = Array::new();
/// Those that were used last. A socket that has been pushed out sees the inside address of who answers.
#[btf_map(name = "asked")]
static ASKED: LruHashMap<Led, Asked, 16384> = LruHashMap::new();

/// `BPF_F_CURRENT_NETNS`: the namespace of the socket that calls.
const THIS_NAMESPACE: u64 = u64::MAX;

/// An IPv6 address in four words, as it lies in memory.
pub type Words6 = [u32; 4];

/// A call.
#[derive(Clone, Copy)]
pub struct Call(*mut bpf_sock_addr);

/// Reads one field.
macro_rules! get {
    ($call:expr, $($field:tt)+) => {
        // SAFETY: the kernel's context, alive for the whole run of the program; it checks each access.
        unsafe { addr_of!((*$call.0).$($field)+).read_volatile() }
    };
}

/// Writes one field.
macro_rules! set {
    ($call:expr, $value:expr, $($field:tt)+) => {
        // SAFETY: as in `get`.
        unsafe { addr_of_mut!((*$call.0).$($field)+).write_volatile($value) }
    };
}

/// The call that a program was run for.
impl From<SockAddrContext> for Call {
    #[inline(always)]
    fn from(context: SockAddrContext) -> Self {
        Self(context.sock_addr)
    }
}

impl Call {
    /// Whether the socket belongs to the network namespace that the instance lives in.
    #[inline(always)]
    #[must_use]
    pub fn is_at_home(self) -> bool {
        // SAFETY: the helper takes this context.
        let netns = unsafe { bpf_get_netns_cookie(self.0.cast()) };
        HOME.get(0).is_some_and(|home| home.netns == netns)
    }

    /// Learns the namespace, if this is the socket that was shown for it.
    #[inline(always)]
    pub fn learn(self) {
        let Some(home) = HOME.get_ptr_mut(0) else { return };
        // SAFETY: a live map value; the control plane has written `shown` before the socket called, and
        // waits for `netns`. The helper takes this context.
        unsafe {
            let shown = addr_of!((*home).shown).read_volatile();
            if shown != 0 && shown == self.socket() {
                addr_of_mut!((*home).netns).write_volatile(bpf_get_netns_cookie(self.0.cast()));
            }
        }
    }

    /// Cookie of the socket.
    #[inline(always)]
    #[must_use]
    pub fn socket(self) -> u64 {
        // SAFETY: the helper takes this context.
        unsafe { bpf_get_socket_cookie(self.0.cast()) }
    }

    /// IP protocol of the socket.
    #[inline(always)]
    #[must_use]
    pub fn proto(self) -> u8 {
        get!(self, protocol) as u8
    }

    /// IPv4 address that is asked for or told.
    #[inline(always)]
    #[must_use]
    pub fn addr4(self) -> Ipv4 {
        get!(self, user_ip4).to_ne_bytes()
    }

    /// IPv6 address that is asked for or told.
    #[inline(always)]
    #[must_use]
    pub fn addr6(self) -> Words6 {
        [
            get!(self, user_ip6[0]),
            get!(self, user_ip6[1]),
            get!(self, user_ip6[2]),
            get!(self, user_ip6[3]),
        ]
    }

    /// Port that is asked for or told.
    #[inline(always)]
    #[must_use]
    pub fn port(self) -> u16 {
        u16::from_be(get!(self, user_port) as u16)
    }

    /// Asks for another IPv4 address and port, or tells it.
    #[inline(always)]
    pub fn set4(self, addr: Ipv4, port: u16) {
        set!(self, u32::from_ne_bytes(addr), user_ip4);
        set!(self, u32::from(port.to_be()), user_port);
    }

    /// Asks for another IPv6 address and port, or tells it.
    #[inline(always)]
    pub fn set6(self, addr: Words6, port: u16) {
        set!(self, addr[0], user_ip6[0]);
        set!(self, addr[1], user_ip6[1]);
        set!(self, addr[2], user_ip6[2]);
        set!(self, addr[3], user_ip6[3]);
        set!(self, u32::from(port.to_be()), user_port);
    }

    /// The IPv4 address the socket is bound to. One that is bound to an IPv6 address has 127.0.0.6 here.
    #[inline(always)]
    #[must_use]
    pub fn bound(self) -> Ipv4 {
        let socket = get!(self, __bindgen_anon_1.sk);
        if socket.is_null() {
            return Ipv4::default();
        }
        // SAFETY: the kernel lets programs read this field of the socket that calls.
        unsafe { addr_of!((*socket).src_ip4).read_volatile() }.to_ne_bytes()
    }

    /// Whether a socket of this host waits for what is sent to that IPv4 address and port.
    #[inline(always)]
    #[must_use]
    pub fn is_awaited4(self, addr: Ipv4, port: u16) -> bool {
        let addr = u32::from_ne_bytes(addr);
        self.is_awaited(&mut Tuple4 { saddr: addr, daddr: addr, sport: 0, dport: port.to_be() })
    }

    /// The same for an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub fn is_awaited6(self, addr: Words6, port: u16) -> bool {
        self.is_awaited(&mut Tuple6 { saddr: addr, daddr: addr, sport: 0, dport: port.to_be() })
    }

    /// The helpers tell the tuples of both families apart by their size.
    #[inline(always)]
    fn is_awaited<T>(self, tuple: &mut T) -> bool {
        let (tuple, size) = (core::ptr::from_mut(tuple).cast(), size_of::<T>() as u32);
        // SAFETY: the helper reads `size` bytes, which the tuple has; the reference that the helper takes
        // on a socket is given back.
        unsafe {
            let socket = if self.proto() == proto::TCP {
                bpf_skc_lookup_tcp(self.0.cast(), tuple, size, THIS_NAMESPACE, 0)
            } else {
                bpf_sk_lookup_udp(self.0.cast(), tuple, size, THIS_NAMESPACE, 0)
            };
            if socket.is_null() {
                return false;
            }
            bpf_sk_release(socket.cast());
        }
        true
    }
}

/// Where the socket had asked to go that was led there.
#[inline(always)]
#[must_use]
pub fn asked(led: &Led) -> Option<Asked> {
    // SAFETY: entries are inserted whole; one that is replaced under the hand is as good.
    unsafe { ASKED.get(led) }.copied()
}

/// Notes that.
#[inline(always)]
pub fn note(led: &Led, to: &Asked) {
    // Where there is no room, the socket sees who really answers.
    let _ = ASKED.insert(led, to, 0);
}
