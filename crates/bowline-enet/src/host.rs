//! All connections behind one socket.

use bowline_core::{Address, Instant, Link, PeerId};
use bowline_crypto::KeyedMac;
use bowline_wire::enet::Time;

use crate::clock::Clock;
use crate::compression::{Compression, Uncompressed};
use crate::config::{Config, ConfigError};
use crate::farewell::Farewells;
use crate::peer::{News, Peer, State};
use crate::random::Random;
use crate::statistics::HostStatistics;
use crate::storage::{Parts, Storage};

/// ENet's host: all connections behind one socket, in both roles.
///
/// Drive it as [`Machine`](bowline_core::Machine) says; talk through it as
/// [`Messages`](bowline_core::Messages) says, or with ENet's own calls. `S` is the memory: `Fixed`, `Heap`, or a
/// `&mut` to either; `C` compresses, or does not.
#[derive(Debug)]
pub struct Host<S, C = Uncompressed> {
    pub(crate) storage: S,
    pub(crate) compression: C,
    pub(crate) shared: Shared,
}

/// What a host's peers share and is not lent.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) statistics: HostStatistics,
    pub(crate) farewells: Farewells,
    pub(crate) pass: Pass,
    /// Commands queued so far.
    stamp: u32,
    pub(crate) generation: u32,
    /// The last bandwidth tick.
    pub(crate) epoch: Time,
    /// Bandwidth is to be shared out anew.
    pub(crate) recalculate: bool,
    /// Peers that are connected, and those of them with a limit of their own.
    pub(crate) connected: u32,
    pub(crate) limited: u32,
    /// CONNECTs are not answered.
    pub(crate) draining: bool,
    /// CONNECTs that may come at once, in thousandths, and since when.
    pub(crate) connects_left: u32,
    pub(crate) connects_at: Instant,
    /// First and last of the peers with news for the application.
    pub(crate) news_first: Link,
    pub(crate) news_last: Link,
    /// Memory was given back since blocked peers were looked at.
    pub(crate) freed: bool,
    /// The blocked peer that is looked at next, while not all were.
    pub(crate) unblocking: Option<usize>,
}

/// How far a transmit pass has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pass {
    pub(crate) is_begun: bool,
    /// The slot that is looked at next.
    pub(crate) at: usize,
}

/// Everything, lent for one call.
pub(crate) struct Work<'m> {
    pub(crate) parts: Parts<'m>,
    pub(crate) shared: &'m mut Shared,
}

/// How much of a host's memory is taken, in the units of [`Capacity`](crate::Capacity).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InUse {
    /// Slots of peers, whatever these are doing.
    pub peers: u32,
    /// Channels that something was sent or received on.
    pub channels: u32,
    /// Commands queued or not acknowledged.
    pub commands: u32,
    /// Acknowledgements that were not sent yet.
    pub acknowledgements: u32,
    /// Packets that have arrived, or begun to, and were not read.
    pub arrivals: u32,
    /// Pool blocks.
    pub blocks: u32,
}

/// There is no such connection, or it is not in a state for this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownPeer;

impl core::fmt::Display for UnknownPeer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no such connection, or not in a state for this")
    }
}

impl core::error::Error for UnknownPeer {}

impl Shared {
    pub(crate) const fn next_stamp(&mut self) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        self.stamp
    }
}

impl Shared {
    pub(crate) const fn last_stamp(&self) -> u32 {
        self.stamp
    }

    /// There is something to tell of a peer.
    pub(crate) fn push_news(&mut self, peers: &mut [Peer], slot: usize) {
        let link = Link::new(slot as u32);
        let Some(peer) = peers.get_mut(slot) else { return };
        if peer.news.is_queued {
            return;
        }
        peer.news.is_queued = true;
        peer.next_news = Link::NONE;
        match self.news_last.some() {
            Some(last) => {
                if let Some(last) = peers.get_mut(last.index()) {
                    last.next_news = link;
                }
            }
            None => self.news_first = link,
        }
        self.news_last = link;
    }
}

