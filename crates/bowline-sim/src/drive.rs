//! Driving the machines: transmit, let time pass, receive.

use bowline_core::{Duration, Instant, Machine, Received, Transmit};

use crate::flight::FlightId;
use crate::{Arrival, Fault, Net, NodeId, Sighting, Tap};

/// How often a machine may be asked again because its timeout has passed, before it counts as
/// one that never acts on it.
pub const LATE_POLLS_MAX: u32 = 16;

/// How many datagrams or trains of them a machine may send without time passing.
pub const TRANSMITS_MAX: u32 = 1_000_000;

/// How often machines may answer each other without time passing.
pub const ROUNDS_MAX: u32 = 100_000;

/// Longest buffer that a machine gets, in bytes.
pub const BUFFER_MAX: usize = 1 << 20;

/// Why a step ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Something has arrived, a timeout has passed, or it is a node's turn: [`Net::due`] says
    /// for whom. The application may act now.
    Due,
    /// Everything that was to happen by the deadline has, and the clock shows the deadline.
    Deadline,
    /// Nothing is under way and no machine waits for anything. The clock stands still.
    Idle,
}

/// Each of these takes the machine of every node, in order of the nodes.
///
/// # Panics
///
/// All, if there are not as many machines as nodes.
impl Net {
    /// Sends what the machines have to send, lets time pass until something happens, and hands in
    /// what has arrived by then. The application acts between steps; what it does is sent at the
    /// same instant, at the start of the next.
    ///
    /// # Errors
    ///
    /// [`Fault`] if a machine cannot be driven.
    pub fn step(&mut self, machines: &mut [&mut dyn Machine]) -> Result<Step, Fault> {
        self.step_until(machines, Instant::MAX)
    }

    /// As [`Self::step`], but no further than `deadline`.
    ///
    /// # Errors
    ///
    /// [`Fault`] if a machine cannot be driven.
    pub fn step_until(
        &mut self,
        machines: &mut [&mut dyn Machine],
        deadline: Instant,
    ) -> Result<Step, Fault> {
        assert_eq!(machines.len(), self.nodes.len(), "as many machines as nodes");
        // The application may have touched any of them.
        (0..machines.len()).for_each(|index| self.mark(NodeId::new(index)));
        self.turn(machines, deadline)
    }

    /// Steps until `deadline`, the application looking on. At the end, everything due by then has
    /// arrived and been answered. Costs nothing for nodes that nothing happens to.
    ///
    /// With [`Instant::MAX`] it runs until nothing is left to happen, which machines that keep
    /// connections alive never allow.
    ///
    /// # Errors
    ///
    /// [`Fault`] if a machine cannot be driven.
    pub fn run_until(
        &mut self,
        machines: &mut [&mut dyn Machine],
        deadline: Instant,
    ) -> Result<Step, Fault> {
        let mut step = self.step_until(machines, deadline)?;
        while step == Step::Due {
            step = self.turn(machines, deadline)?;
        }
        Ok(step)
    }

    /// As [`Self::run_until`], for a length of time.
    ///
    /// # Errors
    ///
    /// [`Fault`] if a machine cannot be driven.
    pub fn run_for(
        &mut self,
        machines: &mut [&mut dyn Machine],
        span: Duration,
    ) -> Result<Step, Fault> {
        self.run_until(machines, self.now + span)
    }

    /// Sends and hands in everything that can be without time passing.
    ///
    /// # Errors
    ///
    /// [`Fault`] if a machine cannot be driven.
    pub fn exchange(&mut self, machines: &mut [&mut dyn Machine]) -> Result<(), Fault> {
        self.run_until(machines, self.now).map(drop)
    }

    /// One step that polls only the machines that are due.
    fn turn(
        &mut self,
        machines: &mut [&mut dyn Machine],
        deadline: Instant,
    ) -> Result<Step, Fault> {
        self.transmit(machines)?;
        while let Some(next) = self.next_event().filter(|next| *next <= deadline.max(self.now)) {
            self.move_clock(next)?;
            self.wake(machines);
            self.receive(machines);
            if !self.due.is_empty() {
                return Ok(Step::Due);
            }
        }
        if deadline == Instant::MAX {
            return Ok(Step::Idle);
        }
        if deadline > self.now {
            self.move_clock(deadline)?;
        }
        Ok(Step::Deadline)
    }

    /// Polls every machine that is due and awake, in order.
    fn transmit(&mut self, machines: &mut [&mut dyn Machine]) -> Result<(), Fault> {
        let mut due = core::mem::take(&mut self.due);
        due.sort_unstable();
        let mut result = Ok(());
        for node in due.drain(..) {
            self.is_due[node.index()] = false;
            let place = &self.nodes[node.index()];
            if place.is_awake(self.now) {
                self.drain_socket(node, machines);
                result = result.and_then(|()| self.poll(node, machines[node.index()]));
            } else if let Some(at) = place.next_call(self.now) {
                self.wakes.set_earlier(node, at);
            }
        }
        // Draining sockets has marked nodes that have just been polled.
        self.due.drain(..).for_each(|node| self.is_due[node.index()] = false);
        self.due = due;
        result
    }

    /// Sends what one machine has to send, and notes when it wants to be called again.
    fn poll(&mut self, node: NodeId, machine: &mut dyn Machine) -> Result<(), Fault> {
        let now = self.now;
        let mut timeout = None;
        for _ in 0..LATE_POLLS_MAX {
            self.send_all(node, machine)?;
            timeout = machine.poll_timeout();
            if timeout.is_none_or(|at| at > now) {
                if !self.nodes[node.index()].ticks() {
                    self.wakes.set(node, timeout);
                }
                return Ok(());
            }
        }
        Err(Fault::DeadlineNotActedOn { node, now, timeout: timeout.unwrap_or(now) })
    }

