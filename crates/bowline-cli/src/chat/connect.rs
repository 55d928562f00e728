//! The side that calls.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};

use bowline::{
    CloseReason, DisconnectReason, Driver, Endpoint, Event, Heap, Instant, Messages, Outgoing,
    PeerId, SendError, udp,
};

use super::keyboard::Keyboard;
use super::line::{COMMANDS, Line, Typed, Typist};
use super::options::ConnectOptions;
use super::{CLOSE_MAX, TYPED_WAIT, interruption, print_message, print_note, resolve};
use crate::Failure;

/// Talks to a server until the input ends, somebody closes, or it fails.
pub(crate) fn connect(options: &ConnectOptions) -> Result<(), Failure> {
    let addresses = resolve(&options.address)?;
    let interrupted = interruption()?;
    let mut keyboard = Keyboard::new();
    // A name may stand for several addresses, and the server listen at one of them.
    for address in &addresses {
        let mut call = Call::new(options, *address)?;
        match call.run(&mut keyboard, &interrupted)? {
            DisconnectReason::ConnectTimedOut => {}
            reason => return call.verdict(reason),
        }
    }
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Err(format!("nobody answered at {}", addresses.join(" or ")).into())
}

struct Call {
    address: SocketAddr,
    driver: Driver,
    endpoint: Endpoint<Heap>,
    server: PeerId,
    is_open: bool,
    is_finishing: bool,
    /// When to close in any case.
    give_up_at: Option<Instant>,
    typist: Typist,
    /// Waits for room.
    line: Option<Line>,
}

impl Call {
    fn new(options: &ConnectOptions, address: SocketAddr) -> Result<Self, Failure> {
        let address = udp::canonical(address);
        let memory = Heap::new(options.limits());
        let mut endpoint = bowline::plain(options.config(), &bowline::seed()?, memory)?;
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let driver =
            Driver::bind(local).map_err(|error| format!("cannot open a socket: {error}"))?;
        let server = endpoint.connect_plain(driver.now(), address.into(), b"")?;
        Ok(Self {
            address,
            driver,
            endpoint,
            server,
            is_open: false,
            is_finishing: false,
            give_up_at: None,
            typist: Typist::default(),
            line: None,
        })
    }

    /// Talks; why the session ended.
    fn run(
        &mut self,
        keyboard: &mut Keyboard,
        interrupted: &AtomicBool,
    ) -> Result<DisconnectReason, Failure> {
        loop {
            self.driver.drive(&mut self.endpoint, Some(TYPED_WAIT))?;
            if let Some(reason) = self.poll_end()? {
                return Ok(reason);
            }
            if interrupted.load(Ordering::Relaxed) {
                self.hang_up();
            }
            self.say_what_is_typed(keyboard)?;
            if self.give_up_at.is_some_and(|at| at <= self.driver.now()) {
                self.endpoint.close(self.driver.now(), self.server, CloseReason(0));
            }
        }
    }

    /// Reads what there is to read; why the session ended, if it did.
    fn poll_end(&mut self) -> Result<Option<DisconnectReason>, Failure> {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected(_) => {
                    self.is_open = true;
                    print_note(&format!("connected to {}", self.address))?;
                }
                Event::Readable(peer) => {
                    while let Some(incoming) = self.endpoint.recv(peer) {
                        print_message(peer, &incoming)?;
                    }
                }
                Event::Disconnected(_, reason) => return Ok(Some(reason)),
                _ => {}
            }
        }
        Ok(None)
    }

    fn verdict(&self, reason: DisconnectReason) -> Result<(), Failure> {
        let address = self.address;
        match reason {
            DisconnectReason::Closed(_) => Ok(()),
            DisconnectReason::ClosedByPeer(_) => {
                print_note(&format!("{address} closed the session"))?;
                Ok(())
            }
            DisconnectReason::ConnectTimedOut => {
                Err(format!("nobody answered at {address}").into())
            }
            DisconnectReason::Refused(reason) => Err(format!("{address} refused: {reason}").into()),
            _ => Err(format!("the session with {address} ended: {reason}").into()),
        }
    }

    /// Closes once everything has arrived, but does not wait for long.
    fn hang_up(&mut self) {
        if self.give_up_at.is_none() {
            self.give_up_at = Some(self.driver.now() + CLOSE_MAX);
            self.line = None;
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
        let now = self.driver.now();
        if !self.is_open || self.endpoint.finish(now, self.server, CloseReason(0)).is_err() {
            self.endpoint.close(now, self.server, CloseReason(0));
        }
    }

    fn say_what_is_typed(&mut self, keyboard: &mut Keyboard) -> Result<(), Failure> {
        while self.is_open && !self.is_finishing {
            let line = match self.line.take() {
                Some(line) => line,
                None => match keyboard.poll_line().map(|line| self.typist.read(&line)) {
                    Some(Typed::Line(line)) => line,
                    Some(Typed::Channel(channel)) => {
                        print_note(&format!("channel {}", channel.0))?;
                        continue;
                    }
                    Some(Typed::Unknown) => {
                        print_note(COMMANDS)?;
                        continue;
                    }
                    None if keyboard.is_over => {
                        self.finish();
                        return Ok(());
                    }
                    None => return Ok(()),
                },
            };
            let pieces = [&line.text[..]];
            let outgoing = Outgoing::new(line.channel, line.mode, &pieces);
            match self.endpoint.send(self.driver.now(), self.server, outgoing) {
                Ok(()) => {}
                Err(SendError::Full) => {
                    self.line = Some(line);
                    return Ok(());
                }
                Err(error) => print_note(&format!("not sent: {error}"))?,
            }
        }
        Ok(())
    }
}
