//! What two programs do with each other over a real network, and what each must see of it.
//!
//! One of the two is *ours*, the other is *theirs*; either may be the server. Steps are those of the
//! scripted peers; see `godot/g4/main.gd`.

use serde_json::{Value, json};

use crate::message::{Mode, content, sha};

/// Disconnects of ours say so; Godot always says 0.
pub const GOODBYE: u64 = 9;
/// Below this nothing is fragmented, in any program.
const UNFRAGMENTED_MAX: usize = 1300;

/// A message as a script describes it.
#[derive(Clone, Debug)]
pub struct Put {
    /// The game's channel.
    pub channel: u8,
    /// How it is to arrive.
    pub mode: Mode,
    /// In bytes.
    pub len: usize,
    /// The first byte.
    pub seed: u8,
    /// How the bytes differ.
    pub stride: usize,
}

impl Put {
    fn step(&self, wait: u32) -> Value {
        json!({"op": "put", "wait": wait, "ch": self.channel, "mode": self.mode as u32, "len": self.len,
            "seed": self.seed, "stride": self.stride})
    }

    fn sha(&self) -> String {
        sha(&content(self.len, self.seed, self.stride))
    }
}

/// Who lets go of whom, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Goodbye {
    /// At once, and acknowledged.
    Normal,
    /// At once, and only said.
    Now,
    /// When everything queued has arrived.
    Later,
    /// However the program closes its end.
    Close,
}

impl Goodbye {
    fn step(self) -> Value {
        match self {
            Self::Normal => json!({"op": "disc", "how": "normal", "data": GOODBYE}),
            Self::Now => json!({"op": "disc", "how": "now", "data": GOODBYE}),
            Self::Later => json!({"op": "disc", "how": "later", "data": GOODBYE}),
            Self::Close => json!({"op": "close"}),
        }
    }
}

/// What is to happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// All modes on several channels, up to some fragments.
    Messages,
    /// A mebibyte each way.
    Large,
    /// Messages that can be compressed, by the compressor of that number.
    Compressed(u32),
    /// Messages with a CRC-32 in every datagram.
    Checksum,
    /// Ours ends it.
    OursLeaves(Goodbye),
    /// They end it.
    TheirsLeaves(Goodbye),
    /// Ours vanishes.
    OursDies,
    /// They vanish.
    TheirsDies,
    /// A second client where there is room for one.
    Full,
    /// Ours is a client of a server that wants nobody.
    Refused,
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Messages => f.write_str("messages"),
            Self::Large => f.write_str("large"),
            Self::Compressed(1) => f.write_str("range coder"),
            Self::Compressed(2) => f.write_str("FastLZ"),
            Self::Compressed(3) => f.write_str("zlib"),
            Self::Compressed(_) => f.write_str("Zstandard"),
            Self::Checksum => f.write_str("checksum"),
            Self::OursLeaves(how) => write!(f, "ours leaves {how:?}"),
            Self::TheirsLeaves(how) => write!(f, "theirs leaves {how:?}"),
            Self::OursDies => f.write_str("ours dies"),
            Self::TheirsDies => f.write_str("theirs dies"),
            Self::Full => f.write_str("full server"),
            Self::Refused => f.write_str("refused"),
        }
    }
}

/// What the two do.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Steps of ours; where ours are two clients, of the first.
    pub ours: Vec<Value>,
    /// Steps of theirs, likewise.
    pub theirs: Vec<Value>,
    /// Steps of a second client.
    pub second: Vec<Value>,
    ours_sends: Vec<Put>,
    theirs_sends: Vec<Put>,
}

