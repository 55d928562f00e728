//! As much of the ELF format as it takes to weigh a 32-bit little-endian program.

/// A part of a linked program.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    kind: u32,
    flags: u32,
    address: u32,
    /// What is in the file; empty for memory that only starts out as zeros.
    bytes: &'a [u8],
    pub(crate) len: u32,
    link: u32,
}

const KIND_SYMBOLS: u32 = 2;
const KIND_NO_BITS: u32 = 8;
const FLAG_WRITE: u32 = 1;
const FLAG_ALLOC: u32 = 2;

impl Section<'_> {
    /// Whether it takes room in flash.
    pub(crate) fn in_flash(&self) -> bool {
        self.flags & FLAG_ALLOC != 0 && self.kind != KIND_NO_BITS
    }

    /// Whether it takes room in RAM.
    pub(crate) fn in_ram(&self) -> bool {
        self.flags & FLAG_ALLOC != 0 && self.flags & FLAG_WRITE != 0
    }
}

/// A named variable.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Object<'a> {
    pub(crate) name: &'a str,
    /// In bytes.
    pub(crate) len: u32,
    pub(crate) in_ram: bool,
}

/// A linked program, or nothing if it is not one.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) sections: Vec<Section<'a>>,
}

impl<'a> Program<'a> {
    /// Reads a 32-bit little-endian ELF file.
    pub(crate) fn parse(file: &'a [u8]) -> Option<Self> {
        if !file.starts_with(b"\x7fELF\x01\x01") {
            return None;
        }
        let (table, each, count) = (word(file, 0x20)?, half(file, 0x2e)?, half(file, 0x30)?);
        let header = |index: usize| {
            let at = (table as usize).checked_add(index * each)?;
            file.get(at..)?.first_chunk::<40>().map(<[u8; 40]>::as_slice)
        };
        let names_at = word(header(half(file, 0x32)?)?, 0x10)? as usize;
        let section = |index: usize| {
            let header = header(index)?;
            let (kind, offset, len) = (word(header, 4)?, word(header, 16)?, word(header, 20)?);
            let held = if kind == KIND_NO_BITS { 0 } else { len as usize };
            Some(Section {
                name: text(file.get(names_at.checked_add(word(header, 0)? as usize)?..)?)?,
                kind,
                flags: word(header, 8)?,
                address: word(header, 12)?,
                bytes: file.get(offset as usize..)?.get(..held)?,
                len,
                link: word(header, 24)?,
            })
        };
        Some(Self { sections: (0..count).map(section).collect::<Option<_>>()? })
    }

    /// Bytes of flash.
    pub(crate) fn flash(&self) -> u32 {
        self.sections.iter().filter(|section| section.in_flash()).map(|section| section.len).sum()
    }

    /// Bytes of RAM, without the stack.
    pub(crate) fn ram(&self) -> u32 {
        self.sections.iter().filter(|section| section.in_ram()).map(|section| section.len).sum()
    }

    /// All variables that have a name.
    pub(crate) fn objects(&self) -> Vec<Object<'a>> {
        let tables = self.sections.iter().filter(|section| section.kind == KIND_SYMBOLS);
        let symbols = tables.flat_map(|table| {
            table.bytes.chunks_exact(16).map(|symbol| (symbol, table.link as usize))
        });
        symbols.filter_map(|(symbol, names)| self.object(symbol, names)).collect()
    }

    fn object(&self, symbol: &[u8], names: usize) -> Option<Object<'a>> {
        const KIND_OBJECT: u8 = 1;
        if symbol.get(12)? & 0xf != KIND_OBJECT {
            return None;
        }
        let names = self.sections.get(names)?.bytes;
        Some(Object {
            name: text(names.get(word(symbol, 0)? as usize..)?)?,
            len: word(symbol, 8)?,
            in_ram: self.sections.get(half(symbol, 14)?).is_some_and(Section::in_ram),
        })
    }

    /// The source places that panics in the program name: file, line, column.
    ///
    /// Looks for the shape of a `core::panic::Location`: the address and length of a path that
    /// ends in `.rs`, then two small numbers.
    pub(crate) fn panic_locations(&self) -> Vec<(&'a str, u32, u32)> {
        let mut found: Vec<_> = self
            .sections
            .iter()
            .filter(|section| section.in_flash())
            .flat_map(|section| section.bytes.windows(16).step_by(4))
            .filter_map(|shape| {
                let path = self.path(word(shape, 0)?, word(shape, 4)?)?;
                let (line, column) = (word(shape, 8)?, word(shape, 12)?);
                (line > 0 && line < 1 << 20 && column < 1 << 10).then_some((path, line, column))
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn path(&self, address: u32, len: u32) -> Option<&'a str> {
        let within = |section: &&Section<'_>| {
            section.in_flash() && address.wrapping_sub(section.address) < section.len
        };
        let section = self.sections.iter().find(within)?;
        let bytes = section.bytes.get((address - section.address) as usize..)?;
        let path = core::str::from_utf8(bytes.get(..len as usize)?).ok()?;
        path.ends_with(".rs").then_some(path)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk).into())
}

fn text(bytes: &[u8]) -> Option<&str> {
    core::ffi::CStr::from_bytes_until_nul(bytes).ok()?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with the sections `""`, `.text`, `.bss`, `.symtab` and `.strtab`, and in `.text` the
    /// path `a.rs` and a panic location that refers to it.
    fn file() -> Vec<u8> {
        let mut file = b"\x7fELF\x01\x01".to_vec();
        file.resize(0x34, 0);
        let names = b"\0.text\0.bss\0.symtab\0.strtab\0POOL\0";
        let text_at = file.len() as u32;
        file.extend(b"a.rs");
        file.extend([0x8000u32, 4, 12, 5].map(u32::to_le_bytes).as_flattened());
        let symbols_at = file.len() as u32;
        file.extend([28u32, 0x2000_0000, 96].map(u32::to_le_bytes).as_flattened());
        file.extend([1, 0, 2, 0]);
        let names_at = file.len() as u32;
        file.extend(names);
        let table = file.len() as u32;
        for header in [
            [0; 10],
            [1, 1, FLAG_ALLOC, 0x8000, text_at, 20, 0, 0, 4, 0],
            [7, KIND_NO_BITS, FLAG_ALLOC | FLAG_WRITE, 0x2000_0000, 0, 96, 0, 0, 4, 0],
            [12, KIND_SYMBOLS, 0, 0, symbols_at, 16, 4, 0, 4, 16],
            [20, 3, 0, 0, names_at, names.len() as u32, 0, 0, 1, 0],
        ] {
            file.extend(header.map(u32::to_le_bytes).as_flattened());
        }
        file[0x20..0x24].copy_from_slice(&table.to_le_bytes());
        for (at, value) in [(0x2e, 40u16), (0x30, 5), (0x32, 4)] {
            file[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        file
    }

    #[test]
    fn code_weighs_on_flash_and_zeros_on_ram() {
        let file = file();
        let program = Program::parse(&file).unwrap();
        assert_eq!((program.flash(), program.ram()), (20, 96));
        assert_eq!(program.objects(), [Object { name: "POOL", len: 96, in_ram: true }]);
    }

    #[test]
    fn a_panic_is_found_by_the_place_it_names() {
        let file = file();
        assert_eq!(Program::parse(&file).unwrap().panic_locations(), [("a.rs", 12, 5)]);
    }

    #[test]
    fn a_file_cut_short_is_no_program() {
        let file = file();
        for len in 0..file.len() {
            assert!(Program::parse(&file[..len]).is_none(), "{len} bytes");
        }
    }
}
