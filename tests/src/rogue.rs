//! A peer that speaks the protocol and keeps none of its rules.

use bowline_core::{Address, DropReason, Instant, Machine, Received};
use bowline_native::Integrity;
use bowline_wire::native::{
    AckForm, Direction, Frame, Handshake, PacketHead, Parameters, SessionCrc, VERSION,
};
use bowline_wire::{NoRoom, Writer};

use crate::memory::APPLICATION;
use crate::stage::Stage;

/// A client with a session of its own at a node of a stage.
#[derive(Debug)]
pub struct Rogue {
    node: usize,
    from: Address,
    crc: SessionCrc,
    /// What the server told of itself.
    pub theirs: Parameters,
    /// Number of its next packet.
    pub number: u64,
}

impl Rogue {
    /// First number of its packets, first offset of its streams.
    pub const INITIAL: u32 = 1_000;

    /// What it says of itself.
    pub const PARAMETERS: Parameters = Parameters {
        connection_id: None,
        initial: Self::INITIAL,
        integrity: Integrity::Crc32,
        datagram_max: 1_200,
        channels: 256,
        ack_delay: 100,
        idle_timeout_ms: 10_000,
        credit: 10_000,
        loose_credit: 0,
        reliable_max: 1_000_000,
        ordered_max: 100_000,
        unreliable_max: 100_000,
    };

    /// Shakes hands in all order with the endpoint at `node`, without a network in between.
    ///
    /// # Panics
    ///
    /// If it is not let in.
    pub fn connect(stage: &mut Stage, node: usize, from: &[u8]) -> Self {
        let from = Address::from_raw(from).expect("a short name");
        let now = stage.now();
        let met = Self::meet(&mut stage.endpoints[node], now, from, |_| {});
        Self { node, ..met.expect("room for a rogue") }
    }

    /// Shakes hands in all order with an endpoint that serves [`APPLICATION`]; `decide` lets its
    /// application accept before it is polled. What the endpoint sends to others meanwhile is lost.
    ///
    /// Returns nothing if it is not let in.
    pub fn meet<M: Machine>(
        machine: &mut M,
        now: Instant,
        from: Address,
        decide: impl FnOnce(&mut M),
    ) -> Option<Self> {
        let client_half = 0x5ee5_0001 ^ now.as_micros();
        let application = APPLICATION;
        let hello = Handshake::Hello { version: VERSION, application, client_half, len: 40 };
        hand_in(machine, now, from, &hello);
        let answer = answer(machine, now, from)?;
        let Ok(Handshake::Challenge { cookie, .. }) = Handshake::parse(&answer) else {
            return None;
        };
        let connect = Handshake::Connect {
            application,
            client_half,
            cookie,
            parameters: Self::PARAMETERS,
            payload: b"",
        };
        hand_in(machine, now, from, &connect);
        decide(machine);
        let answer = self::answer(machine, now, from)?;
        let Ok(Handshake::Accept { server_half, parameters, .. }) = Handshake::parse(&answer)
        else {
            return None;
        };
        Some(Self::accepted(from, client_half, server_half, parameters))
    }

    /// One who is known as `from` and was let in with these halves of the handshake, and what the server
    /// told of itself.
    pub fn accepted(from: Address, client_half: u64, server_half: u64, theirs: Parameters) -> Self {
        Self {
            node: usize::MAX,
            from,
            crc: SessionCrc::new(client_half, server_half, Direction::ClientToServer),
            theirs,
            number: u64::from(Self::INITIAL),
        }
    }

    /// A packet with the next number and a right checksum around whatever `write` writes.
    ///
    /// # Panics
    ///
    /// If that does not fit a datagram.
    pub fn packet(
        &mut self,
        ack: AckForm,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>,
    ) -> Vec<u8> {
        let mut buf = [0; 1_200];
        let mut writer = Writer::new(&mut buf);
        let head = PacketHead {
            key_phase: false,
            ack,
            connection_id: self.theirs.connection_id.unwrap_or(0),
            number_len: 4,
            number_low: self.number as u32,
        };
        let id_len = if self.theirs.connection_id.is_some() { 4 } else { 0 };
        let wrote = head.emit(id_len, &mut writer).and_then(|()| write(&mut writer));
        let checksum = self.crc.checksum(self.number, writer.written());
        wrote.and_then(|()| writer.u32(checksum)).expect("it fits");
        self.number += 1;
        writer.written().to_vec()
    }

    /// Sends such a packet, and tells what the endpoint thinks of it.
    ///
    /// # Errors
    ///
    /// Why it was dropped.
    pub fn send(
        &mut self,
        stage: &mut Stage,
        ack: AckForm,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>,
    ) -> Result<(), DropReason> {
        let now = stage.now();
        let datagram = self.packet(ack, write);
        self.hand_to(&mut stage.endpoints[self.node], now, datagram)
    }

    /// Hands a packet in at the endpoint that this was met at, or at another.
    ///
    /// # Errors
    ///
    /// Why it was dropped.
    pub fn hand_to(
        &self,
        machine: &mut impl Machine,
        now: Instant,
        mut packet: Vec<u8>,
    ) -> Result<(), DropReason> {
        machine.handle_datagram(now, Received::from(self.from), &mut packet)
    }

    /// Sends these frames.
    ///
    /// # Errors
    ///
    /// Why they were dropped.
    pub fn frames(&mut self, stage: &mut Stage, frames: &[Frame<'_>]) -> Result<(), DropReason> {
        self.send(stage, AckForm::None, |w| {
            let (last, others) = frames.split_last().expect("a frame");
            others.iter().try_for_each(|frame| frame.emit(false, w))?;
            last.emit(true, w)
        })
    }
}

/// Hands a handshake datagram in.
fn hand_in(machine: &mut impl Machine, now: Instant, from: Address, handshake: &Handshake<'_>) {
    let mut buf = [0; 1_500];
    let len = handshake.emit(40, &mut buf).expect("it fits");
    let _ = machine.handle_datagram(now, Received::from(from), &mut buf[..len]);
}

/// The first answer to `from`. What comes before it is lost.
fn answer(machine: &mut impl Machine, now: Instant, from: Address) -> Option<Vec<u8>> {
    let mut buf = [0; 1_500];
    while let Some(transmit) = machine.poll_transmit(now, &mut buf).expect("a long buffer") {
        if transmit.to == from {
            return Some(buf[..transmit.len].to_vec());
        }
    }
    None
}
