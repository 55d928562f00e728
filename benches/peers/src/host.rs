//! What the workloads ask of an ENet host that is not bowline's.

use bowline_core::Mode;

use crate::queue::World;

/// What a host tells.
#[derive(Debug)]
pub enum Told<'a> {
    /// The peer in this slot is connected.
    Connected(usize),
    /// A message has come.
    Received(&'a [u8]),
}

/// A host that takes datagrams and time from its [`World`].
pub trait Host {
    /// Its world.
    fn world(&mut self) -> &mut World;

    /// What is the time, in milliseconds.
    fn set_now(&mut self, now: u32);

    /// Asks for a connection.
    fn connect(&mut self, to: u32);

    /// Sends a message on channel 0.
    fn send(&mut self, peer: usize, mode: Mode, message: &[u8]);

    /// Receives all that has come and sends what is due.
    fn service(&mut self, told: impl FnMut(Told<'_>));

    /// Sends what is due.
    fn flush(&mut self);
}

/// The flags of a packet in a mode of ours.
pub(crate) fn flags(mode: Mode) -> u32 {
    match mode {
        Mode::Reliable => 1,
        Mode::UnreliableOrdered => 0,
        _ => 2,
    }
}
