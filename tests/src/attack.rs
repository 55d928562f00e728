//! What a peer can do to an endpoint that let it in, other than talk to it.

use alloc::collections::VecDeque;

use bowline_core::{Address, BufferTooShort, DropReason, Instant, Machine, Received, Transmit};
use bowline_sim::Rng;
use bowline_wire::native::{AckForm, Frame, Handshake, Offset, Stream, VERSION, emit_ack_ranges};
use bowline_wire::{NoRoom, Writer, varint};

use crate::memory::APPLICATION;
use crate::rogue::Rogue;

/// A way to be a nuisance.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Attack {
    /// Begins the longest reliable message there may be on every channel, and never ends one.
    BeginsAndNeverEnds,
    /// Sends every second byte of every stream.
    LeavesGaps,
    /// Sends messages of the loose modes, each with a key of its own, and leaves gaps between them.
    Scatters,
    /// Sends the same datagram again and again.
    Repeats,
    /// Sends the same bytes of a stream again and again, in packets that are new.
    RepeatsBytes,
    /// Acknowledges what was never sent, is shown out, and comes back.
    AcknowledgesLies,
    /// Sends more than it has credit for, is shown out, and comes back.
    ExceedsCredit,
    /// Sends on every channel in every mode.
    OpensEverything,
    /// Begins long unreliable messages and never ends one.
    FloodsReassembly,
    /// Begins short ones, as many as there are places.
    TakesEveryPlace,
    /// Sends unreliable messages as fast as it can.
    FloodsInbox,
    /// Never acknowledges anything, but is heard.
    NeverAcknowledges,
    /// Raises credit and asks for acknowledgements without end.
    PingsAndCredits,
    /// Gives up what it never sent, in ranges that make no sense.
    Voids,
    /// Says that it takes only the shortest datagrams.
    IsNarrow,
    /// Leaves and comes back, again and again.
    ComesAndGoes,
    /// Sends garbage in its own name.
    SendsGarbage,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::BeginsAndNeverEnds,
        Self::LeavesGaps,
        Self::Scatters,
        Self::Repeats,
        Self::RepeatsBytes,
        Self::AcknowledgesLies,
        Self::ExceedsCredit,
        Self::OpensEverything,
        Self::FloodsReassembly,
        Self::TakesEveryPlace,
        Self::FloodsInbox,
        Self::NeverAcknowledges,
        Self::PingsAndCredits,
        Self::Voids,
        Self::IsNarrow,
        Self::ComesAndGoes,
        Self::SendsGarbage,
    ];

    /// Whether it is against the rules, so that whoever does it is shown out.
    pub const fn is_misbehaviour(self) -> bool {
        matches!(self, Self::AcknowledgesLies | Self::ExceedsCredit | Self::Voids)
    }

    /// Whether it can happen to be.
    pub const fn may_be_misbehaviour(self) -> bool {
        self.is_misbehaviour() || matches!(self, Self::SendsGarbage)
    }
}

/// After so many strikes without a session one asks for it again.
const ASK_AGAIN: u64 = 10;

/// One who attacks: a machine of its own.
#[derive(Debug)]
pub struct Attacker {
    attack: Attack,
    server: Address,
    phase: Phase,
    /// How often it was let in.
    pub sessions: u32,
    to_send: VecDeque<Vec<u8>>,
    strikes: u64,
    /// How far it has got with whatever it does.
    at: u32,
    rng: Rng,
}

#[derive(Debug)]
enum Phase {
    Hello { client_half: u64 },
    Open(Box<Rogue>),
}

impl Attacker {
    /// One who attacks `server` like this.
    pub fn new(attack: Attack, server: Address, seed: u64) -> Self {
        let rng = Rng::stream(seed, attack as u64);
        let phase = Phase::Hello { client_half: 0 };
        let to_send = VecDeque::new();
        Self { attack, server, phase, sessions: 0, to_send, strikes: 0, at: 0, rng }
    }

