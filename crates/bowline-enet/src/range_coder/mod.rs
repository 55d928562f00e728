//! ENet's own compressor: an adaptive model of order 2 and a range coder, bit for bit.

mod model;
mod registers;

use model::{Link, Model, ROOT};
use registers::{Decoder, Encoder};

use crate::Compressor;

/// ENet's own compressor.
///
/// Holds its model, 4,096 nodes of 16 bytes, in place: [`size_of`] it is 65,542 bytes. [`Self::new`] is
/// `const` and all zeros, so that one can be a static. Each call begins afresh.
///
/// Work per byte of the commands, compressed or restored: in each of three contexts a walk down a tree
/// that nothing balances, of 256 steps at most; and once in 63 bytes or more a walk through all of one. Datagrams of
/// a game take a few steps per walk.
///
/// What is damaged is restored to what the original makes of it, unless a tree becomes deeper than one that is not
/// damaged can be.
///
/// Zeros at the end of the compressed bytes are left out, and read past their end.
#[derive(Debug)]
pub struct RangeCoder {
    model: Model,
}

impl RangeCoder {
    /// A coder.
    pub const fn new() -> Self {
        Self { model: Model::new() }
    }

    fn encode(&mut self, byte: u8, encoder: &mut Encoder<'_>) -> Option<()> {
        let model = &mut self.model;
        let mut context = model.predicted();
        let mut link = Link::Predicted;
        while context != ROOT {
            let found = model.visit(context, byte)?;
            link = model.thread(link, found.node);
            let (escapes, total) = (model.escapes(context), model.total(context));
            if found.count > 0 {
                encoder.encode(escapes.wrapping_add(found.under), found.count, total)?;
                model.count(context, found.count);
                return Some(());
            }
            // A new context has only escapes, which then take no bits.
            if escapes > 0 && escapes < total {
                encoder.encode(0, escapes, total)?;
            }
            model.escape(context);
            model.count(context, found.count);
            context = model.parent(context);
        }
        let found = model.visit(ROOT, byte)?;
        model.thread(link, found.node);
        let under = model.escapes(ROOT).wrapping_add(found.under);
        encoder.encode(under, found.count, model.total(ROOT))?;
        model.count(ROOT, found.count);
        Some(())
    }

    /// The next byte; `Some(None)` at the end of the data, `None` when they are damaged.
    fn decode(&mut self, decoder: &mut Decoder<'_>) -> Option<Option<u8>> {
        let model = &mut self.model;
        let mut context = model.predicted();
        let found = loop {
            let (escapes, total) = (model.escapes(context), model.total(context));
            if context != ROOT && (escapes == 0 || escapes >= total) {
                context = model.parent(context);
                continue;
            }
            let code = decoder.read(total);
            if code < escapes {
                if context == ROOT {
                    return Some(None);
                }
                decoder.consume(0, escapes)?;
                context = model.parent(context);
                continue;
            }
            let found = model.locate(context, code - escapes)?;
            decoder.consume(escapes.wrapping_add(found.under), found.count)?;
            model.count(context, found.count);
            break found;
        };
        let byte = model.value(found.node);
        let (mut longer, mut link) = (model.predicted(), Link::Predicted);
        while longer != context {
            let found = model.visit(longer, byte)?;
            link = model.thread(link, found.node);
            if found.count == 0 && !cfg!(bowline_mutant = "forget_escapes") {
                model.escape(longer);
            }
            model.count(longer, found.count);
            longer = model.parent(longer);
        }
        model.thread(link, found.node);
        Some(Some(byte))
    }
}

impl Default for RangeCoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor for RangeCoder {
    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        self.model.clear();
        let mut encoder = Encoder::new(out);
        for byte in input {
            self.encode(*byte, &mut encoder)?;
            self.model.advance();
        }
        encoder.finish().filter(|len| *len > 0)
    }

    fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        if input.is_empty() {
            return None;
        }
        self.model.clear();
        let mut decoder = Decoder::new(input);
        let mut len = 0;
        while let Some(byte) = self.decode(&mut decoder)? {
            *out.get_mut(len)? = byte;
            len += 1;
            self.model.advance();
        }
        Some(len).filter(|len| *len > 0)
    }
}
