//! Files of captured packets: pcap and pcapng.

use core::time::Duration;

const MICROSECONDS: u32 = 0xA1B2_C3D4;
const NANOSECONDS: u32 = 0xA1B2_3C4D;

const SECTION: u32 = 0x0A0D_0D0A;
const BYTE_ORDER: u32 = 0x1A2B_3C4D;
const INTERFACE: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// The option of an interface that tells the unit of its times.
const TIME_RESOLUTION: u16 = 9;

/// A packet, as it was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record<'f> {
    /// Since 1970.
    pub(super) at: Duration,
    /// What the packet begins with (see <https://www.tcpdump.org/linktypes.html>).
    pub(super) link: u32,
    pub(super) bytes: &'f [u8],
}

/// The packets of a file, and whether it ends in the middle of something.
pub(super) fn records(file: &[u8]) -> Result<(Vec<Record<'_>>, bool), &'static str> {
    let (first, _) = file.split_first_chunk().ok_or("not a capture")?;
    for order in [Order::Little, Order::Big] {
        match order.u32(*first) {
            MICROSECONDS => return pcap(file, order, 1_000),
            NANOSECONDS => return pcap(file, order, 1),
            SECTION => return Ok(pcapng(file)),
            _ => {}
        }
    }
    Err("not a capture: neither pcap nor pcapng")
}

/// The order of bytes in numbers.
#[derive(Clone, Copy, Debug)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// What is left to read, and how.
#[derive(Clone, Copy, Debug)]
struct Cursor<'f> {
    rest: &'f [u8],
    order: Order,
}

impl<'f> Cursor<'f> {
    fn bytes(&mut self, len: usize) -> Option<&'f [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(self.order.u32(self.bytes(4)?.try_into().ok()?))
    }

    fn u16(&mut self) -> Option<u16> {
        Some(self.order.u16(self.bytes(2)?.try_into().ok()?))
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }
}

/// `unit` is that of the fractions of seconds, in nanoseconds.
fn pcap(file: &[u8], order: Order, unit: u32) -> Result<(Vec<Record<'_>>, bool), &'static str> {
    let mut cursor = Cursor { rest: file, order };
    // Magic number, version, and what nobody sets.
    cursor.bytes(20).ok_or("no header")?;
    // The upper bits tell of a checksum at the end of each packet.
    let link = cursor.u32().ok_or("no header")? & 0x03FF_FFFF;
    let mut records = Vec::new();
    while !cursor.rest.is_empty() {
        let Some(record) = pcap_record(&mut cursor, link, unit) else { return Ok((records, true)) };
        records.push(record);
    }
    Ok((records, false))
}

fn pcap_record<'f>(cursor: &mut Cursor<'f>, link: u32, unit: u32) -> Option<Record<'f>> {
    let (secs, fraction) = (cursor.u32()?, cursor.u32()?);
    let (len, _) = (cursor.len()?, cursor.u32()?);
    let nanos = u64::from(fraction) * u64::from(unit);
    let at = Duration::from_secs(secs.into()) + Duration::from_nanos(nanos);
    Some(Record { at, link, bytes: cursor.bytes(len)? })
}

/// An interface of a section of pcapng.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u32,
    /// Units of its times per second.
    rate: u64,
}

fn pcapng(file: &[u8]) -> (Vec<Record<'_>>, bool) {
    let mut cursor = Cursor { rest: file, order: Order::Little };
    let (mut records, mut interfaces) = (Vec::new(), Vec::new());
    while !cursor.rest.is_empty() {
        let Some((kind, mut body)) = block(&mut cursor) else { return (records, true) };
        match kind {
            SECTION => interfaces.clear(),
            INTERFACE => interfaces.extend(interface(&mut body)),
            ENHANCED_PACKET => records.extend(enhanced(&mut body, &interfaces)),
            SIMPLE_PACKET => records.extend(simple(&mut body, &interfaces)),
            _ => {}
        }
    }
    (records, false)
}

/// The kind of the next block, and what it holds. A section says in which order its bytes are.
fn block<'f>(cursor: &mut Cursor<'f>) -> Option<(u32, Cursor<'f>)> {
    let kind = cursor.u32()?;
    if kind == SECTION {
        let mark = cursor.rest.get(4..8)?.try_into().ok()?;
        let orders = [Order::Little, Order::Big];
        cursor.order = orders.into_iter().find(|order| order.u32(mark) == BYTE_ORDER)?;
    }
    let len = cursor.len()?;
    let body = cursor.bytes(len.checked_sub(12)?)?;
    // The length again.
    cursor.u32()?;
    Some((kind, Cursor { rest: body, order: cursor.order }))
}

