//! A host that speaks ENet, alone with peers that write their own datagrams.

use bowline_core::{
    Address, ChannelId, DropReason, Duration, Event, Instant, Machine, Messages, PeerId, Received,
};
use bowline_crypto::SipHash;
use bowline_enet::{Config, Flags, Host, Storage};
use bowline_wire::Writer;
use bowline_wire::enet::{
    Command, CommandHead, Header, NO_PEER, NO_SESSION, Parameters, Throttle, commands,
};

/// A host, a clock, and all that it sends.
pub struct Solo<S> {
    /// The host.
    pub host: Host<S>,
    /// What time it is.
    pub now: Instant,
    /// How often the host was polled.
    pub polls: u64,
}

impl<S: Storage> Solo<S> {
    /// A host of this configuration in this memory.
    ///
    /// # Panics
    ///
    /// If these do not fit together.
    pub fn new(config: Config, storage: S) -> Self {
        let host = Host::new(config, &SipHash, &[9; 32], storage).expect("a good configuration");
        Self { host, now: Instant::from_micros(1_000_000), polls: 0 }
    }

    /// Hands in a datagram.
    ///
    /// # Errors
    ///
    /// Why it was dropped, which is counted.
    ///
    /// # Panics
    ///
    /// If that was not counted, or counted otherwise.
    pub fn feed(&mut self, from: Address, bytes: &[u8]) -> Result<(), DropReason> {
        let before = *self.host.statistics();
        let mut bytes = bytes.to_vec();
        let answer = self.host.handle_datagram(self.now, Received::from(from), &mut bytes);
        for reason in DropReason::ALL {
            let more = self.host.statistics().dropped(*reason) - before.dropped(*reason);
            assert_eq!(more, u64::from(answer == Err(*reason)), "{answer:?} is counted as such");
        }
        answer
    }

    /// All that the host has to send now.
    ///
    /// # Panics
    ///
    /// If there is no end to it.
    pub fn drain(&mut self) -> Vec<(Address, Vec<u8>)> {
        let mut all = Vec::new();
        let mut buf = [0; 4_200];
        for _ in 0..100_000 {
            self.polls += 1;
            match self.host.poll_transmit(self.now, &mut buf).expect("a buffer that is long enough")
            {
                Some(transmit) => all.push((transmit.to, buf[..transmit.len].to_vec())),
                None => return all,
            }
        }
        panic!("there is no end to it")
    }

    /// Lets time pass, calling the host when it wants to be called. Answers all that it sent.
    ///
    /// # Panics
    ///
    /// If it wants to be called again and again at one time.
    pub fn pass(&mut self, millis: u64) -> Vec<(Address, Vec<u8>)> {
        let end = self.now + Duration::from_millis(millis);
        let mut all = self.drain();
        let mut impatient = 0;
        while let Some(at) = self.host.poll_timeout().filter(|at| *at <= end) {
            impatient = if at > self.now { 0 } else { impatient + 1 };
            assert!(impatient < 3, "at {:?} it wants to be called over and over", self.now);
            self.now = self.now.max(at);
            all.extend(self.drain());
        }
        self.now = end;
        all.extend(self.drain());
        all
    }

    /// What the host has to tell.
    pub fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.host.poll_event()).collect()
    }

    /// What a peer's packets say, one after the other.
    pub fn read(&mut self, peer: PeerId) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(packet) = self.host.receive_packet(peer) {
            all.push(packet.chunks.flatten().copied().collect());
        }
        all
    }

    /// What there is room for, as seen by a newcomer: packets of `len` bytes that he can be sent at once, and
    /// packets that can wait of him for an earlier one. The host is as before afterwards.
    pub fn vacancy(&mut self, len: usize) -> (usize, usize) {
        let mut rogue = Rogue::new(60_000);
        let peer = rogue.join(self);
        let packet = vec![7; len];
        let mut sent = 0;
        while self
            .host
            .send_packet(self.now, peer, ChannelId(0), Flags::RELIABLE, &[&packet])
            .is_ok()
        {
            sent += 1;
        }
        let mut taken = 0;
        for sequence in 2..8_000 {
            let head = CommandHead::plain(0, sequence);
            let datagram = rogue.say(None, &[(head, Command::SendReliable { payload: &packet })]);
            if self.feed(rogue.address, &datagram).is_err() {
                break;
            }
            taken += 1;
        }
        self.host.reset(self.now, peer).expect("a peer that is there");
        self.drain();
        self.events();
        (sent, taken)
    }
}