impl<S: Storage> Host<S> {
    /// A host whose datagrams are not compressed.
    ///
    /// `seed` is 32 random bytes that are never used again; `mac` makes connect ids and tables of addresses
    /// unpredictable with them.
    ///
    /// # Errors
    ///
    /// When `config` is no good, or the memory too small.
    pub fn new(
        config: Config,
        mac: &'static dyn KeyedMac,
        seed: &[u8; 32],
        storage: S,
    ) -> Result<Self, ConfigError> {
        Self::compressed(config, mac, seed, storage, Uncompressed)
    }
}

impl<S: Storage, C: Compression> Host<S, C> {
    /// A host whose datagrams are compressed when that makes them shorter. Both sides must have the same compression;
    /// nothing on the wire tells.
    ///
    /// # Errors
    ///
    /// As for [`Host::new`].
    pub fn compressed(
        config: Config,
        mac: &'static dyn KeyedMac,
        seed: &[u8; 32],
        mut storage: S,
        compression: C,
    ) -> Result<Self, ConfigError> {
        let mut parts = storage.parts();
        config.check(parts.peers_max)?;
        if !parts.is_large_enough() {
            return Err(ConfigError::MemoryTooSmall);
        }
        parts.memory.keep(parts.peers_max);
        let (key, salt) = seed.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let random = Random::new(mac, mac.mac(key, salt).to_le_bytes().mixed_with(key));
        Ok(Self {
            storage,
            compression,
            shared: Shared {
                clock: Clock::new(config.clock_offset),
                random,
                statistics: HostStatistics::NONE,
                farewells: Farewells::EMPTY,
                pass: Pass { is_begun: false, at: 0 },
                stamp: 0,
                generation: 0,
                epoch: Time::ZERO,
                recalculate: false,
                connected: 0,
                limited: 0,
                draining: false,
                connects_left: config
                    .hardening
                    .connect_rate
                    .map_or(0, |rate| u32::from(rate.burst) * 1_000),
                connects_at: Instant::ZERO,
                news_first: Link::NONE,
                news_last: Link::NONE,
                freed: false,
                unblocking: None,
                config,
            },
        })
    }

    pub(crate) fn work(&mut self) -> Work<'_> {
        Work { parts: self.storage.parts(), shared: &mut self.shared }
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.shared.config
    }

    /// What passed through this host.
    pub const fn statistics(&self) -> &HostStatistics {
        &self.shared.statistics
    }

    /// No more connections are taken that others ask for; those that there are go on.
    pub const fn drain(&mut self, draining: bool) {
        self.shared.draining = draining;
    }

    /// How much of the memory is taken: by nobody, nothing.
    pub fn in_use(&mut self) -> InUse {
        let Parts { peers, memory, .. } = self.storage.parts();
        InUse {
            peers: peers.iter().filter(|peer| peer.state != State::Disconnected).count() as u32,
            channels: memory.channels.ledger().in_use(),
            commands: memory.commands.ledger().in_use(),
            acknowledgements: memory.acknowledgements.ledger().in_use(),
            arrivals: memory.arrivals.ledger().in_use(),
            blocks: memory.pool.ledger().in_use(),
        }
    }

    /// The memory.
    pub const fn storage(&self) -> &S {
        &self.storage
    }
}

trait Mixed {
    fn mixed_with(self, key: &[u8; 16]) -> [u8; 16];
}

impl Mixed for [u8; 8] {
    /// The key, with these bytes added to its first half: both halves of a seed matter.
    fn mixed_with(self, key: &[u8; 16]) -> [u8; 16] {
        let mut mixed = *key;
        mixed.iter_mut().zip(self).for_each(|(byte, more)| *byte ^= more);
        mixed
    }
}

