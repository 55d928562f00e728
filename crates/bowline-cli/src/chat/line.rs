//! What lines mean, and how they are shown.

use bowline::{ChannelId, Mode};

/// What somebody wants to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    pub(crate) channel: ChannelId,
    pub(crate) mode: Mode,
    pub(crate) text: Vec<u8>,
}

/// What a typed line turned out to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Typed {
    Line(Line),
    /// A change of channel.
    Channel(ChannelId),
    /// No such command.
    Unknown,
}

/// What is typed on which channel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Typist {
    channel: ChannelId,
}

impl Typist {
    /// Makes sense of a line, which has no line end any more.
    pub(crate) fn read(&mut self, line: &[u8]) -> Typed {
        let Some(command) = line.strip_prefix(b"/") else {
            return self.say(Mode::Reliable, line);
        };
        if command.starts_with(b"/") {
            return self.say(Mode::Reliable, command);
        }
        let (name, rest) = match command.iter().position(|byte| *byte == b' ') {
            Some(at) => (&command[..at], &command[at + 1..]),
            None => (command, &[][..]),
        };
        match name {
            b"u" => self.say(Mode::Unreliable, rest),
            b"o" => self.say(Mode::UnreliableOrdered, rest),
            b"r" => self.say(Mode::Reliable, rest),
            b"c" => self.set_channel(rest),
            _ => Typed::Unknown,
        }
    }

    fn say(self, mode: Mode, text: &[u8]) -> Typed {
        Typed::Line(Line { channel: self.channel, mode, text: text.to_vec() })
    }

    fn set_channel(&mut self, number: &[u8]) -> Typed {
        let number = core::str::from_utf8(number).ok().and_then(|text| text.trim().parse().ok());
        let Some(number) = number else { return Typed::Unknown };
        self.channel = ChannelId(number);
        Typed::Channel(self.channel)
    }
}

/// What commands there are.
pub(crate) const COMMANDS: &str = "commands: /u TEXT unreliable, /o TEXT unreliable-ordered, /r TEXT or just TEXT reliable, \
     /c N channel, // for a line that begins with /";

/// Text from somebody else, without anything that a terminal would obey.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '\t' => text.push('\t'),
            _ if character.is_control() => text.extend(character.escape_default()),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(channel: u8, mode: Mode, text: &str) -> Typed {
        Typed::Line(Line { channel: ChannelId(channel), mode, text: text.into() })
    }

    #[test]
    fn prefixes_choose_the_mode() {
        let mut typist = Typist::default();
        for (typed, meant) in [
            ("hello /u", line(0, Mode::Reliable, "hello /u")),
            ("", line(0, Mode::Reliable, "")),
            ("/u  two", line(0, Mode::Unreliable, " two")),
            ("/o x", line(0, Mode::UnreliableOrdered, "x")),
            ("/r x", line(0, Mode::Reliable, "x")),
            ("/u", line(0, Mode::Unreliable, "")),
            ("//u x", line(0, Mode::Reliable, "/u x")),
            ("/ux", Typed::Unknown),
            ("/", Typed::Unknown),
        ] {
            assert_eq!(typist.read(typed.as_bytes()), meant, "{typed}");
        }
    }

    #[test]
    fn a_channel_holds_until_the_next() {
        let mut typist = Typist::default();
        assert_eq!(typist.read(b"/c 3"), Typed::Channel(ChannelId(3)));
        assert_eq!(typist.read(b"/c 256"), Typed::Unknown);
        assert_eq!(typist.read(b"/c"), Typed::Unknown);
        assert_eq!(typist.read(b"/o x"), line(3, Mode::UnreliableOrdered, "x"));
    }

    #[test]
    fn nobody_else_commands_the_terminal() {
        let shown = printable(b"a\x1b[2Jb\r\n\tc\xff\xc2\x9bd");
        assert_eq!(shown, "a\\u{1b}[2Jb\\r\\n\tc\u{fffd}\\u{9b}d");
    }
}