impl Scenario {
    /// The steps of `kind`, where `ours_serves` or they do.
    pub fn new(kind: Kind, ours_serves: bool) -> Self {
        match kind {
            Kind::Messages | Kind::Checksum => Self::exchange(every_mode(0), every_mode(3)),
            Kind::Large => Self::exchange(large(1), large(2)),
            Kind::Compressed(_) => Self::exchange(compressible(1), compressible(2)),
            Kind::OursLeaves(how) => Self::ours_leaves(how),
            Kind::TheirsLeaves(how) => Self::theirs_leaves(how),
            Kind::OursDies => Self {
                ours: vec![json!({"op": "die", "wait": 200})],
                theirs: vec![
                    json!({"op": "timeout", "limit": 4, "min": 400, "max": 1500}),
                    json!({"op": "lost"}),
                ],
                ..Self::default()
            },
            Kind::TheirsDies => Self {
                ours: vec![
                    json!({"op": "timeout", "limit": 4, "min": 400, "max": 1500}),
                    json!({"op": "lost"}),
                ],
                theirs: vec![json!({"op": "die", "wait": 200})],
                ..Self::default()
            },
            Kind::Full => Self::full(ours_serves),
            Kind::Refused => Self {
                ours: vec![
                    json!({"op": "timeout", "limit": 4, "min": 400, "max": 1500}),
                    json!({"op": "lost"}),
                ],
                ..Self::default()
            },
        }
    }

    /// Both send; when both have everything, ours says goodbye.
    fn exchange(ours_sends: Vec<Put>, mut theirs_sends: Vec<Put>) -> Self {
        let mut theirs = vec![json!({"op": "wait", "wait": 100})];
        theirs.extend(theirs_sends.iter().map(|put| put.step(2)));
        theirs.push(json!({"op": "await", "reliable": reliable_count(&ours_sends)}));
        let done = put(0, Mode::Reliable, 9, 127);
        theirs.push(done.step(0));
        theirs.push(json!({"op": "lost"}));
        theirs_sends.push(done);

        // Else a slow start of one program makes the other think little of the network for five
        // seconds.
        let mut ours = vec![json!({"op": "throttle", "interval": 5000, "up": 2, "down": 0})];
        ours.push(json!({"op": "wait", "wait": 100}));
        ours.extend(ours_sends.iter().map(|put| put.step(2)));
        ours.push(json!({"op": "await", "reliable": reliable_count(&theirs_sends)}));
        // If the one acknowledgement of the goodbye is lost, nobody repeats it.
        ours.push(json!({"op": "timeout", "limit": 32, "min": 2000, "max": 6000}));
        // So that our last acknowledgements are not thrown away with what else is queued.
        ours.push(json!({"op": "disc", "how": "normal", "data": GOODBYE, "wait": 300}));
        ours.push(json!({"op": "lost"}));
        Self { ours, theirs, second: Vec::new(), ours_sends, theirs_sends }
    }

    fn ours_leaves(how: Goodbye) -> Self {
        let ours_sends: Vec<_> = (1..=40).map(|seed| put(1, Mode::Reliable, 900, seed)).collect();
        let theirs_sends = vec![put(0, Mode::Reliable, 30, 1)];
        let mut ours = vec![json!({"op": "await", "reliable": 1})];
        ours.extend(ours_sends.iter().map(|put| put.step(0)));
        ours.push(json!({"op": "timeout", "limit": 32, "min": 2000, "max": 6000}));
        if how != Goodbye::Later {
            ours.push(json!({"op": "wait", "wait": 500}));
        }
        ours.push(how.step());
        if how != Goodbye::Now {
            ours.push(json!({"op": "lost"}));
        }
        let theirs = vec![theirs_sends[0].step(100), json!({"op": "lost"})];
        Self { ours, theirs, second: Vec::new(), ours_sends, theirs_sends }
    }