impl Parts<'_> {
    fn is_large_enough(&self) -> bool {
        let peers = self.peers_max;
        let memory = &self.memory;
        memory.pool.block_len() >= 60
            && memory.channels.ledger().limit() >= peers
            && memory.commands.ledger().limit() >= peers.saturating_mul(16)
            && memory.acknowledgements.ledger().limit() >= peers.saturating_mul(16)
            && memory.arrivals.ledger().limit() >= peers
            && memory.pool.ledger().limit() >= peers.saturating_mul(16)
    }

    /// Enters all peers anew into indexes that grew.
    #[cfg_attr(
        not(feature = "alloc"),
        expect(dead_code, reason = "only memory that grows needs it")
    )]
    pub(crate) fn reindex(&mut self) {
        let mut from = 0;
        while let Some(slot) = self.sets.taken.next(from) {
            from = slot + 1;
            let Some(peer) = self.peers.get(slot) else { return };
            if peer.is_indexed() {
                let link = Link::new(slot as u32);
                self.connections.insert(peer.connection_hash, link);
                if peer.source_previous.is_none() {
                    self.sources.insert(peer.source_hash, link);
                }
            }
        }
    }

    /// The slot of a connection that is there.
    pub(crate) fn find(&self, id: PeerId) -> Option<usize> {
        let peer = self.peers.get(id.slot())?;
        peer.is(id).then(|| id.slot())
    }

    /// The peer of this slot with what all share; None beyond the last slot.
    pub(crate) fn peer(&mut self, slot: usize) -> Option<&mut Peer> {
        self.peers.get_mut(slot)
    }
}

impl Work<'_> {
    /// Sets what a peer is doing, and keeps count of those that are connected.
    pub(crate) fn set_state(&mut self, slot: usize, state: State) {
        let Some(peer) = self.parts.peers.get_mut(slot) else { return };
        let was_live = peer.is_live();
        let was_indexed = peer.is_indexed();
        let was_half_open = peer.state == State::AcknowledgingConnect;
        peer.state = state;
        let (is_live, is_limited) = (peer.is_live(), peer.incoming_bandwidth != 0);
        let (is_indexed, is_half_open) = (peer.is_indexed(), state == State::AcknowledgingConnect);
        if is_live && !was_live {
            self.shared.connected += 1;
            self.shared.limited += u32::from(is_limited);
        } else if was_live && !is_live {
            self.shared.connected = self.shared.connected.saturating_sub(1);
            self.shared.limited = self.shared.limited.saturating_sub(u32::from(is_limited));
        }
        match (was_indexed, is_indexed) {
            (false, true) => self.parts.enter(slot, is_half_open),
            (true, false) => self.parts.leave(slot, was_half_open),
            _ if was_half_open && !is_half_open => self.parts.count_half_open(slot, -1),
            _ => {}
        }
    }

    /// Frees the slot: nothing is sent, and nothing told.
    pub(crate) fn reset(&mut self, slot: usize) {
        self.set_state(slot, State::Disconnected);
        self.clear(slot);
        let mtu = self.shared.config.mtu.into();
        if let Some(peer) = self.parts.peers.get_mut(slot) {
            self.parts.memory.dismiss(&mut peer.quotas);
            peer.reset(mtu);
        }
        self.parts.sets.taken.remove(slot);
        self.parts.sets.ready.remove(slot);
        self.parts.sets.again.remove(slot);
        self.parts.schedule.set(slot, None);
    }

    /// Empties all queues of a peer, and frees its channels.
    pub(crate) fn clear(&mut self, slot: usize) {
        if let Some(peer) = self.parts.peers.get_mut(slot) {
            peer.clear(&mut self.parts.memory);
            peer.wanted = None;
        }
        self.parts.sets.blocked.remove(slot);
        self.shared.freed = true;
    }

    /// Takes the lowest free slot for a connection with `address`.
    pub(crate) fn take_slot(&mut self, slot: usize, address: Address) -> Option<PeerId> {
        let mtu = self.shared.config.mtu.into();
        self.shared.generation = self.shared.generation.wrapping_add(1);
        let stamp_offset = match self.shared.config.hardening.check_times {
            true => self.shared.random.next() as u16,
            false => 0,
        };
        let peer = self.parts.peers.get_mut(slot)?;
        peer.reset(mtu);
        self.parts.memory.admit(&mut peer.quotas, self.parts.peers_max);
        peer.generation = self.shared.generation;
        peer.address = address;
        peer.stamp_offset = stamp_offset;
        self.parts.sets.taken.insert(slot);
        Some(PeerId::new(slot as u32, peer.generation))
    }

    /// A connection is there, on either side's initiative.
    pub(crate) fn connected(&mut self, slot: usize) {
        self.shared.recalculate = true;
        self.set_state(slot, State::Connected);
        if let Some(peer) = self.parts.peer(slot) {
            peer.news = News { connected: true, ..peer.news };
        }
        self.shared.push_news(self.parts.peers, slot);
        self.parts.sets.ready.insert(slot);
    }
}
