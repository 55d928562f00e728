//! What one peer does costs its own quota and its own session, and nobody else.

use bowline_core::{DisconnectReason, DropReason, Duration, Event, Mode, SendError};
use bowline_sim::{Link, PERCENT};
use bowline_tests::attack::Attack;
use bowline_tests::memory::Kind;
use bowline_tests::rogue::Rogue;
use bowline_tests::room::{Plan, Report, run};
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::{Stage, bytes};
use bowline_wire::native::{Frame, Offset, Stream};
use bowline_wire::varint;

/// Three clients that talk to each other through a server of this kind.
const fn plan(kind: Kind) -> Plan<'static> {
    let server = NodePlan::new(kind);
    let span = Duration::from_secs(5);
    // Two of them and all that is short fit into the reserve of a session, or there is plenty of memory: what does
    // not has to wait while others hold the rest.
    let longest = if matches!(kind, Kind::Heap) { 3_000 } else { 250 };
    Plan { seed: 1, server, clients: 3, attacks: &[], heeds: true, late: true, longest, span }
}

/// Asserts that the clients fared no worse than in calm, and tells how they did.
fn compare(calm: &Report, plan: &Plan<'_>) -> Report {
    let report = run(plan);
    let what = format!("{:?}, heeded: {}: {:?}", plan.server.kind, plan.heeds, plan.attacks);
    for mode in Mode::GODOT {
        let (then, now) = (calm.quantile(mode, 990), report.quantile(mode, 990));
        assert!(now <= then.saturating_mul(2), "{what}: {mode} took {now:?} instead of {then:?}");
    }
    assert_eq!((report.full, report.missing), (0, 0), "{what}");
    let spread = calm.datagrams / 30;
    assert!(calm.datagrams.abs_diff(report.datagrams) < spread, "{what}: {}", report.datagrams);
    let lost = calm.arrived().saturating_sub(report.arrived());
    assert!(lost < calm.arrived() / 50, "{what}: {lost} messages fewer arrived");
    assert!(report.intruders as usize >= plan.attacks.len(), "{what}: {}", report.intruders);
    report
}

fn each_alone(kind: Kind, count: usize, heeds: bool) {
    let calm = run(&plan(kind));
    println!("{kind:?}, calm: {}", show(&[&calm]));
    let reports: Vec<_> = Attack::ALL
        .iter()
        .map(|attack| {
            let attacks = vec![*attack; count];
            let report = compare(&calm, &Plan { attacks: &attacks, heeds, ..plan(kind) });
            assert!(report.shown_out > 0 || !attack.is_misbehaviour(), "{attack:?}");
            assert!(report.shown_out == 0 || attack.may_be_misbehaviour(), "{attack:?}");
            report
        })
        .collect();
    println!(
        "{kind:?}, the worst of {}: {}",
        reports.len(),
        show(&reports.iter().collect::<Vec<_>>())
    );
}

#[test]
fn whoever_attacks_a_large_server_harms_nobody_else() {
    each_alone(Kind::Heap, 2, true);
}

#[test]
fn whoever_attacks_a_server_short_of_memory_harms_nobody_else() {
    each_alone(Kind::TightHeap, 3, false);
}

#[test]
fn whoever_attacks_a_server_in_arrays_harms_nobody_else() {
    each_alone(Kind::Fixed, 1, false);
}

#[test]
fn all_who_attack_at_once_harm_nobody_else() {
    let calm = run(&plan(Kind::Heap));
    let (first, last) = Attack::ALL.split_at(9);
    for heeds in [false, true] {
        for attacks in [first, last] {
            let report = compare(&calm, &Plan { attacks, heeds, ..plan(Kind::Heap) });
            println!("{} at once: {}", attacks.len(), show(&[&report]));
        }
    }
}

/// What 99 % of messages took at most, in the worst of these.
fn show(reports: &[&Report]) -> String {
    let quantiles = Mode::GODOT.map(|mode| {
        let worst = reports.iter().map(|report| report.quantile(mode, 990).as_micros()).max();
        format!("{mode} {:.1} ms", worst.unwrap_or(0) as f64 / 1e3)
    });
    format!("99 % took at most {}", quantiles.join(", "))
}

