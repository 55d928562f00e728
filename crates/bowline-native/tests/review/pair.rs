//! Two endpoints of ours.

use super::*;

/// Two endpoints whose datagrams pass a link that may lose some.
pub(crate) struct Pair<'s> {
    pub(crate) client: Machine1<'s>,
    pub(crate) server: Machine1<'s>,
    pub(crate) now: Instant,
    /// Whether the datagram, of that sender and of that index, is delivered.
    pub(crate) link: fn(u8, usize) -> bool,
    pub(crate) sent: [usize; 2],
}

impl<'s> Pair<'s> {
    pub(crate) fn new(
        config: Config,
        client: &'s mut dyn Storage,
        server: &'s mut dyn Storage,
    ) -> Self {
        Self {
            client: Endpoint::plain(config, &SipHash, &[1; 32], client).unwrap(),
            server: Endpoint::plain(config, &SipHash, &[2; 32], server).unwrap(),
            now: Instant::from_micros(1_000_000),
            link: |_, _| true,
            sent: [0; 2],
        }
    }

    pub(crate) fn exchange(&mut self) {
        let mut buf = [0; 1500];
        for _ in 0..100_000 {
            let mut quiet = true;
            while let Some(out) = self.client.poll_transmit(self.now, &mut buf).unwrap() {
                quiet = false;
                self.sent[0] += 1;
                if (self.link)(CLIENT, self.sent[0]) {
                    let from = Received::from(address(CLIENT));
                    let _ = self.server.handle_datagram(self.now, from, &mut buf[..out.len]);
                }
            }
            while let Some(out) = self.server.poll_transmit(self.now, &mut buf).unwrap() {
                quiet = false;
                self.sent[1] += 1;
                if (self.link)(SERVER, self.sent[1]) {
                    let from = Received::from(address(SERVER));
                    let _ = self.client.handle_datagram(self.now, from, &mut buf[..out.len]);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("never quiet");
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..1_000_000 {
            self.exchange();
            let due = [self.client.poll_timeout(), self.server.poll_timeout()];
            let next = due.into_iter().flatten().min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now);
        }
        panic!("never waits");
    }

    pub(crate) fn connected(&mut self) -> (PeerId, PeerId) {
        let client = self.client.connect_plain(self.now, address(SERVER), b"").unwrap();
        self.wait(millis(100));
        assert_eq!(self.client.poll_event(), Some(Event::Connected(client)));
        let Some(Event::Connected(server)) = self.server.poll_event() else { panic!() };
        (client, server)
    }
}
