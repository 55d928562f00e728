//! What a session is promised: memory that no other can take.
//!
//! It is kept from the beginning for as many sessions as there may be, so whoever comes finds it, whatever those do
//! who are there. What is left belongs to all, first come, first served.

use bowline_transport::credit;

use crate::config::Config;
use crate::peer::Peer;
use crate::storage::{Memory, Parts};

/// Fewest records that a session needs to get anywhere: for packets in flight, and for what has arrived.
const SEND_RECORDS_MIN: u32 = 4;
const RECEIVE_RECORDS_MIN: u32 = 2;
/// Most that it is promised, however many there are: as much as a game has in flight in a second.
const SEND_RECORDS_MAX: u32 = 64;
const RECEIVE_RECORDS_MAX: u32 = 32;
const TICKETS_MAX: u32 = 16;

/// What one session is promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) domains: u32,
    pub(crate) send_blocks: u32,
    pub(crate) stream_blocks: u32,
    pub(crate) inbox_blocks: u32,
    pub(crate) send_records: u32,
    pub(crate) receive_records: u32,
    pub(crate) tickets: u32,
    pub(crate) assemblies: u32,
}

impl Promise {
    /// The least that `config` needs.
    pub(crate) const fn of(config: &Config, block_len: usize) -> Self {
        let each = if block_len == 0 { 1 } else { block_len as u32 };
        Self {
            domains: config.channels as u32 * if config.loose_credit == 0 { 3 } else { 5 },
            send_blocks: config.send_reserve.div_ceil(each),
            stream_blocks: credit::blocks_for(config.credit, block_len)
                .saturating_add(loose_blocks(config.loose_credit, block_len))
                .saturating_mul(config.channels as u32),
            inbox_blocks: (config.datagram_max as u32).div_ceil(each),
            send_records: SEND_RECORDS_MIN,
            receive_records: RECEIVE_RECORDS_MIN,
            tickets: 0,
            assemblies: 0,
        }
    }

    /// The same with half of each session's equal share of `records` and `assemblies`, where that is more than the
    /// least: the rest is for who has much to do.
    pub(crate) fn share(&mut self, config: &Config, records: u32, assemblies: u32) {
        self.send_records = (records / 3).clamp(SEND_RECORDS_MIN, SEND_RECORDS_MAX);
        self.receive_records = (records / 8).clamp(RECEIVE_RECORDS_MIN, RECEIVE_RECORDS_MAX);
        self.tickets = (records / 24).min(TICKETS_MAX);
        self.assemblies = assemblies.div_ceil(2).min(config.incomplete.messages.into());
    }

    pub(crate) const fn blocks(&self) -> u32 {
        self.stream_blocks.saturating_add(self.send_blocks).saturating_add(self.inbox_blocks)
    }

    pub(crate) const fn records(&self) -> u32 {
        self.send_records + self.receive_records + self.tickets
    }

    /// Keeps all of it for every session that there may be.
    pub(crate) fn keep(&self, parts: &mut Parts<'_>) {
        let peers = parts.peers.ledger().limit();
        let Memory { domains, records, assemblies, pool, .. } = &mut parts.memory;
        domains.keep(self.domains.saturating_mul(peers));
        records.keep(self.records().saturating_mul(peers));
        assemblies.keep(self.assemblies.saturating_mul(peers));
        pool.keep(self.blocks().saturating_mul(peers));
    }
}

/// Blocks for the two loose streams of a channel.
const fn loose_blocks(credit: u32, block_len: usize) -> u32 {
    if credit == 0 { 0 } else { credit::blocks_for(credit, block_len).saturating_mul(2) }
}

impl Peer {
    /// Takes what one session is promised, all or nothing.
    pub(crate) fn admit(&mut self, memory: &mut Memory<'_>, promise: &Promise) -> bool {
        let Memory { domains, records, assemblies, pool, .. } = memory;
        let all = domains.admit(&mut self.domain_quota, promise.domains)
            && assemblies.admit(&mut self.assembly_quota, promise.assemblies)
            && pool.admit(&mut self.send_blocks, promise.send_blocks)
            && pool.admit(&mut self.stream_blocks, promise.stream_blocks)
            && pool.admit(&mut self.inbox_blocks, promise.inbox_blocks)
            && records.admit(&mut self.send_records, promise.send_records)
            && records.admit(&mut self.receive_records, promise.receive_records)
            && records.admit(&mut self.tickets, promise.tickets);
        if !all {
            self.dismiss(memory, promise);
        }
        all
    }

    /// Gives back what this session was promised, and keeps it for the next.
    pub(crate) fn dismiss(&mut self, memory: &mut Memory<'_>, promise: &Promise) {
        let Memory { domains, records, assemblies, pool, .. } = memory;
        domains.dismiss(&mut self.domain_quota, promise.domains);
        assemblies.dismiss(&mut self.assembly_quota, promise.assemblies);
        pool.dismiss(&mut self.send_blocks, promise.send_blocks);
        pool.dismiss(&mut self.stream_blocks, promise.stream_blocks);
        pool.dismiss(&mut self.inbox_blocks, promise.inbox_blocks);
        records.dismiss(&mut self.send_records, promise.send_records);
        records.dismiss(&mut self.receive_records, promise.receive_records);
        records.dismiss(&mut self.tickets, promise.tickets);
    }
}