/// A peer that says what it likes.
#[derive(Clone, Debug)]
pub struct Rogue {
    /// Where it is.
    pub address: Address,
    /// What it asks with.
    pub parameters: Parameters,
    /// Its slot at the host, once it knows.
    pub slot: u16,
    /// The session that its datagrams bear.
    pub session: u8,
    /// Sequence number of the last command that concerned the connection.
    pub sequence: u16,
    /// The time that the host's VERIFY_CONNECT bore.
    pub verify_time: u16,
}

/// Somebody's address.
pub fn address(number: u16) -> Address {
    core::net::SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 4_000)).into()
}

impl Rogue {
    /// The one of this number, who is alone at his address.
    pub fn new(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self {
            address: address(number),
            parameters: Parameters {
                outgoing_peer_id: 3,
                incoming_session: NO_SESSION,
                outgoing_session: NO_SESSION,
                mtu: 1_392,
                window_size: 65_536,
                channel_count: 4,
                incoming_bandwidth: 0,
                outgoing_bandwidth: 0,
                throttle: Throttle { interval: 5_000, acceleration: 2, deceleration: 2 },
                connect_id: [0xC1, 0xD2, high, low],
            },
            slot: NO_PEER,
            session: 0,
            sequence: 1,
            verify_time: 0,
        }
    }

    /// The request for a connection.
    pub fn connect(&self) -> Vec<u8> {
        let header =
            Header { peer_id: NO_PEER, session: 0, compressed: false, sent_time: Some(0x1234) };
        let connect = Command::Connect { parameters: self.parameters, data: 77 };
        datagram(&header, &[(CommandHead::acknowledged(0xFF, 1), connect)])
    }

    /// A datagram of the connection.
    pub fn say(&self, time: Option<u16>, commands: &[(CommandHead, Command<'_>)]) -> Vec<u8> {
        let header = Header {
            peer_id: self.slot,
            session: self.session,
            compressed: false,
            sent_time: time,
        };
        datagram(&header, commands)
    }

    /// Asks for a connection, and learns from the answer what there is to learn.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn knock<S: Storage>(&mut self, solo: &mut Solo<S>) {
        solo.feed(self.address, &self.connect()).expect("a request that is taken");
        let sent = solo.drain();
        let (_, answer) = sent.iter().find(|(to, _)| *to == self.address).expect("an answer");
        let (header, rest) = Header::parse(answer).expect("a header");
        let Some(Ok((_, Command::VerifyConnect { parameters }))) = commands(rest).next() else {
            panic!("VERIFY_CONNECT is the answer")
        };
        assert_eq!(parameters.connect_id, self.parameters.connect_id);
        self.slot = parameters.outgoing_peer_id;
        self.session = parameters.outgoing_session;
        self.verify_time = header.sent_time.expect("a time");
    }

    /// Acknowledges the answer, which bore the time `time`.
    pub fn acknowledgement(&self, sequence: u16, time: u16) -> Vec<u8> {
        let acknowledge =
            Command::Acknowledge { received_sequence: sequence, received_sent_time: time };
        self.say(None, &[(CommandHead::plain(0xFF, sequence), acknowledge)])
    }

    /// Connects.
    ///
    /// # Panics
    ///
    /// If it cannot.
    pub fn join<S: Storage>(&mut self, solo: &mut Solo<S>) -> PeerId {
        self.knock(solo);
        let acknowledgement = self.acknowledgement(1, self.verify_time);
        solo.feed(self.address, &acknowledgement).expect("an acknowledgement that counts");
        let is_mine = |event: &Event| matches!(event, Event::Connected(peer) if peer.slot() == usize::from(self.slot));
        let connected = solo.events().into_iter().find(is_mine);
        let Some(Event::Connected(peer)) = connected else { panic!("no connection") };
        solo.drain();
        peer
    }

    /// The next number of a command that concerns the connection.
    pub fn number(&mut self) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

/// A datagram of this header and these commands, without a checksum.
///
/// # Panics
///
/// If it is longer than 64 KiB.
pub fn datagram(header: &Header, commands: &[(CommandHead, Command<'_>)]) -> Vec<u8> {
    let mut room = vec![0; 65_536];
    let mut writer = Writer::new(&mut room);
    header.emit(&mut writer).expect("room");
    for (head, command) in commands {
        command.emit(*head, &mut writer).expect("room");
    }
    let len = writer.len();
    room.truncate(len);
    room
}
