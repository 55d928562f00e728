//! A conversation with programs that speak ENet.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};

use bowline::enet::godot::{Godot, Series, client_number};
use bowline::enet::{
    Buffered, Checksum, Compression, Config, Heap, Host, Limits, RangeCoder, Uncompressed,
};
use bowline::{
    Address, DisconnectReason, Driver, Event, Instant, Machine, Messages, Outgoing, PeerId,
    SipHash, udp,
};
use bowline_enet_compress::{FastLz, Zlib, Zstd};
use clap::{Args, Subcommand, ValueEnum};

use crate::Failure;
use crate::chat::keyboard::Keyboard;
use crate::chat::line::{COMMANDS, Line, Typed, Typist};
use crate::chat::{CLOSE_MAX, TYPED_WAIT, interruption, print_message, print_note, resolve};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Waits for ENet clients; prints what they say, and says to all of them what is typed
    Serve(ServeOptions),
    /// Connects to an ENet server; prints what it says, and says to it what is typed
    Connect(ConnectOptions),
}

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Where to listen, as HOST:PORT
    address: String,
    /// How many may be connected at once
    #[arg(long, value_name = "COUNT", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=4_095))]
    max_peers: u16,
    #[command(flatten)]
    host: HostOptions,
}

#[derive(Args, Debug)]
pub(crate) struct ConnectOptions {
    /// Who to connect to, as HOST:PORT
    address: String,
    #[command(flatten)]
    host: HostOptions,
}

#[derive(Args, Debug)]
struct HostOptions {
    /// How many channels there are, or with --godot the highest of its channels and one
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u8).range(1..))]
    channels: u8,
    /// How datagrams are compressed; both sides must do the same
    #[arg(long, value_name = "KIND", default_value = "none")]
    compress: Kind,
    /// Datagrams carry a checksum; both sides must do the same
    #[arg(long)]
    checksum: bool,
    /// Channels, modes and client numbers are those of this series of Godot
    #[arg(long, value_name = "SERIES")]
    godot: Option<GodotSeries>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Not at all
    None,
    /// By ENet's range coder
    Range,
    /// As Godot's COMPRESS_FASTLZ
    Fastlz,
    /// As Godot's COMPRESS_ZLIB
    Zlib,
    /// As Godot's COMPRESS_ZSTD
    Zstd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GodotSeries {
    /// 3.0 to 3.5
    #[value(name = "3")]
    Three,
    /// 3.6
    #[value(name = "3.6")]
    ThreeSix,
    /// 4.x
    #[value(name = "4")]
    Four,
}

/// A host whose compression is known at run time.
type AnyHost = Host<Heap, Box<dyn Compression>>;

/// A host, or what Godot makes of it.
trait Speaker: Machine + Messages {
    fn call(&mut self, now: Instant, to: Address, channels: u8) -> Result<PeerId, Failure>;

    fn host(&mut self) -> &mut AnyHost;
}

impl Speaker for AnyHost {
    fn call(&mut self, now: Instant, to: Address, channels: u8) -> Result<PeerId, Failure> {
        Ok(self.connect(now, to, channels, 0)?)
    }

    fn host(&mut self) -> &mut AnyHost {
        self
    }
}

impl Speaker for Godot<Heap, Box<dyn Compression>> {
    fn call(&mut self, now: Instant, to: Address, channels: u8) -> Result<PeerId, Failure> {
        let [a, b, c, d, ..] = bowline::seed()?;
        let number = client_number(u32::from_be_bytes([a, b, c, d]).into());
        print_note(&format!("as client {number}"))?;
        Ok(self.connect(now, to, channels - 1, number)?)
    }

    fn host(&mut self) -> &mut AnyHost {
        Self::host(self)
    }
}

impl HostOptions {
    fn speaker(&self, peers: u16) -> Result<Box<dyn Speaker>, Failure> {
        let compression: Box<dyn Compression> = match self.compress {
            Kind::None => Box::new(Uncompressed),
            Kind::Range => Box::new(Buffered::new(RangeCoder::new())),
            Kind::Fastlz => Box::new(Buffered::new(FastLz::new())),
            Kind::Zlib => Box::new(Buffered::new(Zlib::new())),
            Kind::Zstd => Box::new(Buffered::new(Zstd::new())),
        };
        let checksum = if self.checksum { Checksum::Crc32 } else { Checksum::None };
        let config = Config { checksum, ..Config::default() };
        let memory = Heap::new(Limits::for_peers(peers));
        let host = Host::compressed(config, &SipHash, &bowline::seed()?, memory, compression)?;
        let series = match self.godot {
            None => return Ok(Box::new(host)),
            Some(GodotSeries::Three) => Series::Three { always_ordered: false },
            Some(GodotSeries::ThreeSix) => Series::ThreeSix { always_ordered: false },
            Some(GodotSeries::Four) => Series::Four,
        };
        Ok(Box::new(Godot::new(host, series)))
    }
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Serve(options) => serve(options),
        Command::Connect(options) => connect(options),
    }
}