/// Ways to keep the memory that was given for a long message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hold {
    /// Is heard, and brings nothing of it.
    Silent,
    /// Brings a byte now and then.
    Trickles,
    /// Says that its beginning was given up, so that short messages seem to stand there, and brings these.
    Voids,
    /// Brings the least that it must.
    Plods,
    /// Gives up the least that it must bring, and says that a message as long begins there.
    Chains,
}

/// Somebody who was given memory of all, and keeps it.
struct Holder {
    rogue: Rogue,
    hold: Hold,
    /// Length of the message with its prefix, and the offset of what is sent next.
    len: u32,
    at: u32,
}

/// The idle timeout of the server that these hold on to.
const IDLE: Duration = Duration::from_secs(1);
/// Of a long message a share of this must come in two idle timeouts.
const SHARES: u32 = 32;
/// How many there are, and sessions with them.
const HOLDERS: u8 = 3;
/// Time between two turns of a holder, and how many there are in two idle timeouts.
const STEP: Duration = Duration::from_millis(500);
const STEPS: u32 = 4;

impl Holder {
    fn new(stage: &mut Stage, hold: Hold, name: &[u8]) -> Self {
        let rogue = Rogue::connect(stage, 0, name);
        let len = rogue.theirs.reliable_max;
        let mut holder = Self { rogue, hold, len, at: 0 };
        holder.bring(stage, &head(len)).expect("it may begin");
        holder
    }

    /// Does what it does, unless it was shown out.
    fn act(&mut self, stage: &mut Stage, step: u32) -> Result<(), DropReason> {
        let least = self.len.div_ceil(SHARES).div_ceil(STEPS - 1);
        match self.hold {
            Hold::Trickles if step.is_multiple_of(STEPS - 1) => self.bring(stage, b"x"),
            Hold::Voids if step == 0 => {
                let begun = self.at;
                self.bring(stage, b"\x03abc")?;
                self.give_up(stage, 0, begun)
            }
            // So that there is something whole whenever it is looked at.
            Hold::Voids => self.bring(stage, b"\x00"),
            Hold::Plods if self.at < self.len => {
                let left = least.min(self.len + 3 - self.at);
                (0..left.div_ceil(1_000)).try_for_each(|n| {
                    self.bring(stage, &[7; 1_000][..(left - n * 1_000).min(1_000) as usize])
                })
            }
            Hold::Chains => {
                let head = head(self.len);
                let begun = self.at - head.len() as u32;
                self.at = begun + least;
                self.bring(stage, &head)?;
                self.give_up(stage, begun, least)
            }
            Hold::Silent | Hold::Trickles | Hold::Plods => self.send(stage, &Frame::Ping),
        }
    }

    fn send(&mut self, stage: &mut Stage, frame: &Frame<'_>) -> Result<(), DropReason> {
        self.rogue.frames(stage, &[*frame])
    }

    fn bring(&mut self, stage: &mut Stage, data: &[u8]) -> Result<(), DropReason> {
        let offset = Offset::Long(Rogue::INITIAL + self.at);
        self.at += data.len() as u32;
        self.send(stage, &Frame::Reliable { channel: 0, offset, data })
    }

    fn give_up(&mut self, stage: &mut Stage, start: u32, len: u32) -> Result<(), DropReason> {
        let offset = Rogue::INITIAL + start;
        self.send(stage, &Frame::Void { stream: Stream::Reliable, channel: 0, offset, len })
    }
}

/// What a message of so many bytes begins with.
fn head(len: u32) -> Vec<u8> {
    let (prefix, prefix_len) = varint::encode(len);
    prefix[..prefix_len].to_vec()
}

