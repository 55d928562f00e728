//! A server and clients over a bad network, all on this machine, checked byte by byte.
//!
//! ```text
//!   client 0 ──► relay 0 ──┐
//!   client 1 ──► relay 1 ──┼──► server        every arrow is a UDP socket on 127.0.0.1
//!   client 2 ──► relay 2 ──┘
//! ```
//!
//! One thread turns everything in a circle, so nothing happens while it sleeps.

mod contents;
mod lane;
mod load;
mod options;
mod oracle;
mod random;
mod relay;
mod report;
mod screen;
mod side;
mod tally;
mod traffic;

use core::net::Ipv4Addr;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use bowline::{Clock, Driver, Duration, Instant, udp};

use crate::{Failure, recorded};
use lane::{CHANNELS, Direction, Lane, Stream};
use load::{Load, Planned};
use oracle::Oracle;
use relay::Relay;
use report::Report;
use screen::Screen;
use side::{Side, Spoiler, Watch};

pub(crate) use options::Options;

/// After the last message was sent, those that are missing are given up when for so long not one more
/// byte of them has arrived.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long nothing must happen before everything is taken for arrived.
const QUIET: Duration = Duration::from_millis(200);
/// How long closing may take.
const CLOSE_MAX: Duration = Duration::from_secs(3);
/// Sleep at the most.
const NAP_MAX: Duration = Duration::from_millis(20);
/// Datagrams that a socket's buffer holds anywhere.
const BURST_MAX: usize = 32;

/// Runs the demonstration. The exit code is 1 if a promise was broken.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut demo = Demo::new(options)?;
    let mut screen = Screen::new(options);
    screen.heading(&options.to_string())?;
    let report = demo.run(&mut screen)?;
    screen.clear()?;
    if options.json {
        report::print_json(&report)?;
    } else {
        report::print_tables(&report, io::stdout().is_terminal())?;
    }
    Ok(ExitCode::from(u8::from(report.breach_count > 0)))
}

#[derive(Debug)]
struct Demo<'o> {
    options: &'o Options,
    clock: Clock,
    server: Side,
    clients: Vec<Side>,
    relays: Vec<Relay>,
    loads: Vec<(usize, Direction, Load)>,
    watch: Watch,
    planned: Vec<Planned>,
}

