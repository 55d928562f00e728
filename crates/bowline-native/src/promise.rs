//! What a session is promised: memory that no other can take.

use bowline_transport::credit;

use crate::config::Config;
use crate::peer::Peer;
use crate::storage::Memory;

/// What one session is promised: blocks and records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) domains: u32,
    pub(crate) send_blocks: u32,
    pub(crate) stream_blocks: u32,
    pub(crate) inbox_blocks: u32,
    pub(crate) send_records: u32,
    pub(crate) receive_records: u32,
}

impl Promise {
    pub(crate) const fn of(config: &Config, block_len: usize) -> Self {
        let each = if block_len == 0 { 1 } else { block_len as u32 };
        Self {
            domains: config.channels as u32 * if config.loose_credit == 0 { 3 } else { 5 },
            send_blocks: config.send_reserve.div_ceil(each),
            stream_blocks: credit::blocks_for(config.credit, block_len)
                .saturating_add(loose_blocks(config.loose_credit, block_len))
                .saturating_mul(config.channels as u32),
            inbox_blocks: (config.datagram_max as u32).div_ceil(each),
            send_records: 4,
            receive_records: 2,
        }
    }

    pub(crate) const fn blocks(&self) -> u32 {
        self.stream_blocks.saturating_add(self.send_blocks).saturating_add(self.inbox_blocks)
    }

    pub(crate) const fn records(&self) -> u32 {
        self.send_records + self.receive_records
    }
}

/// Blocks for the two loose streams of a channel.
const fn loose_blocks(credit: u32, block_len: usize) -> u32 {
    if credit == 0 { 0 } else { credit::blocks_for(credit, block_len).saturating_mul(2) }
}

impl Peer {
    /// Takes what one session is promised, all or nothing.
    pub(crate) fn promise(&mut self, memory: &mut Memory<'_>, promise: &Promise) -> bool {
        let all = memory.domains.promise(&mut self.domain_quota, promise.domains)
            && memory.pool.promise(&mut self.send_blocks, promise.send_blocks)
            && memory.pool.promise(&mut self.stream_blocks, promise.stream_blocks)
            && memory.pool.promise(&mut self.inbox_blocks, promise.inbox_blocks)
            && memory.records.promise(&mut self.send_records, promise.send_records)
            && memory.records.promise(&mut self.receive_records, promise.receive_records);
        if !all {
            self.release_promises(memory);
        }
        all
    }

    pub(crate) fn release_promises(&mut self, memory: &mut Memory<'_>) {
        let guaranteed = self.domain_quota.guaranteed();
        memory.domains.release_promise(&mut self.domain_quota, guaranteed);
        for quota in [&mut self.send_blocks, &mut self.stream_blocks, &mut self.inbox_blocks] {
            let guaranteed = quota.guaranteed();
            memory.pool.release_promise(quota, guaranteed);
        }
        for quota in [&mut self.send_records, &mut self.receive_records] {
            let guaranteed = quota.guaranteed();
            memory.records.release_promise(quota, guaranteed);
        }
    }
}