    /// Sends `count` packets, or asks for a session if it has none.
    pub fn strike(&mut self, count: u32) {
        let again = match self.attack {
            Attack::ComesAndGoes => 2 * ASK_AGAIN,
            attack if attack.may_be_misbehaviour() => 10 * ASK_AGAIN,
            _ => u64::MAX,
        };
        self.strikes += 1;
        if self.strikes.is_multiple_of(again) {
            self.phase = Phase::Hello { client_half: 0 };
        }
        match core::mem::replace(&mut self.phase, Phase::Hello { client_half: 0 }) {
            waits @ Phase::Hello { .. } if !self.strikes.is_multiple_of(ASK_AGAIN) => {
                self.phase = waits;
            }
            Phase::Hello { .. } => {
                let client_half = self.rng.next_u64();
                self.phase = Phase::Hello { client_half };
                let (version, application) = (VERSION, APPLICATION);
                self.shake(&Handshake::Hello { version, application, client_half, len: 40 });
            }
            Phase::Open(mut rogue) => {
                let mut packet = self.packet(&mut rogue);
                for _ in 0..count {
                    self.to_send.push_back(packet.clone());
                    if self.attack != Attack::Repeats {
                        packet = self.packet(&mut rogue);
                    }
                }
                self.phase = Phase::Open(rogue);
            }
        }
    }

    fn shake(&mut self, handshake: &Handshake<'_>) {
        let mut buf = [0; 200];
        let len = handshake.emit(40, &mut buf).expect("a short one");
        self.to_send.push_back(buf[..len].to_vec());
    }

    fn packet(&mut self, rogue: &mut Rogue) -> Vec<u8> {
        let theirs = rogue.theirs;
        let initial = Rogue::INITIAL;
        let at = self.at;
        self.at = self.at.wrapping_add(1);
        let channels = u32::from(theirs.channels);
        let channel = (at % channels) as u8;
        let round = at / channels;
        let stream = |start: u32, data| Frame::Reliable {
            channel,
            offset: Offset::Long(initial.wrapping_add(start)),
            data,
        };
        let junk = [7; 1_000];
        match self.attack {
            Attack::BeginsAndNeverEnds => {
                let (prefix, len) = varint::encode(theirs.reliable_max);
                let all = theirs.credit.min(theirs.reliable_max);
                let start = round * 1_000;
                if start == 0 {
                    return one(rogue, &stream(0, &prefix[..len]));
                }
                let left = all.saturating_sub(start).min(1_000) as usize;
                if left == 0 {
                    one(rogue, &Frame::Ping)
                } else {
                    one(rogue, &stream(start, &junk[..left]))
                }
            }
            Attack::LeavesGaps => many(rogue, |frame| {
                let start = 1 + 2 * ((round * 80 + frame) % (theirs.credit / 2).max(1));
                Some(stream(start.min(theirs.credit - 1), b"x"))
            }),
            Attack::Scatters if theirs.loose_credit > 0 => rogue.packet(AckForm::None, |w| {
                (0..60).try_for_each(|frame| {
                    let number = round * 60 + frame;
                    let place = number % ((1 << theirs.loose_credit) / 8);
                    // A message of a key and one byte more.
                    let [a, b, c, d] = number.to_be_bytes();
                    let (latest, offset) = (frame % 2 == 0, initial + 1 + place * 8);
                    let data = &[5, a, b, c, d, 7];
                    Frame::Loose { channel, latest, offset, back: None, data }.emit(false, w)
                })
            }),
            Attack::Scatters => one(rogue, &Frame::Ping),
            Attack::Repeats => many(rogue, |_| {
                Some(Frame::Unreliable { channel: 0, ordered: false, messages: b"\x03abc" })
            }),
            Attack::RepeatsBytes => one(rogue, &stream(0, b"\x7f 0123456789 0123456789")),
            Attack::AcknowledgesLies => {
                let lie = u64::from(theirs.initial) + 60_000;
                rogue.packet(AckForm::Ranges2, |w| {
                    emit_ack_ranges(w, 2, 0, [(lie, lie)].into_iter(), 100)
                })
            }
            Attack::ExceedsCredit => one(rogue, &stream(theirs.credit, &junk)),
            Attack::OpensEverything => {
                let message = b"\x03abc";
                let (ordered, start) = (round % 3 == 1, 4 * (round / 3));
                if start + 4 > theirs.credit {
                    one(rogue, &Frame::Ping)
                } else if round % 3 == 2 {
                    one(rogue, &stream(start, message))
                } else {
                    one(rogue, &Frame::Unreliable { channel, ordered, messages: message })
                }
            }
            Attack::FloodsReassembly => {
                let total = theirs.unreliable_max.min(theirs.ordered_max);
                let (id, ordered) = (round as u16, round % 2 == 1);
                let data = &junk[..1_000.min(total as usize / 2).max(1)];
                one(rogue, &Frame::Fragment { channel, ordered, id, offset: 0, total, data })
            }
            Attack::TakesEveryPlace => many(rogue, |frame| {
                let id = (at * 50 + frame) as u16;
                (frame < 50).then_some(Frame::Fragment {
                    channel: 0,
                    ordered: false,
                    id,
                    offset: 0,
                    total: 2,
                    data: b"x",
                })
            }),
            Attack::FloodsInbox => {
                let messages = [0; 200];
                one(rogue, &Frame::Unreliable { channel, ordered: false, messages: &messages })
            }
            Attack::NeverAcknowledges | Attack::IsNarrow | Attack::ComesAndGoes => {
                one(rogue, &Frame::Ping)
            }
            Attack::PingsAndCredits => many(rogue, |frame| {
                let limit = theirs.initial.wrapping_add(at.wrapping_mul(99));
                let channel = (frame % channels) as u8;
                Some(Frame::Credit { stream: Stream::Reliable, channel, limit })
            }),
            Attack::Voids => {
                let streams = [Stream::Reliable, Stream::Unordered, Stream::Latest];
                let stream = streams[self.rng.below(3) as usize];
                let offset = initial.wrapping_add(self.rng.below(u64::from(theirs.credit)) as u32);
                let longest = if self.rng.below(2) == 0 { 9 } else { u64::from(varint::MAX) };
                let len = 1 + self.rng.below(longest) as u32;
                one(rogue, &Frame::Void { stream, channel, offset, len })
            }
            Attack::SendsGarbage => {
                let mut bytes = [0; 200];
                self.rng.fill(&mut bytes);
                if at.is_multiple_of(2) {
                    return one(rogue, &Frame::Ping);
                }
                rogue.packet(AckForm::None, |w| w.bytes(&bytes))
            }
        }
    }
}

