//! Writes what congestion controllers make of a bottleneck as a table; `cargo xtask shape` shows what changed.

use bowline_core::Duration;
use bowline_tests::shape::{Kind, Scenario, run};

const LINK: u64 = 2_500_000;
const ROUND_TRIP: Duration = Duration::from_millis(50);
/// Bytes that fill the path.
const PRODUCT: u64 = 125_000;

fn bottleneck(queue: u64, flows: &[Kind], secs: u64) -> Scenario {
    Scenario {
        rate: LINK,
        queue,
        round_trip: ROUND_TRIP,
        jitter: Duration::ZERO,
        loss: 0,
        poll: Duration::from_millis(1),
        span: Duration::from_secs(secs),
        flows: flows.to_vec(),
    }
}

fn millis(span: Duration) -> f64 {
    span.as_micros() as f64 / 1_000.0
}

fn row(what: &str, scenario: &Scenario) {
    let shape = run(scenario, 1);
    let of_link = |bytes: u64| {
        let carried = scenario.rate as f64 * scenario.span.as_micros() as f64 / 1e6;
        bytes as f64 / carried
    };
    let total: u64 = shape.shares.iter().map(|share| share.delivered).sum();
    let first = shape.shares.first().map_or(0, |share| share.delivered);
    let last = shape.shares.last().map_or(1, |share| share.delivered.max(1));
    println!(
        "| {what} | {:.3} | {:.1} | {:.1} | {} | {:.3} | {:.2} |",
        of_link(total),
        millis(shape.wait(50)),
        millis(shape.wait(95)),
        shape.dropped,
        shape.jain(),
        first as f64 / last as f64,
    );
}

fn main() {
    use Kind::{Cubic, Fixed, Model, NewReno};
    println!("# What controllers make of a bottleneck\n");
    println!(
        "20 Mbit/s, 50 ms of round trip, 1,200-byte datagrams, drop-tail; polled each ms unless it says"
    );
    println!(
        "otherwise. Made by `cargo xtask shape`. Flows are the controllers alone, without the protocol."
    );
    println!(
        "The queue is in bandwidth-delay products; *first / last* is the rate of the first flow over that of"
    );
    println!("the last.\n");
    println!(
        "| path and flows | utilisation | queue p50, ms | p95 | dropped | Jain | first / last |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for kind in [Fixed, NewReno, Cubic, Model] {
        for (name, queue) in [("0.5", 65_536), ("4", 4 * PRODUCT)] {
            row(&format!("{kind:?} alone, queue {name}, 30 s"), &bottleneck(queue, &[kind], 30));
        }
        let lossy = Scenario { loss: 10_000, ..bottleneck(65_536, &[kind], 5) };
        row(&format!("{kind:?}, queue 0.5, 1 % loss, 5 s"), &lossy);
        let slow = Scenario { poll: Duration::from_micros(16_667), ..lossy };
        row(&format!("{kind:?}, queue 0.5, 1 % loss, 5 s, 60 Hz"), &slow);
        let rough = Scenario {
            loss: 200_000,
            jitter: Duration::from_millis(20),
            ..bottleneck(PRODUCT, &[kind], 30)
        };
        row(&format!("{kind:?}, queue 1, 20 % loss, jitter 20 ms, 30 s"), &rough);
        let eight = bottleneck(PRODUCT, &[kind; 8], 120);
        row(&format!("{kind:?} eight times, queue 1, 120 s"), &eight);
        let eight = bottleneck(4 * PRODUCT, &[kind; 8], 120);
        row(&format!("{kind:?} eight times, queue 4, 120 s"), &eight);
        for other in [Cubic, NewReno] {
            for times in [1, 4] {
                let pair = bottleneck(times * PRODUCT, &[kind, other], 120);
                row(&format!("{kind:?} and {other:?}, queue {times}, 120 s"), &pair);
            }
        }
    }
}
