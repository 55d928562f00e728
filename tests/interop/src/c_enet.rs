//! The C library without sockets and clock.
//!
//! The library reaches the network and the time only through libc's `sendmsg`, `recvmsg`,
//! `gettimeofday` and `time`. This executable has functions of those names, and the dynamic linker
//! prefers them: during a call into a [`Host`], on that thread, they speak to that host's queues and
//! clock; at all other times they pass everything on to libc. (A host still owns a socket that the
//! library made for it; nothing ever goes through it.)
//!
//! [`Host::on_socket`] leaves the library its own socket and clock, for talking to real peers.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ptr::{NonNull, null, null_mut};
use std::sync::Once;

use libc::{msghdr, sockaddr_in, ssize_t, time_t, timeval};

use crate::subject::{Datagram, Event, HostConfig, Op, PeerState, Subject};

/// Up to this release the connect ids are a counter, which can be set.
const COUNTED_CONNECT_IDS: u32 = version(1, 3, 17);

const fn version(major: u32, minor: u32, patch: u32) -> u32 {
    (major << 16) | (minor << 8) | patch
}

/// The release that is linked, as in `1.3.17`.
pub fn linked_version() -> String {
    // SAFETY: takes and touches nothing.
    let version = unsafe { ffi::bowline_c_version() };
    format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// The library's range coder.
#[derive(Debug)]
pub struct RangeCoder {
    coder: NonNull<c_void>,
    room: Vec<u8>,
}

impl RangeCoder {
    /// A coder; each datagram is one of its own.
    ///
    /// # Panics
    ///
    /// For want of memory.
    pub fn new() -> Self {
        // SAFETY: takes nothing; the pointer is checked.
        let coder = NonNull::new(unsafe { ffi::enet_range_coder_create() });
        Self { coder: coder.expect("the library makes a coder"), room: vec![0; 4096] }
    }

    /// `bytes` compressed; `None` unless that is shorter.
    pub fn compress(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        let buffer = ffi::Buffer { data: bytes.as_ptr(), len: bytes.len() };
        let (to, room) = (self.room.as_mut_ptr(), self.room.len().min(bytes.len()));
        let coder = self.coder.as_ptr();
        // SAFETY: the coder is live, and everything is passed with its length.
        let len =
            unsafe { ffi::enet_range_coder_compress(coder, &buffer, 1, bytes.len(), to, room) };
        self.room.get(..len).filter(|_| len > 0 && len < bytes.len())
    }

    /// What was compressed to `bytes`, if the coder finds no fault with them and it is no longer than
    /// `len_max`.
    pub fn decompress(&mut self, bytes: &[u8], len_max: usize) -> Option<&[u8]> {
        let (to, room) = (self.room.as_mut_ptr(), self.room.len().min(len_max));
        let (coder, from) = (self.coder.as_ptr(), bytes.as_ptr());
        // SAFETY: the coder is live, and everything is passed with its length.
        let len = unsafe { ffi::enet_range_coder_decompress(coder, from, bytes.len(), to, room) };
        self.room.get(..len).filter(|_| len > 0)
    }
}

impl Default for RangeCoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for RangeCoder {
    fn drop(&mut self) {
        // SAFETY: live until here and used no more.
        unsafe { ffi::enet_range_coder_destroy(self.coder.as_ptr()) };
    }
}

/// What a host sees instead of a network and a clock.
#[derive(Debug, Default)]
struct World {
    now: u32,
    inbound: VecDeque<Datagram>,
    sent: Vec<Datagram>,
}

/// A host of the C library.
#[derive(Debug)]
pub struct Host {
    host: NonNull<ffi::ENetHost>,
    peer_count: usize,
    /// None for a host on a socket.
    world: Option<Box<World>>,
}

impl Host {
    /// Makes a host without socket and clock.
    ///
    /// # Panics
    ///
    /// If the library cannot, which is for want of memory or for nonsense in `config`.
    pub fn new(config: &HostConfig) -> Self {
        let world = Box::new(World { now: config.created, ..World::default() });
        Self::create(config, 0, Some(world)).expect("the library makes a host")
    }

    /// Makes a host on the loopback interface, at `port` or, if that is 0, at any.
    ///
    /// Its clock is the machine's: the times of [`Subject`] are ignored.
    ///
    /// # Errors
    ///
    /// Nothing in particular, if the library cannot: most likely the port is taken.
    pub fn on_socket(config: &HostConfig, port: u16) -> std::io::Result<Self> {
        let failed = || std::io::Error::other("the library makes no host");
        Self::create(config, port, None).ok_or_else(failed)
    }

    fn create(config: &HostConfig, port: u16, mut world: Option<Box<World>>) -> Option<Self> {
        static INITIALIZED: Once = Once::new();
        // SAFETY: called once, before anything else of the library.
        INITIALIZED.call_once(|| assert_eq!(unsafe { ffi::bowline_c_initialize() }, 0));
        let host = within(&mut world, || {
            // SAFETY: the library checks the numbers; the pointer is checked below.
            unsafe {
                ffi::bowline_c_create(
                    port,
                    config.peers,
                    config.channel_limit,
                    config.incoming_bandwidth,
                    config.outgoing_bandwidth,
                )
            }
        });
        let host = NonNull::new(host)?;
        // SAFETY: `host` is live, and only ours.
        unsafe {
            ffi::bowline_c_options(
                host.as_ptr(),
                config.checksum.into(),
                config.range_coder.into(),
                config.duplicate_peers,
                config.packet_max,
                config.waiting_max,
                config.mtu,
            );
        }
        Some(Self { host, peer_count: config.peers, world })
    }

    /// How many channels the connection in slot `peer` has.
    pub fn channel_count(&self, peer: usize) -> usize {
        self.numbers(peer)[11] as usize
    }

    fn numbers(&self, peer: usize) -> [u32; 16] {
        assert!(peer < self.peer_count);
        let mut values = [0; 16];
        // SAFETY: `host` is live and has this slot; the array is as long as the function's.
        unsafe { ffi::bowline_c_state(self.host.as_ptr(), peer, &mut values) };
        values
    }

    fn set_clock(&mut self, now: u32) {
        if let Some(world) = &mut self.world {
            world.now = now;
        }
    }

    /// The slot's address inside the library, if there is such a slot.
    fn peer(&self, index: usize) -> Option<NonNull<ffi::ENetPeer>> {
        // SAFETY: `host` is live, and the index is checked there.
        NonNull::new(unsafe { ffi::bowline_c_peer(self.host.as_ptr(), index) })
    }

    /// Makes the next connection bear `connect_id`.
    fn force_connect_id(&mut self, connect_id: [u8; 4]) {
        // SAFETY: takes and touches nothing.
        let version = unsafe { ffi::bowline_c_version() };
        assert!(
            version <= COUNTED_CONNECT_IDS,
            "connect ids of {} are no counter",
            linked_version()
        );
        let before = u32::from_ne_bytes(connect_id).wrapping_sub(1);
        // SAFETY: `host` is live, and only ours.
        unsafe { ffi::bowline_c_seed(self.host.as_ptr(), before) };
    }
}

impl Subject for Host {
    fn apply(&mut self, now: u32, op: &Op) -> i32 {
        self.set_clock(now);
        if let (Op::Connect { connect_id, .. }, Some(_)) = (op, &self.world) {
            self.force_connect_id(*connect_id);
        }
        let host = self.host.as_ptr();
        let peer_of = |index: &usize| self.peer(*index).map_or(null_mut(), NonNull::as_ptr);
        let peer = match op {
            Op::Send { peer, .. }
            | Op::Disconnect { peer, .. }
            | Op::DisconnectNow { peer, .. }
            | Op::DisconnectLater { peer, .. }
            | Op::Reset { peer }
            | Op::Ping { peer }
            | Op::PingInterval { peer, .. }
            | Op::Timeout { peer, .. }
            | Op::ThrottleConfigure { peer, .. } => {
                let peer = peer_of(peer);
                assert!(!peer.is_null(), "no such slot: {op:?}");
                peer
            }
            _ => null_mut(),
        };
        let world = &mut self.world;
        // SAFETY: `host` is live, `peer` one of its slots where one is used, and slices are passed
        // with their lengths. The library copies what it keeps.
        within(world, || unsafe {
            match op {
                Op::Connect { to, channels, data, .. } => {
                    let ip = u32::from_ne_bytes(to.ip().octets());
                    return ffi::bowline_c_connect(host, ip, to.port(), *channels, *data);
                }
                Op::Send { peer, channel, flags, bytes } => {
                    let (bytes, len) = (bytes.as_ptr(), bytes.len());
                    return ffi::bowline_c_send(host, *peer, *channel, *flags, bytes, len);
                }
                Op::Broadcast { channel, flags, bytes } => {
                    ffi::bowline_c_broadcast(host, *channel, *flags, bytes.as_ptr(), bytes.len());
                }
                Op::Disconnect { data, .. } => ffi::enet_peer_disconnect(peer, *data),
                Op::DisconnectNow { data, .. } => ffi::enet_peer_disconnect_now(peer, *data),
                Op::DisconnectLater { data, .. } => ffi::enet_peer_disconnect_later(peer, *data),
                Op::Reset { .. } => ffi::enet_peer_reset(peer),
                Op::Ping { .. } => ffi::enet_peer_ping(peer),
                Op::PingInterval { interval, .. } => ffi::enet_peer_ping_interval(peer, *interval),
                Op::Timeout { values: [limit, minimum, maximum], .. } => {
                    ffi::enet_peer_timeout(peer, *limit, *minimum, *maximum);
                }
                Op::ThrottleConfigure { values: [interval, up, down], .. } => {
                    ffi::enet_peer_throttle_configure(peer, *interval, *up, *down);
                }
                Op::BandwidthLimit { incoming, outgoing } => {
                    ffi::enet_host_bandwidth_limit(host, *incoming, *outgoing);
                }
                Op::ChannelLimit { channels } => ffi::enet_host_channel_limit(host, *channels),
                Op::Flush => ffi::enet_host_flush(host),
            }
            0
        })
    }

    fn push_datagram(&mut self, from: SocketAddrV4, datagram: &[u8]) {
        let world = self.world.as_mut().expect("a host on a socket finds its datagrams there");
        world.inbound.push_back((from, datagram.to_vec()));
    }

    fn service(&mut self, now: u32) -> Vec<Event> {
        self.set_clock(now);
        let host = self.host.as_ptr();
        let mut events = Vec::new();
        within(&mut self.world, || {
            loop {
                let mut event = ffi::Event::default();
                // SAFETY: `host` is live; the event's packet is released before the next round.
                let result = unsafe { ffi::bowline_c_service(host, &mut event) };
                assert!(result >= 0, "the library's service fails");
                if result == 0 {
                    return;
                }
                events.push(taken(&event));
                // SAFETY: filled by the call above, and read for the last time.
                unsafe { ffi::bowline_c_release(&mut event) };
            }
        });
        events
    }

    fn take_sent(&mut self) -> Vec<Datagram> {
        self.world.as_mut().map(|world| std::mem::take(&mut world.sent)).unwrap_or_default()
    }

    fn peer_state(&self, peer: usize) -> PeerState {
        let values = self.numbers(peer);
        let [state, rtt, variance, throttle, throttle_limit, in_transit, waiting, ..] = values;
        let [_, _, _, _, _, _, _, window, mtu, next_timeout, loss, ..] = values;
        PeerState {
            state,
            rtt,
            variance,
            throttle,
            throttle_limit,
            in_transit,
            waiting,
            window,
            mtu,
            next_timeout,
            loss,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let host = self.host.as_ptr();
        // SAFETY: live until here and used no more.
        within(&mut self.world, || unsafe { ffi::enet_host_destroy(host) });
    }
}

/// The event in our own words.
fn taken(event: &ffi::Event) -> Event {
    let peer = event.peer as usize;
    match event.kind {
        1 => Event::Connect { peer, data: event.data },
        2 => Event::Disconnect { peer, data: event.data },
        _ => {
            let mut bytes = vec![0; event.len];
            if !event.bytes.is_null() {
                // SAFETY: the packet is not released yet and has `len` bytes there.
                unsafe { event.bytes.copy_to_nonoverlapping(bytes.as_mut_ptr(), event.len) };
            }
            let channel = event.channel as u8;
            Event::Receive { peer, channel, flags: event.flags, bytes }
        }
    }
}

thread_local! {
    /// Whose call into the library this thread is in.
    static CURRENT: Cell<*mut World> = const { Cell::new(null_mut()) };
}

/// Calls into the library with `world` for network and clock, or those of the machine.
fn within<R>(world: &mut Option<Box<World>>, call: impl FnOnce() -> R) -> R {
    struct Leave(*mut World);
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let world = world.as_mut().map_or(null_mut(), |world| &raw mut **world);
    let _leave = Leave(CURRENT.replace(world));
    call()
}

/// What `act` makes of the world of the call that this thread is in, if it is in one.
fn current<R>(act: impl FnOnce(&mut World) -> R) -> Option<R> {
    // SAFETY: set by `within` for just as long as its borrow lasts, and nothing else reaches the
    // world meanwhile: whoever owns it waits for `within` to return.
    unsafe { CURRENT.get().as_mut() }.map(act)
}

/// libc's own function of that name, which ours hides.
fn hidden(name: &std::ffi::CStr) -> NonNull<c_void> {
    // SAFETY: the name ends with a zero byte.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }).expect("libc has it")
}

/// Sends through the current host's world, or as libc does.
///
/// # Safety
///
/// As for libc's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(socket: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's message is valid, its address an IPv4 one: the library knows no other.
    let sent = current(|world| unsafe {
        let message = &*message;
        let to = &*message.msg_name.cast::<sockaddr_in>();
        let to = SocketAddrV4::new(
            Ipv4Addr::from(to.sin_addr.s_addr.to_ne_bytes()),
            u16::from_be(to.sin_port),
        );
        let mut datagram = Vec::new();
        for part in std::slice::from_raw_parts(message.msg_iov, message.msg_iovlen) {
            let bytes = part.iov_base.cast::<u8>();
            if part.iov_len > 0 {
                datagram.extend_from_slice(std::slice::from_raw_parts(bytes, part.iov_len));
            }
        }
        let len = datagram.len();
        world.sent.push((to, datagram));
        len as ssize_t
    });
    type Sendmsg = unsafe extern "C" fn(c_int, *const msghdr, c_int) -> ssize_t;
    // SAFETY: libc's function has this type, and the arguments are the caller's.
    sent.unwrap_or_else(|| unsafe {
        std::mem::transmute::<NonNull<c_void>, Sendmsg>(hidden(c"sendmsg"))(socket, message, flags)
    })
}

/// Receives from the current host's world, or as libc does.
///
/// # Safety
///
/// As for libc's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmsg(socket: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's message is valid, and has room for an IPv4 address and one buffer.
    let received = current(|world| unsafe {
        let Some((from, datagram)) = world.inbound.pop_front() else {
            *libc::__errno_location() = libc::EAGAIN;
            return -1;
        };
        let message = &mut *message;
        let address = &mut *message.msg_name.cast::<sockaddr_in>();
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_addr.s_addr = u32::from_ne_bytes(from.ip().octets());
        address.sin_port = from.port().to_be();
        let room = &*message.msg_iov;
        let len = datagram.len().min(room.iov_len);
        datagram.as_ptr().copy_to_nonoverlapping(room.iov_base.cast(), len);
        message.msg_flags = if len < datagram.len() { libc::MSG_TRUNC } else { 0 };
        len as ssize_t
    });
    type Recvmsg = unsafe extern "C" fn(c_int, *mut msghdr, c_int) -> ssize_t;
    // SAFETY: libc's function has this type, and the arguments are the caller's.
    received.unwrap_or_else(|| unsafe {
        std::mem::transmute::<NonNull<c_void>, Recvmsg>(hidden(c"recvmsg"))(socket, message, flags)
    })
}