    fn send_all(&mut self, node: NodeId, machine: &mut dyn Machine) -> Result<(), Fault> {
        // Taken out so that it can be read while the network is written to.
        let mut buffer = core::mem::take(&mut self.buffer);
        let mut result = Err(Fault::EndlessTransmit { node, now: self.now });
        for _ in 0..TRANSMITS_MAX {
            match machine.poll_transmit(self.now, &mut buffer) {
                Ok(None) => {
                    result = Ok(());
                    break;
                }
                Ok(Some(transmit)) => match buffer.get(..transmit.len) {
                    Some(bytes) => self.depart_train(node, transmit, bytes),
                    None => {
                        result = Err(Fault::TransmitTooLong { node, len: transmit.len });
                        break;
                    }
                },
                Err(short) if (buffer.len() + 1..=BUFFER_MAX).contains(&short.needed) => {
                    buffer.resize(short.needed, 0);
                }
                Err(short) => {
                    result = Err(Fault::BufferNeverLongEnough { node, needed: short.needed });
                    break;
                }
            }
        }
        self.buffer = buffer;
        result
    }

    fn depart_train(&mut self, node: NodeId, transmit: Transmit, bytes: &[u8]) {
        let Transmit { to, ecn, segment_len, .. } = transmit;
        match segment_len {
            Some(len) => bytes.chunks(usize::from(len.get())).for_each(|bytes| {
                self.depart(node, to, ecn, bytes);
            }),
            // An empty datagram is one too.
            None => {
                self.depart(node, to, ecn, bytes);
            }
        }
    }

    fn next_event(&mut self) -> Option<Instant> {
        let wake = self.wakes.earliest().map(|(_, at)| at);
        let next = [self.flights.next_arrival(), wake].into_iter().flatten().min()?;
        (next < Instant::MAX).then_some(next)
    }

    /// Moves the clock to `to`, or leaves it where it is if that has passed.
    fn move_clock(&mut self, to: Instant) -> Result<(), Fault> {
        if to > self.now {
            self.now = to;
            self.rounds = 0;
            return Ok(());
        }
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Err(Fault::EndlessExchange { now: self.now });
        }
        Ok(())
    }

    /// Calls the nodes whose time has come.
    fn wake(&mut self, machines: &mut [&mut dyn Machine]) {
        while let Some((node, _)) = self.wakes.earliest().filter(|(_, at)| *at <= self.now) {
            let place = &mut self.nodes[node.index()];
            let next = place.on_wake(self.now);
            self.wakes.set(node, next);
            if place.is_awake(self.now) {
                self.mark(node);
                self.drain_socket(node, machines);
            }
        }
    }

    /// Hands over what has arrived by now, or leaves it in the socket of a sleeping node.
    fn receive(&mut self, machines: &mut [&mut dyn Machine]) {
        while let Some(id) = self.flights.poll_arrival(self.now) {
            let (node, fate) = self.land(id);
            if let Some(taps) = &mut self.taps {
                let label = self.flights.label(id);
                let (from, to, ecn) = (label.from, label.to, label.ecn);
                let bytes = self.flights.bytes(id);
                taps.arrival(node, &Sighting { at: self.now, from, to, ecn, bytes }, fate);
            }
            match (node, fate) {
                (Some(node), Arrival::Taken { .. }) => {
                    if self.nodes[node.index()].is_awake(self.now) {
                        self.hand_over(node, id, machines);
                    }
                }
                _ => self.flights.finish(id),
            }
        }
    }

    /// Finds out where a copy arrives, puts it into the socket if that node sleeps, and counts.
    fn land(&mut self, id: FlightId) -> (Option<NodeId>, Arrival) {
        let label = self.flights.label(id);
        let len = self.flights.bytes(id).len();
        let Some(&node) = self.addresses.get(&label.to) else {
            self.counters_of(label.path).vanished += 1;
            return (None, Arrival::Vanished);
        };
        if let Some(path) = label.path {
            self.paths[path as usize].on_arrival(label.number);
        }
        let place = &mut self.nodes[node.index()];
        if !place.is_awake(self.now) {
            if !place.socket.push(id, len) {
                self.counters_of(label.path).socket_full += 1;
                return (Some(node), Arrival::SocketFull);
            }
            if let Some(at) = place.next_call(self.now) {
                self.wakes.set_earlier(node, at);
            }
        }
        (Some(node), Arrival::Taken { sent: label.sent })
    }

    fn drain_socket(&mut self, node: NodeId, machines: &mut [&mut dyn Machine]) {
        while let Some(id) = self.nodes[node.index()].socket.pop() {
            self.hand_over(node, id, machines);
        }
    }

    fn hand_over(&mut self, node: NodeId, id: FlightId, machines: &mut [&mut dyn Machine]) {
        let label = self.flights.label(id);
        let bytes = self.flights.bytes(id);
        let len = bytes.len() as u64;
        let received = Received { from: label.from, ecn: label.ecn };
        let answer = machines[node.index()].handle_datagram(self.now, received, bytes);
        self.flights.finish(id);
        if let Err(reason) = answer {
            self.nodes[node.index()].refused[reason.index()] += 1;
        }
        let counters = self.counters_of(label.path);
        counters.delivered += 1;
        counters.delivered_bytes += len;
        self.mark(node);
    }

    fn counters_of(&mut self, path: Option<u32>) -> &mut crate::Counters {
        match path {
            Some(path) => &mut self.paths[path as usize].counters,
            None => &mut self.injected,
        }
    }

    fn mark(&mut self, node: NodeId) {
        let is_due = &mut self.is_due[node.index()];
        if !core::mem::replace(is_due, true) {
            self.due.push(node);
        }
    }
}
