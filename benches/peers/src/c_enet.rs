//! C ENet without sockets and clock.
//!
//! The library reaches the network and the time through libc's `sendmsg`, `recvmsg` and `gettimeofday`.
//! This executable has functions of those names, which the dynamic linker prefers: during a call into a
//! [`CEnet`] they speak to its [`World`]. Nothing else of this program calls them.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::{NonNull, null, null_mut};
use std::slice;
use std::sync::Once;

use bowline_core::Mode;
use libc::{msghdr, sockaddr_in, ssize_t, timeval};

use crate::allocations::on_allocation;
use crate::host::{Host, Told, flags};
use crate::queue::World;

/// The release that is linked, as in `1.3.17`.
pub fn linked_version() -> String {
    // SAFETY: takes and touches nothing.
    let version = unsafe { ffi::bowline_peers_version() };
    format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// A host of C ENet.
#[derive(Debug)]
pub struct CEnet {
    host: NonNull<ffi::ENetHost>,
    world: Box<World>,
}

impl CEnet {
    /// A host for so many peers, with room for `len` bytes on its link.
    ///
    /// # Panics
    ///
    /// If the library cannot, for want of memory.
    pub fn new(peers: usize, len: usize) -> Self {
        static INITIALIZED: Once = Once::new();
        // SAFETY: called once, before anything else of the library, with a function like `malloc`.
        let initialize = || unsafe { ffi::bowline_peers_initialize(counted) };
        INITIALIZED.call_once(|| assert_eq!(initialize(), 0));
        let mut world = Box::new(World::new(len));
        // SAFETY: the library checks the number; the pointer is checked below.
        let host = within(&mut world, || unsafe { ffi::bowline_peers_create(peers) });
        Self { host: NonNull::new(host).expect("the library makes a host"), world }
    }
}

impl Host for CEnet {
    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    #[inline]
    fn set_now(&mut self, now: u32) {
        self.world.now = now;
    }

    fn connect(&mut self, to: u32) {
        let host = self.host.as_ptr();
        // SAFETY: `host` is live, and only ours.
        let result = within(&mut self.world, || unsafe { ffi::bowline_peers_connect(host, to) });
        assert_eq!(result, 0, "there is no room");
    }

    #[inline]
    fn send(&mut self, peer: usize, mode: Mode, message: &[u8]) {
        let (host, bytes, len) = (self.host.as_ptr(), message.as_ptr(), message.len());
        // SAFETY: `host` is live, `peer` was told by it, and the bytes come with their length.
        let result = unsafe { ffi::bowline_peers_send(host, peer, flags(mode), bytes, len) };
        assert_eq!(result, 0, "there is no room");
    }

    #[inline]
    fn service(&mut self, mut told: impl FnMut(Told<'_>)) {
        let host = self.host.as_ptr();
        within(&mut self.world, || {
            loop {
                let mut event = ffi::Event::default();
                // SAFETY: `host` is live; the event's packet is released before the next round.
                let result = unsafe { ffi::bowline_peers_service(host, &mut event) };
                match (result, event.kind) {
                    // It stops after 256 datagrams, and has nothing to tell if those were all
                    // acknowledgements.
                    (0, _) if current().inbound.is_empty() => return,
                    (0, _) => continue,
                    (1, 1) => told(Told::Connected(event.peer as usize)),
                    // SAFETY: the packet is not released yet and has `len` bytes there.
                    (1, 3) => told(Told::Received(unsafe {
                        slice::from_raw_parts(event.bytes, event.len)
                    })),
                    other => panic!("{other:?}"),
                }
                // SAFETY: filled by the call above, and read for the last time.
                unsafe { ffi::bowline_peers_release(&mut event) };
            }
        });
    }

    #[inline]
    fn flush(&mut self) {
        let host = self.host.as_ptr();
        // SAFETY: `host` is live, and only ours.
        within(&mut self.world, || unsafe { ffi::enet_host_flush(host) });
    }
}

impl Drop for CEnet {
    fn drop(&mut self) {
        let host = self.host.as_ptr();
        // SAFETY: live until here and used no more.
        within(&mut self.world, || unsafe { ffi::enet_host_destroy(host) });
    }
}

thread_local! {
    /// Whose call into the library this thread is in.
    static CURRENT: Cell<*mut World> = const { Cell::new(null_mut()) };
}

/// Calls into the library with `world` for network and clock.
#[inline]
fn within<R>(world: &mut World, call: impl FnOnce() -> R) -> R {
    CURRENT.set(world);
    let result = call();
    CURRENT.set(null_mut());
    result
}

/// The world of the call that this thread is in.
#[inline]
fn current<'a>() -> &'a mut World {
    // SAFETY: set by `within` for just as long as its borrow lasts, and nothing else reaches the world
    // meanwhile: whoever owns it waits for `within` to return.
    unsafe { CURRENT.get().as_mut() }.expect("only the library calls this")
}

/// `malloc`, counted.
extern "C" fn counted(len: usize) -> *mut c_void {
    on_allocation();
    // SAFETY: any length will do.
    unsafe { libc::malloc(len) }
}

/// Sends through the current host's world.
///
/// # Safety
///
/// As for libc's function; the address is an IPv4 one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(_: c_int, message: *const msghdr, _: c_int) -> ssize_t {
    let world = current();
    // SAFETY: the caller's message is valid, its address an IPv4 one: the library knows no other.
    unsafe {
        let message = &*message;
        for part in slice::from_raw_parts(message.msg_iov, message.msg_iovlen) {
            if part.iov_len > 0 {
                world.put(slice::from_raw_parts(part.iov_base.cast(), part.iov_len));
            }
        }
        world.send_off((*message.msg_name.cast::<sockaddr_in>()).sin_addr.s_addr) as ssize_t
    }
}

/// Receives from the current host's world.
///
/// # Safety
///
/// As for libc's function; there is room for an IPv4 address and one buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmsg(_: c_int, message: *mut msghdr, _: c_int) -> ssize_t {
    let next = current().inbound.take();
    // SAFETY: the caller's message is valid, and has room for an IPv4 address and one buffer.
    unsafe {
        let Some((from, datagram)) = next else {
            *libc::__errno_location() = libc::EAGAIN;
            return -1;
        };
        let message = &mut *message;
        let address = &mut *message.msg_name.cast::<sockaddr_in>();
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_addr.s_addr = from;
        address.sin_port = 1_u16.to_be();
        let room = &*message.msg_iov;
        assert!(datagram.len() <= room.iov_len, "longer than the library takes");
        datagram.as_ptr().copy_to_nonoverlapping(room.iov_base.cast(), datagram.len());
        message.msg_flags = 0;
        datagram.len() as ssize_t
    }
}