/// The current host's clock, or libc's.
///
/// # Safety
///
/// As for libc's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int {
    // SAFETY: the caller has room for the time.
    let told = current(|world| unsafe {
        (*time).tv_sec = time_t::from(world.now / 1000);
        (*time).tv_usec = libc::suseconds_t::from(world.now % 1000 * 1000);
        0
    });
    type Gettimeofday = unsafe extern "C" fn(*mut timeval, *mut c_void) -> c_int;
    // SAFETY: libc's function has this type, and the arguments are the caller's.
    told.unwrap_or_else(|| unsafe {
        std::mem::transmute::<NonNull<c_void>, Gettimeofday>(hidden(c"gettimeofday"))(time, zone)
    })
}

/// What the library seeds its connect ids with: nothing, in a host of ours, or as libc does.
///
/// # Safety
///
/// As for libc's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut time_t) -> time_t {
    type Time = unsafe extern "C" fn(*mut time_t) -> time_t;
    // SAFETY: libc's function has this type, and the argument is the caller's, who may pass null.
    unsafe {
        let told = current(|_| 0);
        let told = told.unwrap_or_else(|| {
            std::mem::transmute::<NonNull<c_void>, Time>(hidden(c"time"))(null_mut())
        });
        if let Some(time) = time.as_mut() {
            *time = told;
        }
        told
    }
}