    fn theirs_leaves(how: Goodbye) -> Self {
        let ours_sends = vec![put(0, Mode::Reliable, 30, 1)];
        let theirs_sends: Vec<_> = (1..=40).map(|seed| put(1, Mode::Reliable, 900, seed)).collect();
        let ours = vec![ours_sends[0].step(100), json!({"op": "lost"})];
        let mut theirs = vec![json!({"op": "await", "reliable": 1})];
        theirs.extend(theirs_sends.iter().map(|put| put.step(0)));
        if how != Goodbye::Later {
            theirs.push(json!({"op": "wait", "wait": 500}));
        }
        theirs.push(how.step());
        // Long enough to send it, for programs that hear nothing of it.
        theirs.push(json!({"op": "wait", "wait": 500}));
        Self { ours, theirs, second: Vec::new(), ours_sends, theirs_sends }
    }

    fn full(ours_serves: bool) -> Self {
        let server =
            vec![json!({"op": "await", "reliable": 2}), json!({"op": "wait", "wait": 100})];
        let sends = vec![put(0, Mode::Reliable, 30, 1), put(0, Mode::Reliable, 30, 2)];
        let first = vec![
            sends[0].step(0),
            json!({"op": "wait", "wait": 1800}),
            json!({"op": "close"}),
            json!({"op": "wait", "wait": 100}),
        ];
        let second =
            vec![sends[1].step(0), json!({"op": "wait", "wait": 300}), json!({"op": "close"})];
        if ours_serves {
            Self { ours: server, theirs: first, second, theirs_sends: sends, ..Self::default() }
        } else {
            Self { ours: first, theirs: server, second, ours_sends: sends, ..Self::default() }
        }
    }