impl Machine for Attacker {
    fn handle_datagram(
        &mut self,
        _: Instant,
        _: Received,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let Phase::Hello { client_half } = self.phase else { return Ok(()) };
        match Handshake::parse(datagram) {
            Ok(Handshake::Challenge { client_half: half, cookie }) if half == client_half => {
                let mut parameters = Rogue::PARAMETERS;
                parameters.loose_credit = 12;
                if self.attack == Attack::IsNarrow {
                    (parameters.datagram_max, parameters.credit) = (64, 8);
                }
                let (application, payload) = (APPLICATION, &b""[..]);
                self.shake(&Handshake::Connect {
                    application,
                    client_half,
                    cookie,
                    parameters,
                    payload,
                });
            }
            Ok(Handshake::Accept { client_half: half, server_half, parameters })
                if half == client_half =>
            {
                let rogue = Rogue::accepted(self.server, half, server_half, parameters);
                self.phase = Phase::Open(Box::new(rogue));
                self.sessions += 1;
                self.at = 0;
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_transmit(
        &mut self,
        _: Instant,
        buf: &mut [u8],
    ) -> Result<Option<Transmit>, BufferTooShort> {
        let Some(datagram) = self.to_send.pop_front() else { return Ok(None) };
        let len = datagram.len();
        buf[..len].copy_from_slice(&datagram);
        Ok(Some(Transmit { to: self.server, len, segment_len: None, ecn: None }))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        (!self.to_send.is_empty()).then_some(Instant::ZERO)
    }
}

/// A packet of one frame.
fn one(rogue: &mut Rogue, frame: &Frame<'_>) -> Vec<u8> {
    rogue.packet(AckForm::None, |w| frame.emit(true, w))
}

/// A packet of as many frames as fit and there are.
fn many<'f>(rogue: &mut Rogue, frame: impl Fn(u32) -> Option<Frame<'f>>) -> Vec<u8> {
    rogue.packet(AckForm::None, |w| {
        let fill = |w: &mut Writer<'_>| -> Result<(), NoRoom> {
            for number in 0..80 {
                match frame(number) {
                    Some(frame) if w.room() > 40 => frame.emit(false, w)?,
                    _ => break,
                }
            }
            Ok(())
        };
        fill(w)
    })
}