/// The library, and what `c_enet.c` adds to it.
mod ffi {
    use super::null;
    use std::ffi::{c_int, c_void};

    /// Only ever behind a pointer.
    #[repr(C)]
    pub(super) struct ENetHost([u8; 0]);

    /// Only ever behind a pointer.
    #[repr(C)]
    pub(super) struct ENetPeer([u8; 0]);

    /// `ENetBuffer`, as on every system but Windows.
    #[repr(C)]
    pub(super) struct Buffer {
        pub(super) data: *const u8,
        pub(super) len: usize,
    }

    /// `struct bowline_event`.
    #[repr(C)]
    pub(super) struct Event {
        pub(super) kind: u32,
        pub(super) peer: u32,
        pub(super) channel: u32,
        pub(super) flags: u32,
        pub(super) data: u32,
        pub(super) packet: *const u8,
        pub(super) bytes: *const u8,
        pub(super) len: usize,
    }

    impl Default for Event {
        fn default() -> Self {
            let (packet, bytes) = (null(), null());
            Self { kind: 0, peer: 0, channel: 0, flags: 0, data: 0, packet, bytes, len: 0 }
        }
    }

    unsafe extern "C" {
        pub(super) fn bowline_c_initialize() -> c_int;
        pub(super) fn bowline_c_version() -> u32;
        pub(super) fn bowline_c_create(
            port: u16,
            peers: usize,
            channels: usize,
            incoming: u32,
            outgoing: u32,
        ) -> *mut ENetHost;
        pub(super) fn bowline_c_options(
            host: *mut ENetHost,
            checksum: c_int,
            range_coder: c_int,
            duplicate_peers: usize,
            packet_max: usize,
            waiting_max: usize,
            mtu: u32,
        );
        pub(super) fn bowline_c_seed(host: *mut ENetHost, seed: u32);
        pub(super) fn bowline_c_connect(
            host: *mut ENetHost,
            ip: u32,
            port: u16,
            channels: usize,
            data: u32,
        ) -> c_int;
        pub(super) fn bowline_c_send(
            host: *mut ENetHost,
            peer: usize,
            channel: u8,
            flags: u32,
            bytes: *const u8,
            len: usize,
        ) -> c_int;
        pub(super) fn bowline_c_broadcast(
            host: *mut ENetHost,
            channel: u8,
            flags: u32,
            bytes: *const u8,
            len: usize,
        );
        pub(super) fn bowline_c_peer(host: *mut ENetHost, index: usize) -> *mut ENetPeer;
        pub(super) fn bowline_c_service(host: *mut ENetHost, event: *mut Event) -> c_int;
        pub(super) fn bowline_c_release(event: *mut Event);
        pub(super) fn bowline_c_state(host: *const ENetHost, index: usize, out: *mut [u32; 16]);

        pub(super) fn enet_range_coder_create() -> *mut c_void;
        pub(super) fn enet_range_coder_destroy(coder: *mut c_void);
        pub(super) fn enet_range_coder_compress(
            coder: *mut c_void,
            buffers: *const Buffer,
            count: usize,
            len: usize,
            to: *mut u8,
            room: usize,
        ) -> usize;
        pub(super) fn enet_range_coder_decompress(
            coder: *mut c_void,
            bytes: *const u8,
            len: usize,
            to: *mut u8,
            room: usize,
        ) -> usize;
        pub(super) fn enet_host_destroy(host: *mut ENetHost);
        pub(super) fn enet_host_flush(host: *mut ENetHost);
        pub(super) fn enet_host_channel_limit(host: *mut ENetHost, channels: usize);
        pub(super) fn enet_host_bandwidth_limit(host: *mut ENetHost, incoming: u32, outgoing: u32);
        pub(super) fn enet_peer_disconnect(peer: *mut ENetPeer, data: u32);
        pub(super) fn enet_peer_disconnect_now(peer: *mut ENetPeer, data: u32);
        pub(super) fn enet_peer_disconnect_later(peer: *mut ENetPeer, data: u32);
        pub(super) fn enet_peer_reset(peer: *mut ENetPeer);
        pub(super) fn enet_peer_ping(peer: *mut ENetPeer);
        pub(super) fn enet_peer_ping_interval(peer: *mut ENetPeer, interval: u32);
        pub(super) fn enet_peer_timeout(
            peer: *mut ENetPeer,
            limit: u32,
            minimum: u32,
            maximum: u32,
        );
        pub(super) fn enet_peer_throttle_configure(
            peer: *mut ENetPeer,
            interval: u32,
            acceleration: u32,
            deceleration: u32,
        );
    }
}
