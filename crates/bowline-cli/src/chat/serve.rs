//! The side that is called.

use core::sync::atomic::Ordering;

use bowline::{
    Address, CloseReason, Driver, Event, Instant, Messages, Outgoing, PeerId, SendError,
};

use super::counters::Counters;
use super::keyboard::Keyboard;
use super::line::{COMMANDS, Line, Typed, Typist};
use super::options::ServeOptions;
use super::{CLOSE_MAX, TYPED_WAIT, interruption, print_message, print_note, resolve};
use crate::Failure;
use crate::recorded::{self, MaybeRecorded};

/// What callers are told while this side closes.
const CLOSING: CloseReason = CloseReason(1);

/// Serves until it is interrupted.
pub(crate) fn serve(options: &ServeOptions) -> Result<(), Failure> {
    let addresses = resolve(&options.address)?;
    let driver = Driver::bind(&addresses[..])
        .map_err(|error| format!("cannot listen on {}: {error}", options.address))?;
    let interrupted = interruption()?;
    let mut service = Service::new(options, driver)?;
    let mut counters = options.counters.clone().map(Counters::new);
    if let Some(counters) = &counters {
        counters.write(&mut service.endpoint, &[])?;
    }
    let mut keyboard = Keyboard::new();
    print_note(&format!("listening on {}", service.driver.socket().local_addr()?))?;
    loop {
        service.driver.drive(&mut service.endpoint, Some(TYPED_WAIT))?;
        service.handle_events()?;
        let now = service.driver.now();
        service.endpoint.flush(now);
        if let Some(counters) = &mut counters {
            counters.turn(now, &mut service.endpoint, &service.callers)?;
        }
        if interrupted.load(Ordering::Relaxed) {
            service.shut();
        }
        match service.shut_at {
            None => service.say_what_is_typed(&mut keyboard)?,
            Some(_) if service.callers.is_empty() => break,
            Some(at) if at <= service.driver.now() => {
                service.slam()?;
                break;
            }
            Some(_) => {}
        }
    }
    if let Some(counters) = &counters {
        counters.write(&mut service.endpoint, &service.callers)?;
    }
    service.endpoint.stop();
    Ok(())
}

struct Service {
    driver: Driver,
    endpoint: MaybeRecorded,
    callers: Vec<Caller>,
    typist: Typist,
    /// By when everybody must have heard that this side closes; none while it does not.
    shut_at: Option<Instant>,
}

pub(super) struct Caller {
    pub(super) peer: PeerId,
    pub(super) address: Address,
    /// What it had no room for yet.
    line: Option<Line>,
}

impl Service {
    fn new(options: &ServeOptions, driver: Driver) -> Result<Self, Failure> {
        let file = options.record.as_deref();
        file.inspect(|path| recorded::warn(path));
        let endpoint = MaybeRecorded::new(options.config(), options.limits(), file)?;
        let typist = Typist::default();
        Ok(Self { driver, endpoint, callers: Vec::new(), typist, shut_at: None })
    }

    fn handle_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Asked(peer) => self.answer(peer),
                Event::Connected(peer) => {
                    let address = self.endpoint.address(peer).unwrap_or(Address::NONE);
                    print_note(&format!("{peer} connected from {address}"))?;
                    self.callers.push(Caller { peer, address, line: None });
                }
                Event::Readable(peer) => {
                    while let Some(incoming) = self.endpoint.recv(peer) {
                        print_message(peer, &incoming)?;
                    }
                }
                Event::Disconnected(peer, reason) => {
                    let at = self.callers.iter().position(|caller| caller.peer == peer);
                    if let Some(caller) = at.map(|at| self.callers.remove(at)) {
                        print_note(&format!("{peer} from {} is gone: {reason}", caller.address))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, peer: PeerId) {
        let now = self.driver.now();
        // An error means that whoever asked has gone, which an event tells.
        let _ = match self.shut_at {
            None => self.endpoint.accept(now, peer),
            Some(_) => self.endpoint.refuse(now, peer, CLOSING),
        };
    }

    /// Lets nobody in any more, and everybody go once everything has arrived.
    fn shut(&mut self) {
        if self.shut_at.is_some() {
            return;
        }
        let now = self.driver.now();
        self.shut_at = Some(now + CLOSE_MAX);
        for caller in &self.callers {
            let _ = self.endpoint.finish(now, caller.peer, CloseReason(0));
        }
    }

    /// Closes on those who have not heard in time.
    fn slam(&mut self) -> Result<(), Failure> {
        for caller in &self.callers {
            self.endpoint.close(self.driver.now(), caller.peer, CloseReason(0));
        }
        self.driver.drive(&mut self.endpoint, Some(core::time::Duration::ZERO))?;
        Ok(())
    }

    fn say_what_is_typed(&mut self, keyboard: &mut Keyboard) -> Result<(), Failure> {
        self.say_what_waits()?;
        // One caller without room holds up all others; what is typed has time.
        while self.callers.iter().all(|caller| caller.line.is_none()) {
            let Some(line) = keyboard.poll_line() else { return Ok(()) };
            match self.typist.read(&line) {
                Typed::Line(_) if self.callers.is_empty() => print_note("nobody is connected")?,
                Typed::Line(line) => {
                    self.callers.iter_mut().for_each(|caller| caller.line = Some(line.clone()));
                    self.say_what_waits()?;
                }
                Typed::Channel(channel) => print_note(&format!("channel {}", channel.0))?,
                Typed::Unknown => print_note(COMMANDS)?,
            }
        }
        Ok(())
    }

    fn say_what_waits(&mut self) -> Result<(), Failure> {
        let now = self.driver.now();
        for caller in &mut self.callers {
            let Some(line) = caller.line.take() else { continue };
            let pieces = [&line.text[..]];
            let outgoing = Outgoing::new(line.channel, line.mode, &pieces);
            match self.endpoint.send(now, caller.peer, outgoing) {
                Ok(()) => {}
                Err(SendError::Full) => caller.line = Some(line),
                Err(error) => print_note(&format!("not sent to {}: {error}", caller.peer))?,
            }
        }
        Ok(())
    }
}
