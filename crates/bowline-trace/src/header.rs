//! What a trace says before its records.

use bowline_crypto::KeyedMac;
use bowline_native::{Capacity, Class, Config, Shape};
use bowline_wire::native::VERSION as WIRE_VERSION;

use crate::chunks::Chunks;
use crate::reader::{Bytewise, Read};
use crate::{Sink, Source, config};

/// Most classes of channels that there are.
const CLASSES_MAX: usize = 256;

/// What an endpoint was made of.
#[derive(Clone, Debug)]
pub struct Header {
    /// The version of the wire protocol that it spoke.
    pub wire_version: u8,
    /// What the MAC makes of a known message, to notice another MAC.
    pub mac_check: u64,
    /// Its seed: **secret**.
    pub seed: [u8; 32],
    /// Its memory.
    pub shape: Shape,
    /// Its configuration, as it was asked for, but without classes.
    pub config: Config,
    /// The classes of its channels.
    pub classes: heapless::Vec<Class, CLASSES_MAX>,
}

impl Header {
    pub(crate) fn new(
        config: &Config,
        mac: &'static dyn KeyedMac,
        seed: &[u8; 32],
        shape: Shape,
    ) -> Self {
        let (wire_version, mac_check) = (WIRE_VERSION, mac_check(mac));
        // There are no more channels than that.
        let classes = config.classes.iter().copied().take(CLASSES_MAX).collect();
        let config = Config { classes: &[], ..*config };
        Self { wire_version, mac_check, seed: *seed, shape, config, classes }
    }

    /// The classes of its channels, in memory that is never given back: 12 bytes each.
    ///
    /// For [`Replay::new`](crate::Replay::new), where there is an allocator; none if it refuses.
    #[cfg(feature = "alloc")]
    pub fn leak_classes(&self) -> Option<&'static [Class]> {
        let mut classes = alloc::vec::Vec::new();
        classes.try_reserve_exact(self.classes.len()).ok()?;
        classes.extend_from_slice(&self.classes);
        Some(classes.leak())
    }

    pub(crate) fn write<W: Sink>(&self, chunks: &mut Chunks<W>) {
        let Self { wire_version, mac_check, seed, shape, config, classes } = self;
        chunks.byte(*wire_version);
        chunks.bytes(&mac_check.to_be_bytes());
        chunks.bytes(seed);
        let Shape { capacity, channels, peers: lent, replies, bans, rates } = *shape;
        let Capacity { peers, domains, records, assemblies, blocks, block_len } = capacity;
        for count in [peers, domains, records, assemblies, blocks, block_len] {
            chunks.varint(count.into());
        }
        for count in [channels.into(), lent, replies, bans, rates] {
            chunks.varint(count.into());
        }
        config::numbers(config).iter().for_each(|number| chunks.varint(*number));
        chunks.varint(classes.len() as u64);
        for Class { priority, weight, rate_min, rate_max } in classes {
            chunks.bytes(&[*priority, *weight]);
            chunks.varint(u64::from(*rate_min));
            chunks.varint(u64::from(*rate_max));
        }
    }

    pub(crate) fn read<R: Source>(bytes: &mut Bytewise<R>) -> Read<Self, R> {
        let [wire_version] = bytes.array()?;
        let mac_check = u64::from_be_bytes(bytes.array()?);
        let seed = bytes.array()?;
        let capacity = Capacity {
            peers: bytes.number()?,
            domains: bytes.number()?,
            records: bytes.number()?,
            assemblies: bytes.number()?,
            blocks: bytes.number()?,
            block_len: bytes.number()?,
        };
        let shape = Shape {
            capacity,
            channels: bytes.number()?,
            peers: bytes.number()?,
            replies: bytes.number()?,
            bans: bytes.number()?,
            rates: bytes.number()?,
        };
        let mut numbers = [0; config::NUMBERS];
        for number in &mut numbers {
            *number = bytes.varint()?;
        }
        let config = config::from_numbers(numbers).ok_or_else(|| bytes.malformed())?;
        let mut classes = heapless::Vec::new();
        for _ in 0..bytes.number::<u16>()? {
            let [priority, weight] = bytes.array()?;
            let (rate_min, rate_max) = (bytes.number()?, bytes.number()?);
            let class = Class { priority, weight, rate_min, rate_max };
            classes.push(class).map_err(|_| bytes.malformed())?;
        }
        Ok(Self { wire_version, mac_check, seed, shape, config, classes })
    }
}

/// A message under a key that nobody uses.
pub(crate) fn mac_check(mac: &dyn KeyedMac) -> u64 {
    mac.mac(b"bowline trace \0\0", b"which MAC is it?")
}