    /// Whether what each side told agrees with what was done. `second` are the lines of a second client.
    ///
    /// # Errors
    ///
    /// What does not, in words.
    pub fn check(&self, kind: Kind, seen: &Seen<'_>) -> Result<(), String> {
        for (who, lines) in [("ours", seen.ours), ("theirs", seen.theirs), ("second", seen.second)]
        {
            for word in ["out of time", "refused", "not a message"] {
                if lines.iter().any(|line| line["ev"] == word) && kind != Kind::Refused {
                    return Err(format!("{who}: {word}"));
                }
            }
        }
        let arrive = |who, sent: &[Put], lines| {
            // So much at once can be too much for a socket's buffer.
            let may_lose = seen.is_lossy || kind == Kind::Large;
            arrived(sent, lines, may_lose).map_err(|why| format!("{who}: {why}"))
        };
        let has = |lines: &[Value], event: &str| lines.iter().any(|line| line["ev"] == event);
        let wants = |ok: bool, what: &str| ok.then_some(()).ok_or(what.to_owned());
        match kind {
            Kind::Full => {
                let (server, sent) = if self.ours_sends.is_empty() {
                    (seen.ours, &self.theirs_sends)
                } else {
                    (seen.theirs, &self.ours_sends)
                };
                arrive("server", sent, server)?;
                let told = server.iter().filter_map(|line| line["ev"].as_str());
                let told: Vec<_> = told.filter(|ev| ev.ends_with("connect")).take(3).collect();
                let wanted = ["connect", "disconnect", "connect"];
                return wants(told == wanted, &format!("the full server told {told:?}"));
            }
            Kind::Refused => {
                wants(has(seen.ours, "connect"), "ours saw no connection")?;
                wants(has(seen.ours, "disconnect"), "ours still believes in the connection")?;
                return wants(!has(seen.theirs, "connect"), "theirs took the connection");
            }
            _ => {}
        }
        wants(has(seen.ours, "connect"), "ours saw no connection")?;
        wants(has(seen.theirs, "connect"), "theirs saw no connection")?;
        arrive("ours", &self.theirs_sends, seen.ours)?;
        let mut sent = &self.ours_sends[..];
        if kind == Kind::OursLeaves(Goodbye::Later) && seen.drops_unread {
            let count = seen.theirs.iter().filter(|line| line["ev"] == "packet").count();
            sent = &sent[..count.min(sent.len())];
        }
        arrive("theirs", sent, seen.theirs)?;
        match kind {
            Kind::OursDies => wants(has(seen.theirs, "disconnect"), "theirs saw no timeout"),
            Kind::TheirsDies => said(seen.ours, 0),
            Kind::TheirsLeaves(Goodbye::Close) => {
                wants(has(seen.ours, "disconnect"), "ours saw no disconnect")
            }
            Kind::TheirsLeaves(_) => said(seen.ours, if seen.tells_data { GOODBYE } else { 0 }),
            Kind::OursLeaves(how) => {
                wants(has(seen.theirs, "disconnect"), "theirs saw no disconnect")?;
                let told = has(seen.ours, "disconnect");
                wants(told != (how == Goodbye::Now), "ours was not told the right thing")
            }
            Kind::Compressed(_) => {
                let [up, down] = seen.compressed;
                let both = up > 0 && down > 0;
                wants(both, &format!("compressed were {up} datagrams up and {down} down"))
            }
            _ => {
                wants(has(seen.theirs, "disconnect"), "theirs saw no disconnect")?;
                wants(has(seen.ours, "disconnect"), "ours saw no end of its own disconnect")
            }
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'l> {
    /// What ours printed.
    pub ours: &'l [Value],
    /// What they printed.
    pub theirs: &'l [Value],
    /// What the second client printed.
    pub second: &'l [Value],
    /// Whether datagrams were lost on purpose.
    pub is_lossy: bool,
    /// Whether they can give a number with their goodbye.
    pub tells_data: bool,
    /// Whether they forget what has arrived when the connection ends.
    pub drops_unread: bool,
    /// Compressed datagrams towards the server, and back, where that was counted.
    pub compressed: [u64; 2],
}

/// Whether the first disconnect came with `data`.
fn said(lines: &[Value], data: u64) -> Result<(), String> {
    match lines.iter().find(|line| line["ev"] == "disconnect") {
        Some(line) if line["data"] == data => Ok(()),
        Some(line) => Err(format!("disconnected with {}, not {data}", line["data"])),
        None => Err("ours saw no disconnect".into()),
    }
}

/// Whether of what was `sent` the right things have arrived, and nothing else.
fn arrived(sent: &[Put], lines: &[Value], may_lose: bool) -> Result<(), String> {
    let shas: Vec<_> = sent.iter().map(Put::sha).collect();
    // Which of the messages arrived, in the order of arrival.
    let mut order = Vec::new();
    for line in lines.iter().filter(|line| line["ev"] == "packet") {
        let found = shas.iter().position(|sha| line["sha"] == sha.as_str());
        let index = found.ok_or_else(|| format!("nobody sent this: {line}"))?;
        let put = &sent[index];
        if order.contains(&index) {
            return Err(format!("arrived twice: {put:?}"));
        }
        if line["ch"] != put.channel || line["n"] != put.len || !mode_fits(put, &line["mode"]) {
            return Err(format!("{put:?} arrived as {line}"));
        }
        order.push(index);
    }
    for (index, put) in sent.iter().enumerate() {
        if !order.contains(&index) && (put.mode == Mode::Reliable || !may_lose) {
            return Err(format!("did not arrive: {put:?}"));
        }
    }
    for channel in 0..=u8::MAX {
        for mode in [Mode::Reliable, Mode::Ordered] {
            let is_of_stream =
                |index: &&usize| sent[**index].channel == channel && sent[**index].mode == mode;
            let stream: Vec<_> = order.iter().filter(is_of_stream).collect();
            if !stream.is_sorted() {
                return Err(format!(
                    "{mode:?} on channel {channel} arrived in the order {stream:?}"
                ));
            }
        }
    }
    Ok(())
}

/// Whether a message may arrive in that mode. What is fragmented arrives in an order, or reliably where
/// a program knows no other fragments.
fn mode_fits(put: &Put, told: &Value) -> bool {
    let Some(told) = told.as_u64() else { return true };
    told == put.mode as u64 || (put.len > UNFRAGMENTED_MAX && told > put.mode as u64)
}

fn reliable_count(puts: &[Put]) -> usize {
    puts.iter().filter(|put| put.mode == Mode::Reliable).count()
}

fn put(channel: u8, mode: Mode, len: usize, seed: u8) -> Put {
    Put { channel, mode, len, seed, stride: 1 }
}

/// Every mode on every channel, in all sizes that matter; `first` makes the seeds different.
fn every_mode(first: u8) -> Vec<Put> {
    let mut puts = Vec::new();
    for (nth, len) in [1usize, 20, 700, UNFRAGMENTED_MAX, 4000, 20_000].into_iter().enumerate() {
        for channel in 0..4 {
            for mode in Mode::ALL {
                if len > 4000 && mode != Mode::Reliable {
                    continue;
                }
                let seed = first + channel * 6 + (nth as u8) * 24;
                // 127 ends the exchange.
                let seed = (seed % 120) | if mode == Mode::Reliable { 0 } else { 128 };
                let len = if mode == Mode::Ordered { len + 1 } else { len };
                puts.push(put(channel, mode, len, seed));
            }
        }
    }
    puts
}

fn large(seed: u8) -> Vec<Put> {
    vec![
        put(0, Mode::Reliable, 100_000, seed),
        put(1, Mode::Reliable, 1 << 20, seed),
        put(1, Mode::Ordered, 30_000, 128 + seed),
        put(0, Mode::Reliable, 300, seed),
    ]
}

fn compressible(seed: u8) -> Vec<Put> {
    let lens = [3, 40, 700, 1200, 5000];
    let puts = lens.map(|len| {
        [(Mode::Reliable, 0), (Mode::Ordered, 128)].map(|(mode, unreliable)| Put {
            channel: 1,
            mode,
            len,
            seed: seed | unreliable,
            stride: 0,
        })
    });
    puts.as_flattened().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(put: &Put) -> Value {
        let mode = put.mode as u32;
        json!({"ev": "packet", "ch": put.channel, "mode": mode, "n": put.len, "sha": put.sha()})
    }

    #[test]
    fn every_message_of_an_exchange_can_be_told_from_the_others() {
        for puts in [every_mode(0), every_mode(3), large(1), compressible(2)] {
            let mut shas: Vec<_> = puts.iter().map(Put::sha).collect();
            shas.sort();
            shas.dedup();
            assert_eq!(shas.len(), puts.len());
            for put in puts {
                assert_eq!(put.seed < 128, put.mode == Mode::Reliable, "{put:?}");
                assert_ne!(put.seed, 127, "{put:?}");
            }
        }
    }

    #[test]
    fn what_is_missing_wrong_or_too_much_is_noticed() {
        let puts = every_mode(0);
        let lines: Vec<_> = puts.iter().map(line).collect();
        assert_eq!(arrived(&puts, &lines, false), Ok(()));
        let changed = |change: &dyn Fn(&mut Vec<Value>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            arrived(&puts, &lines, true)
        };
        let reliable =
            puts.iter().position(|put| put.mode == Mode::Reliable).expect("there are some");
        let unreliable = puts.iter().position(|put| put.mode != Mode::Reliable).expect("likewise");
        assert!(changed(&|lines| drop(lines.remove(reliable))).is_err(), "a loss");
        assert!(changed(&|lines| drop(lines.remove(unreliable))).is_ok(), "an excusable loss");
        assert!(arrived(&puts, &lines[1..], false).is_err(), "a loss where nothing is lost");
        assert!(changed(&|lines| lines.push(lines[0].clone())).is_err(), "a duplicate");
        assert!(changed(&|lines| lines.reverse()).is_err(), "another order");
        assert!(changed(&|lines| lines[3]["ch"] = json!(9)).is_err(), "another channel");
        assert!(changed(&|lines| lines[3]["mode"] = json!(1)).is_err(), "another mode");
        assert!(changed(&|lines| lines[3]["sha"] = json!("00")).is_err(), "another content");
    }
}