/// The current host's clock.
///
/// # Safety
///
/// As for libc's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut timeval, _: *mut c_void) -> c_int {
    let now = current().now;
    // SAFETY: the caller has room for the time.
    unsafe {
        (*time).tv_sec = (now / 1000).into();
        (*time).tv_usec = (now % 1000 * 1000).into();
    }
    0
}

/// The library, and what `c_enet.c` adds to it.
mod ffi {
    use super::{c_int, c_void, null};

    /// Only ever behind a pointer.
    #[derive(Debug)]
    #[repr(C)]
    pub(super) struct ENetHost([u8; 0]);

    /// `struct bowline_event`.
    #[repr(C)]
    pub(super) struct Event {
        pub(super) kind: u32,
        pub(super) peer: u32,
        pub(super) packet: *const u8,
        pub(super) bytes: *const u8,
        pub(super) len: usize,
    }

    impl Default for Event {
        fn default() -> Self {
            Self { kind: 0, peer: 0, packet: null(), bytes: null(), len: 0 }
        }
    }

    unsafe extern "C" {
        pub(super) fn bowline_peers_initialize(
            allocate: extern "C" fn(usize) -> *mut c_void,
        ) -> c_int;
        pub(super) fn bowline_peers_version() -> u32;
        pub(super) fn bowline_peers_create(peers: usize) -> *mut ENetHost;
        pub(super) fn bowline_peers_connect(host: *mut ENetHost, to: u32) -> c_int;
        pub(super) fn bowline_peers_send(
            host: *mut ENetHost,
            peer: usize,
            flags: u32,
            bytes: *const u8,
            len: usize,
        ) -> c_int;
        pub(super) fn bowline_peers_service(host: *mut ENetHost, event: *mut Event) -> c_int;
        pub(super) fn bowline_peers_release(event: *mut Event);
        pub(super) fn enet_host_flush(host: *mut ENetHost);
        pub(super) fn enet_host_destroy(host: *mut ENetHost);
    }
}