fn interface(body: &mut Cursor<'_>) -> Option<Interface> {
    let mut interface = Interface { link: body.u16()?.into(), rate: 1_000_000 };
    body.bytes(6)?;
    while let (Some(option), Some(len)) = (body.u16(), body.u16()) {
        let len = usize::from(len);
        let value = body.bytes(len.next_multiple_of(4).min(body.rest.len()))?;
        if let (TIME_RESOLUTION, Some(power)) = (option, value.first()) {
            let base = if power & 0x80 == 0 { 10_u64 } else { 2 };
            interface.rate = base.checked_pow((power & 0x7F).into())?;
        }
    }
    Some(interface)
}

fn enhanced<'f>(body: &mut Cursor<'f>, interfaces: &[Interface]) -> Option<Record<'f>> {
    let interface = interfaces.get(body.len()?)?;
    let units = u64::from(body.u32()?) << 32 | u64::from(body.u32()?);
    let (len, _) = (body.len()?, body.u32()?);
    let nanos = u128::from(units % interface.rate) * 1_000_000_000 / u128::from(interface.rate);
    let at = Duration::new(units / interface.rate, nanos as u32);
    Some(Record { at, link: interface.link, bytes: body.bytes(len)? })
}

/// A packet of the first interface, without a time.
fn simple<'f>(body: &mut Cursor<'f>, interfaces: &[Interface]) -> Option<Record<'f>> {
    let len = body.len()?.min(body.rest.len().saturating_sub(4));
    let link = interfaces.first()?.link;
    Some(Record { at: Duration::ZERO, link, bytes: body.bytes(len)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of four bytes in both orders.
    fn words(numbers: &[u32]) -> [Vec<u8>; 2] {
        [
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            numbers.iter().flat_map(|number| number.to_be_bytes()).collect(),
        ]
    }

    #[test]
    fn pcap_in_either_order_and_unit() {
        for (magic, fraction) in [(MICROSECONDS, 7), (NANOSECONDS, 7_000)] {
            let head = [magic, 0, 0, 0, 65_535, 101, 3, fraction, 2, 2];
            for mut file in words(&head) {
                file.extend(b"hi");
                let at = Duration::new(3, 7_000);
                let record = Record { at, link: 101, bytes: b"hi" };
                assert_eq!(records(&file), Ok((vec![record], false)));
                file.pop();
                assert_eq!(records(&file), Ok((vec![], true)));
            }
        }
    }

    #[test]
    fn pcapng_in_either_order() {
        // An option each of the interface: the unit of time, nanoseconds; and the end.
        for (is_big, [section, packet]) in [false, true].into_iter().zip([0, 1].map(|order| {
            [
                words(&[SECTION, 28, BYTE_ORDER, 1, 0, 0, 28])[order].clone(),
                words(&[ENHANCED_PACKET, 36, 0, 1, 7_000, 2, 2])[order].clone(),
            ]
        })) {
            let short =
                |number: u16| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
            let word =
                |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
            let mut file = section;
            file.extend([word(INTERFACE), word(32)].concat());
            file.extend([short(1), short(0)].concat());
            file.extend(word(0));
            file.extend([short(9), short(1)].concat());
            file.extend([9, 0, 0, 0]);
            file.extend([0; 4]);
            file.extend(word(32));
            file.extend(&packet);
            file.extend(b"hi\0\0");
            file.extend(word(36));
            let (found, is_cut) = records(&file).unwrap();
            assert!(!is_cut);
            let at = Duration::from_nanos((1 << 32) + 7_000);
            assert_eq!(found, [Record { at, link: 1, bytes: b"hi" }]);
            file.truncate(file.len() - 1);
            assert_eq!(records(&file), Ok((vec![], true)));
        }
    }

    #[test]
    fn other_files_are_none() {
        assert!(records(b"").is_err());
        assert!(records(b"PK\x03\x04 and so on").is_err());
        assert!(records(&MICROSECONDS.to_le_bytes()).is_err(), "no header");
    }
}
