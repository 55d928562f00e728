//! The decoders of `bowline-wire`.

pub mod ack_block;
pub mod datagram;
pub mod enet_datagram;
pub mod frames;
pub mod handshake;
pub mod parameters;
pub mod varint;