fn serve(options: &ServeOptions) -> Result<(), Failure> {
    let addresses = resolve(&options.address)?;
    let driver = Driver::bind(&addresses[..])
        .map_err(|error| format!("cannot listen on {}: {error}", options.address))?;
    let speaker = options.host.speaker(options.max_peers)?;
    let interrupted = interruption()?;
    print_note(&format!("listening on {}", driver.socket().local_addr()?))?;
    Talk::new(driver, speaker, true).run(&interrupted).map(|_| ())
}

fn connect(options: &ConnectOptions) -> Result<(), Failure> {
    let interrupted = interruption()?;
    let address = *resolve(&options.address)?.first().ok_or("no such address")?;
    let address = udp::canonical(address);
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let driver = Driver::bind(local).map_err(|error| format!("cannot open a socket: {error}"))?;
    let mut speaker = options.host.speaker(1)?;
    speaker.call(driver.now(), address.into(), options.host.channels)?;
    match Talk::new(driver, speaker, false).run(&interrupted)? {
        None | Some(DisconnectReason::Closed(_) | DisconnectReason::ClosedByPeer(_)) => Ok(()),
        Some(DisconnectReason::ConnectTimedOut) => {
            Err(format!("nobody answered at {address}; ENet has no word for no").into())
        }
        Some(reason) => Err(format!("the connection with {address} ended: {reason}").into()),
    }
}

/// One side of the conversation.
struct Talk {
    driver: Driver,
    speaker: Box<dyn Speaker>,
    peers: Vec<PeerId>,
    is_server: bool,
    typist: Typist,
    /// When to stop in any case.
    give_up_at: Option<Instant>,
    /// How the client's connection ended.
    end: Option<DisconnectReason>,
}

impl Talk {
    fn new(driver: Driver, speaker: Box<dyn Speaker>, is_server: bool) -> Self {
        Self {
            driver,
            speaker,
            peers: Vec::new(),
            is_server,
            typist: Typist::default(),
            give_up_at: None,
            end: None,
        }
    }

    /// Talks until it is interrupted or, as a client, the input or the connection ends.
    fn run(mut self, interrupted: &AtomicBool) -> Result<Option<DisconnectReason>, Failure> {
        let mut keyboard = Keyboard::new();
        loop {
            self.driver.drive(&mut *self.speaker, Some(TYPED_WAIT))?;
            self.handle_events()?;
            let is_said = keyboard.is_over && !self.is_server && !self.peers.is_empty();
            if interrupted.load(Ordering::Relaxed) || is_said {
                self.leave();
            }
            if self.give_up_at.is_none() && (self.is_server || !self.peers.is_empty()) {
                self.say_what_is_typed(&mut keyboard)?;
            }
            let is_late = self.give_up_at.is_some_and(|at| at <= self.driver.now());
            let is_alone = self.give_up_at.is_some() && self.peers.is_empty();
            if self.end.is_some() || is_alone || is_late {
                return Ok(self.end);
            }
        }
    }

    fn handle_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.speaker.poll_event() {
            match event {
                Event::Connected(peer) => {
                    let host = self.speaker.host();
                    let address = host.address(peer).unwrap_or(Address::NONE);
                    let data = host.connect_data(peer).unwrap_or(0);
                    print_note(&format!("{peer} connected: {address}, number {data}"))?;
                    self.peers.push(peer);
                }
                Event::Readable(peer) => {
                    while let Some(incoming) = self.speaker.recv(peer) {
                        print_message(peer, &incoming)?;
                    }
                }
                Event::Disconnected(peer, reason) => {
                    if self.peers.contains(&peer) {
                        print_note(&format!("{peer} is gone: {reason}"))?;
                    }
                    self.peers.retain(|other| *other != peer);
                    self.end = (!self.is_server).then_some(reason);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Disconnects from everybody once everything has arrived, but does not wait for long.
    fn leave(&mut self) {
        if self.give_up_at.is_some() {
            return;
        }
        let now = self.driver.now();
        self.give_up_at = Some(now + CLOSE_MAX);
        for peer in &self.peers {
            // Who is gone need not be told.
            let _ = self.speaker.host().disconnect_later(now, *peer, 0);
        }
    }

    fn say_what_is_typed(&mut self, keyboard: &mut Keyboard) -> Result<(), Failure> {
        while let Some(typed) = keyboard.poll_line() {
            match self.typist.read(&typed) {
                Typed::Line(_) if self.peers.is_empty() => print_note("nobody is connected")?,
                Typed::Line(line) => self.say(&line)?,
                Typed::Channel(channel) => print_note(&format!("channel {}", channel.0))?,
                Typed::Unknown => print_note(COMMANDS)?,
            }
        }
        Ok(())
    }

    fn say(&mut self, line: &Line) -> Result<(), Failure> {
        let now = self.driver.now();
        for peer in &self.peers {
            let pieces = [&line.text[..]];
            let outgoing = Outgoing::new(line.channel, line.mode, &pieces);
            if let Err(error) = self.speaker.send(now, *peer, outgoing) {
                print_note(&format!("not sent to {peer}: {error}"))?;
            }
        }
        Ok(())
    }
}