impl<'o> Demo<'o> {
    fn new(options: &'o Options) -> Result<Self, Failure> {
        let clock = Clock::new();
        let bind = || {
            let socket = udp::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = socket.local_addr()?;
            io::Result::Ok((Driver::with_clock(socket, clock), address))
        };
        let (driver, server_address) = bind()?;
        let folder = options.record.as_deref();
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("cannot record into {}: {error}", folder.display()))?;
            recorded::warn(folder);
        }
        let file = |name: &str| folder.map(|folder| folder.join(name));
        let recording = file("server.trace");
        let server = Side::new(Direction::ToClient, options.clients, driver, recording.as_deref())?;
        let (mut clients, mut relays) = (Vec::new(), Vec::new());
        for client in 0..options.clients as usize {
            let (driver, address) = bind()?;
            let seed = [options.seed, client as u64];
            let relay = Relay::new(address, server_address, options.weather(), seed)?;
            let recording = file(&format!("client-{client}.trace"));
            let mut side = Side::new(Direction::ToServer, 1, driver, recording.as_deref())?;
            side.connect(client, relay.address()?)?;
            clients.push(side);
            relays.push(relay);
        }
        let oracle = Oracle::new(options.seed, options.clients as usize);
        let watch = Watch { oracle, spoiler: options.break_promise.map(Spoiler::new) };
        let (loads, planned) = (Vec::new(), Vec::new());
        Ok(Self { options, clock, server, clients, relays, loads, watch, planned })
    }

    fn run(&mut self, screen: &mut Screen) -> Result<Report<'o>, Failure> {
        while self.open_count() < 2 * self.clients.len() {
            self.turn()?;
        }
        let start = self.clock.now();
        self.plan(start);
        while self.loads.iter().any(|(.., load)| load.due().is_some()) {
            self.say_what_is_due()?;
            self.turn()?;
            screen.refresh(self.clock.now() - start, &self.watch.oracle)?;
        }
        let sent = self.clock.now();
        self.drain(start, screen)?;
        let drained = self.clock.now();
        let mut report = Report::new(self.options, &mut self.watch.oracle);
        report.spans = [sent - start, drained - sent];
        report.late = self.late_counts();
        self.close(&mut report)?;
        self.clients.iter_mut().chain([&mut self.server]).for_each(Side::stop);
        self.account(&mut report);
        Ok(report)
    }

    fn open_count(&self) -> usize {
        self.server.open_count() + self.clients.iter().map(Side::open_count).sum::<usize>()
    }

    fn plan(&mut self, start: Instant) {
        let clients = self.clients.len();
        let span = Duration::from_secs(self.options.seconds.into());
        for client in 0..clients {
            for direction in Direction::BOTH {
                let seed = self.options.seed;
                let load = Load::new(seed, (client, clients), direction, start, span);
                self.loads.push((client, direction, load));
            }
        }
    }

    fn say_what_is_due(&mut self) -> Result<(), Failure> {
        for (client, direction, load) in &mut self.loads {
            let side = match direction {
                Direction::ToClient => Some(&mut self.server),
                Direction::ToServer => self.clients.get_mut(*client),
            };
            let Some(side) = side else { continue };
            while load.due().is_some_and(|due| due <= self.clock.now()) {
                load.next_tick(&mut self.planned);
                for planned in &self.planned {
                    side.say(*client, *planned, &mut self.watch)?;
                }
            }
        }
        Ok(())
    }

    /// Everything moves once; then all sleep until something is due.
    fn turn(&mut self) -> Result<(), Failure> {
        for (client, (side, relay)) in self.clients.iter_mut().zip(&mut self.relays).enumerate() {
            side.turn(&mut self.watch)?;
            relay.receive(self.clock.now())?;
            // A little at a time, so that no socket's buffer overflows.
            loop {
                let now = self.clock.now();
                let to_server = relay.forward(now, Direction::ToServer, BURST_MAX);
                if to_server > 0 {
                    self.server.turn(&mut self.watch)?;
                }
                let to_client = relay.forward(now, Direction::ToClient, BURST_MAX);
                if to_client > 0 {
                    side.turn(&mut self.watch)?;
                }
                relay.receive(self.clock.now())?;
                if to_server.max(to_client) < BURST_MAX {
                    break;
                }
            }
            note_spreading(relay, client, &mut self.watch.oracle);
        }
        self.server.turn(&mut self.watch)?;
        for relay in &mut self.relays {
            relay.receive(self.clock.now())?;
        }
        self.nap();
        Ok(())
    }

    fn nap(&mut self) {
        let now = self.clock.now();
        let dues = (self.relays.iter().filter_map(Relay::due))
            .chain(self.loads.iter().filter_map(|(.., load)| load.due()))
            .chain(self.clients.iter_mut().filter_map(Side::due))
            .chain(self.server.due());
        let due = dues.fold(now + NAP_MAX, Instant::min);
        if due > now {
            std::thread::sleep((due - now).into());
        }
    }

    /// Until all reliable messages have arrived, all have ended, and nothing moves any more, or a promise was
    /// broken.
    fn drain(&mut self, start: Instant, screen: &mut Screen) -> Result<(), Failure> {
        let mut now = self.clock.now();
        let (mut busy_at, mut moved_at) = (now, now);
        let mut least_left = u64::MAX;
        while now < moved_at + STALL_MAX && now < busy_at + QUIET {
            self.turn()?;
            now = self.clock.now();
            let left = self.left_to_do();
            if left < least_left {
                (least_left, moved_at) = (left, now);
            }
            let is_over = left == 0 || self.watch.oracle.breach_count > 0;
            if !is_over || !self.relays.iter().all(Relay::is_empty) {
                busy_at = now;
            }
            screen.refresh(now - start, &self.watch.oracle)?;
        }
        self.watch.oracle.finish();
        Ok(())
    }

    /// Messages and bytes that have not arrived; a number that shrinks as long as anything moves.
    fn left_to_do(&mut self) -> u64 {
        let sides = self.clients.iter_mut().chain([&mut self.server]);
        let waiting = sides.map(|side| side.queued_len() + side.backlog_len() as u64).sum::<u64>();
        waiting + self.watch.oracle.reliable_missing() + self.watch.oracle.unended()
    }

    fn late_counts(&mut self) -> [u64; CHANNELS] {
        let mut late = [0; CHANNELS];
        let sides = self.clients.iter_mut().chain([&mut self.server]);
        sides.for_each(|side| side.add_late(&mut late));
        late
    }

    fn close(&mut self, report: &mut Report) -> Result<(), Failure> {
        let give_up_at = self.clock.now() + CLOSE_MAX;
        self.clients.iter_mut().for_each(Side::finish);
        while self.alive_count() > 0 && self.clock.now() < give_up_at {
            self.turn()?;
        }
        report.unclosed = self.alive_count();
        Ok(())
    }

    fn alive_count(&self) -> usize {
        self.server.alive_count() + self.clients.iter().map(Side::alive_count).sum::<usize>()
    }

    /// What passed over the wire, and what is left of it all.
    fn account(&mut self, report: &mut Report) {
        for direction in Direction::BOTH {
            let network = &mut report.network[direction as usize];
            for relay in &mut self.relays {
                report.traffic.add(&relay.reader(direction).traffic);
                network.add(&relay.counts(direction));
            }
        }
        let sides = || self.clients.iter().chain([&self.server]);
        let taken = report.network.iter().map(|counts| counts.taken).sum::<u64>();
        let forwarded = report.network.iter().map(|counts| counts.forwarded).sum::<u64>();
        let sent = sides().map(Side::sent_count).sum::<u64>();
        let received = sides().map(Side::received_count).sum::<u64>();
        report.dropped_by_system = sent.saturating_sub(taken) + forwarded.saturating_sub(received);
        report.server_memory = self.server.memory_len();
        report.in_use = self.server.in_use();
    }
}

fn note_spreading(relay: &mut Relay, client: usize, oracle: &mut Oracle) {
    for direction in Direction::BOTH {
        for spreading in relay.reader(direction).spread.drain(..) {
            let lane: Lane = spreading.lane;
            let stream = Stream { client, direction, lane };
            oracle.on_spread(&stream, &spreading.tag, spreading.datagrams);
        }
    }
}