/// Some take all the memory that there is for long messages, and somebody else has one for each side. Tells
/// how long it took until both were there, and how many of the holders were shown out by then.
fn outwait(hold: Hold) -> (Duration, usize) {
    let mut server = NodePlan::new(Kind::TightHeap);
    server.config.idle_timeout = IDLE;
    let link = Link::PERFECT.with_delay(Duration::from_millis(20));
    let mut stage = Stage::new(1, &[server, NodePlan::new(Kind::Heap)], 0, link);
    let (there, back) = stage.connect(1, 0);
    let mut holders: Vec<_> = (0..HOLDERS).map(|n| Holder::new(&mut stage, hold, &[n])).collect();

    let begun = stage.now();
    let message = bytes(1, stage.endpoints[1].message_max(there, Mode::Reliable).unwrap());
    stage.send(1, there, 0, Mode::Reliable, &message).unwrap();
    assert_eq!(stage.send(0, back, 1, Mode::Reliable, &message), Err(SendError::Full), "{hold:?}");
    let (mut sent, mut arrived) = (false, [false; 2]);
    let (mut strangers, mut shown_out) = (Vec::new(), 0);
    for step in 0.. {
        holders.retain_mut(|holder| holder.act(&mut stage, step).is_ok());
        stage.run_for(STEP);
        for event in stage.take_events(0) {
            match event {
                Event::Connected(stranger) => strangers.push(stranger),
                Event::Disconnected(stranger, DisconnectReason::TimedOut) => {
                    assert!(strangers.contains(&stranger), "{hold:?}");
                    shown_out += 1;
                }
                Event::Disconnected(_, reason) => panic!("{hold:?}: {reason}"),
                _ => {}
            }
        }
        for stranger in &strangers {
            stage.read(0, *stranger);
        }
        sent = sent || stage.send(0, back, 1, Mode::Reliable, &message).is_ok();
        arrived[0] |= stage.read(0, back).iter().any(|got| got.bytes == message);
        arrived[1] |= stage.read(1, there).iter().any(|got| got.bytes == message);
        let took = stage.now() - begun;
        if arrived == [true; 2] {
            return (took, shown_out);
        }
        assert!(took < Duration::from_secs(1_000), "{hold:?}: {sent} {arrived:?} {shown_out}");
    }
    unreachable!("time ends before")
}

#[test]
fn whoever_keeps_the_memory_for_long_messages_gives_it_back_in_time() {
    // In the worst case they have their turns one after the other.
    let turns = |periods: u64| IDLE.saturating_mul(2 * periods * u64::from(HOLDERS));
    for (hold, most) in [
        (Hold::Silent, turns(2)),
        (Hold::Trickles, turns(2)),
        (Hold::Voids, turns(2)),
        (Hold::Plods, turns(34)),
        (Hold::Chains, turns(34)),
    ] {
        let (took, shown_out) = outwait(hold);
        println!(
            "{hold:?}: it took {} s, and {shown_out} were shown out",
            took.as_millis() / 1_000
        );
        assert!(took < most, "{hold:?}: {took:?}");
        assert_eq!(shown_out == 0, hold == Hold::Plods, "{hold:?}");
    }
}

#[test]
fn who_is_slow_and_honest_may_finish() {
    // Of the longest messages 8 KiB a second are enough, of others 1/32 in two idle timeouts.
    for (len, rate) in [(16 << 20, 10_000), (1 << 20, 2_500), (1 << 18, 800)] {
        let link = Link::PERFECT
            .with_delay(Duration::from_millis(100))
            .with_rate(rate, 16_000)
            .with_loss(PERCENT);
        let mut client = NodePlan::new(Kind::Heap);
        client.config.in_flight_max = 12_000.min(2 * rate as u32);
        let server = NodePlan::new(Kind::Heap);
        let (mut stage, there, back) = Stage::connected(1, [client, server], link);
        let message = bytes(1, len);
        stage.send(0, there, 0, Mode::Reliable, &message).unwrap();
        let begun = stage.now();
        let arrived = loop {
            stage.run_for(Duration::from_secs(1));
            let events = stage.take_events(1);
            assert_eq!(events.iter().find(|event| **event != Event::Readable(back)), None);
            if let Some(arrived) = stage.read(1, back).pop() {
                break arrived;
            }
        };
        assert!(arrived.bytes == message);
        let took = stage.now() - begun;
        println!("{len} bytes at {rate} in a second took {} s", took.as_millis() / 1_000);
        assert!(took > server.config.idle_timeout.saturating_mul(20), "that was not slow");
    }
}
