//! The numbers of the format; `FORMAT.md` says what they mean.

/// What every trace begins with.
pub const MAGIC: [u8; 8] = *b"\x89BOWTRC\n";

/// The version of the format that this crate reads and writes.
pub const VERSION: u16 = 1;

/// What follows the version, for who opens a trace in an editor.
pub const WARNING: &str = "CONTAINS SECRETS: the seed of an endpoint, addresses and messages.\n";

/// Longest buffer that a recorded endpoint gets for a datagram, in bytes: more is held back from it.
pub const BUFFER_MAX: usize = 1 << 16;

/// Most bytes of records in one chunk.
pub(crate) const CHUNK_MAX: usize = 2048;

/// What the length of a chunk is combined with to make its complement.
pub(crate) const COMPLEMENT: u16 = 0xA5C3;

/// How many addresses are remembered, by the low bits of their CRC.
pub(crate) const ADDRESSES: usize = 64;

/// Kinds of records: the low five bits of their first byte.
pub(crate) mod kind {
    pub(crate) const END: u8 = 0;
    pub(crate) const DATAGRAM: u8 = 1;
    pub(crate) const POLL_TRANSMIT: u8 = 2;
    pub(crate) const POLL_TIMEOUT: u8 = 3;
    pub(crate) const SEND: u8 = 4;
    pub(crate) const CANCEL: u8 = 5;
    pub(crate) const POLL_EVENT: u8 = 6;
    pub(crate) const RECV: u8 = 7;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const CONNECT_PLAIN: u8 = 9;
    pub(crate) const CONNECT_PAYLOAD: u8 = 10;
    pub(crate) const ACCEPT: u8 = 11;
    pub(crate) const REFUSE: u8 = 12;
    pub(crate) const FINISH: u8 = 13;
    pub(crate) const BROADCAST: u8 = 14;
    pub(crate) const SUSPEND: u8 = 15;
    pub(crate) const RESUME: u8 = 16;
    pub(crate) const ADD_ENTROPY: u8 = 17;
    pub(crate) const SET_INFO: u8 = 18;
    pub(crate) const QUERY: u8 = 19;
    pub(crate) const END_QUERIES: u8 = 20;
    pub(crate) const TAKE_ANSWER: u8 = 21;
    pub(crate) const DRAIN: u8 = 22;
    pub(crate) const BAN: u8 = 23;
    pub(crate) const UNBAN: u8 = 24;
    pub(crate) const CLOSE_ALL: u8 = 25;
}

/// Bits of a record's first byte besides its kind.
pub(crate) mod flag {
    pub(crate) const KIND: u8 = 0x1F;
    /// Another time than the record before.
    pub(crate) const TIME: u8 = 0x20;
    /// A datagram with an ECN mark; a buffer of another length than the last one; a message that was
    /// gathered from several pieces, or none; a source instead of an address.
    pub(crate) const MORE: u8 = 0x40;
    /// A message with a tag, a time to live or a key.
    pub(crate) const OPTIONS: u8 = 0x80;
}
