//! A peer that says what it likes.

use super::*;

/// A client that writes its own packets, in sessions without integrity.
pub(crate) struct Raw {
    pub(crate) name: u8,
    pub(crate) half: u64,
    pub(crate) parameters: Parameters,
    pub(crate) id: Option<u32>,
    pub(crate) number: u32,
    pub(crate) theirs: Option<Parameters>,
}

impl Raw {
    pub(crate) fn new(name: u8) -> Self {
        let parameters = Parameters {
            connection_id: None,
            initial: 1_000,
            integrity: Integrity::None,
            datagram_max: 1200,
            channels: 256,
            ack_delay: 100,
            idle_timeout_ms: 10_000,
            credit: 1 << 20,
            loose_credit: 0,
            reliable_max: 1 << 20,
            ordered_max: 1 << 20,
            unreliable_max: 1 << 20,
        };
        Self { name, half: 77 + u64::from(name), parameters, id: None, number: 1_000, theirs: None }
    }

    pub(crate) fn give<S: Storage>(
        &self,
        to: &mut Endpoint<S>,
        now: Instant,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        to.handle_datagram(now, Received::from(address(self.name)), datagram)
    }

    pub(crate) fn handshake<S: Storage>(
        &self,
        to: &mut Endpoint<S>,
        now: Instant,
        what: &Handshake<'_>,
    ) {
        let mut buf = [0; 1500];
        let len = what.emit(40, &mut buf).unwrap();
        self.give(to, now, &mut buf[..len]).unwrap();
    }

    pub(crate) fn cookie<S: Storage>(&self, to: &mut Endpoint<S>, now: Instant) -> [u8; 12] {
        let mut buf = [0; 1500];
        let (version, application, client_half) = (VERSION, 1, self.half);
        self.handshake(to, now, &Handshake::Hello { version, application, client_half, len: 40 });
        while let Some(out) = to.poll_transmit(now, &mut buf).unwrap() {
            if out.to == address(self.name)
                && let Ok(Handshake::Challenge { cookie, .. }) = Handshake::parse(&buf[..out.len])
            {
                return cookie;
            }
        }
        panic!("no challenge");
    }

    pub(crate) fn connect<S: Storage>(
        &mut self,
        to: &mut Endpoint<S>,
        now: Instant,
        payload: &[u8],
    ) {
        let cookie = self.cookie(to, now);
        let (application, client_half, parameters) = (1, self.half, self.parameters);
        let connect = Handshake::Connect { application, client_half, cookie, parameters, payload };
        self.handshake(to, now, &connect);
        self.drain(to, now);
        self.theirs.expect("accepted");
    }

    /// Takes what is sent to it; returns the session packets.
    pub(crate) fn drain<S: Storage>(&mut self, to: &mut Endpoint<S>, now: Instant) -> Vec<Vec<u8>> {
        let mut buf = [0; 1500];
        let mut packets = Vec::new();
        for _ in 0..100_000 {
            let Some(out) = to.poll_transmit(now, &mut buf).unwrap() else { return packets };
            if buf[0] >= 0x80 {
                packets.push(buf[..out.len].to_vec());
            } else if let Ok(Handshake::Accept { parameters, .. }) =
                Handshake::parse(&buf[..out.len])
            {
                self.id = parameters.connection_id;
                self.theirs = Some(parameters);
            }
        }
        panic!("sends for ever");
    }

    /// First offset of this side's streams.
    pub(crate) fn initial(&self) -> u32 {
        self.parameters.initial
    }

    pub(crate) fn packet(&mut self, frames: &[Frame<'_>]) -> Vec<u8> {
        let mut buf = [0; 1500];
        let mut w = Writer::new(&mut buf);
        let head = PacketHead {
            key_phase: false,
            ack: AckForm::None,
            connection_id: self.id.unwrap_or(0),
            number_len: 4,
            number_low: self.number,
        };
        self.number += 1;
        head.emit(if self.id.is_some() { 4 } else { 0 }, &mut w).unwrap();
        for frame in frames {
            frame.emit(false, &mut w).unwrap();
        }
        w.written().to_vec()
    }

    pub(crate) fn send<S: Storage>(
        &mut self,
        to: &mut Endpoint<S>,
        now: Instant,
        frames: &[Frame<'_>],
    ) -> Result<(), DropReason> {
        let mut packet = self.packet(frames);
        self.give(to, now, &mut packet)
    }
}
