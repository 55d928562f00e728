//! What came of it, as tables or as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bowline::{Duration, Mode};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde_json::{Value, json};

use super::lane::{CHANNELS, Direction, Lane, MODES};
use super::options::Options;
use super::oracle::Oracle;
use super::relay::Counts;
use super::tally::{ENDS, LaneTally, Spread, Tally, name};
use super::traffic::Traffic;

/// Bytes of IPv4 and UDP header per datagram, which no endpoint sees.
const HEADERS_LEN: u64 = 28;

/// All there is to say at the end.
#[derive(Debug)]
pub(super) struct Report<'o> {
    options: &'o Options,
    tally: Tally,
    breaches: Vec<String>,
    pub(super) breach_count: u64,
    /// Sending, and waiting for the rest to arrive.
    pub(super) spans: [Duration; 2],
    /// Unreliable-ordered messages that were dropped as late, by channel.
    pub(super) late: [u64; CHANNELS],
    pub(super) traffic: Traffic,
    /// To the server, and to the clients.
    pub(super) network: [Counts; 2],
    /// Datagrams that left one socket and never came to the next.
    pub(super) dropped_by_system: u64,
    /// Bytes that the server's endpoint has from the allocator.
    pub(super) server_memory: usize,
    /// Sessions and blocks of the server that are in use after the end.
    pub(super) in_use: (u32, u32),
    /// Sessions whose end did not arrive in time.
    pub(super) unclosed: usize,
}

/// One line about messages: a lane's, a mode's, or all.
struct Row<'r> {
    mode: Option<Mode>,
    channel: Option<u8>,
    tally: &'r LaneTally,
    late: u64,
    /// Bytes of frames that carried these messages, whenever they were sent.
    wire: u64,
}

/// One line about messages that were spread over the same number of datagrams.
struct SpreadRow {
    mode: Mode,
    datagrams: usize,
    sent: u64,
    delivered: u64,
    /// How many of a hundred have all their datagrams arrive, by the network's loss.
    arrive: f64,
    /// Two standard deviations of that, for so many messages.
    margin: f64,
}

impl<'o> Report<'o> {
    /// A report of what the oracle knows, which is all it knew.
    pub(super) fn new(options: &'o Options, oracle: &mut Oracle) -> Self {
        Self {
            options,
            tally: oracle.tally.clone(),
            breaches: oracle.breaches.clone(),
            breach_count: oracle.breach_count,
            spans: [Duration::ZERO; 2],
            late: [0; CHANNELS],
            traffic: Traffic::default(),
            network: [Counts::default(); 2],
            dropped_by_system: 0,
            server_memory: 0,
            in_use: (0, 0),
            unclosed: 0,
        }
    }

    /// Calls `show` for each lane, each mode (with all its channels), and everything.
    fn each_row(&self, mut show: impl FnMut(&Row<'_>)) {
        for mode in MODES {
            let lanes = || Lane::all().filter(|lane| lane.mode == mode);
            for lane in lanes() {
                let wire = self.traffic.lane(lane);
                let tally = self.tally.lane(lane);
                let channel = lane.channel.0;
                let late = self.late_on(lane);
                show(&Row { mode: Some(mode), channel: Some(channel), tally, late, wire });
            }
            let wire = lanes().map(|lane| self.traffic.lane(lane)).sum();
            let late = lanes().map(|lane| self.late_on(lane)).sum();
            let tally = &self.tally.total(Some(mode));
            show(&Row { mode: Some(mode), channel: None, tally, late, wire });
        }
        let wire = Lane::all().map(|lane| self.traffic.lane(lane)).sum();
        let late = self.late.iter().sum();
        show(&Row { mode: None, channel: None, tally: &self.tally.total(None), late, wire });
    }

    fn late_on(&self, lane: Lane) -> u64 {
        let late = self.late.get(usize::from(lane.channel.0)).copied().unwrap_or(0);
        if lane.mode == Mode::UnreliableOrdered { late } else { 0 }
    }

    /// Calls `show` for each number of datagrams over which messages of a mode were spread.
    fn each_spread(&self, mut show: impl FnMut(&SpreadRow)) {
        for mode in Mode::GODOT {
            for (at, spread) in self.tally.spread(mode).iter().enumerate() {
                let datagrams = at + 1;
                let arrive = (1.0 - self.options.loss / 100.0).powi(datagrams as i32);
                let deviation = (arrive * (1.0 - arrive) / spread.sent as f64).sqrt();
                let Spread { sent, delivered } = *spread;
                let (arrive, margin) = (100.0 * arrive, 200.0 * deviation);
                if sent > 0 {
                    show(&SpreadRow { mode, datagrams, sent, delivered, arrive, margin });
                }
            }
        }
    }

    /// How many more bytes were sent than messages have, in a hundred.
    fn overhead(&self) -> f64 {
        over(self.traffic.bytes, self.tally.total(None).sent_bytes)
    }
}

impl Row<'_> {
    fn lost(&self) -> u64 {
        (self.tally.sent - self.tally.delivered).saturating_sub(self.late)
    }

    fn overhead(&self) -> f64 {
        over(self.wire, self.tally.sent_bytes)
    }
}

/// How much more `whole` is than `part`, in a hundred of `part`.
fn over(whole: u64, part: u64) -> f64 {
    share(whole, part) - 100.0
}

/// `part` in a hundred of `whole`.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// What can be told of the lanes while messages still come and go.
pub(super) fn lane_table(tally: &Tally) -> Table {
    let mut table = table(&["mode", "channel", "sent", "delivered", "p50 ms", "p95 ms", "p99 ms"]);
    for lane in Lane::all() {
        let lane_tally = tally.lane(lane);
        let mut row = vec![lane.mode.to_string(), lane.channel.0.to_string()];
        row.extend([lane_tally.sent, lane_tally.delivered].map(thousands));
        row.extend(PERCENTILES.map(|percent| millis(lane_tally.latency(percent))));
        table.add_row(row);
    }
    table
}

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');
const STYLE: TableStyle = TableStyle::new().header_separator(RULE).bottom_border(RULE);
const PERCENTILES: [f64; 3] = [50.0, 95.0, 99.0];

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(heads);
    for (at, column) in table.column_iter_mut().enumerate() {
        let alignment = if at == 0 { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(alignment);
    }
    table
}

/// 1234567 as 1,234,567.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn millis(latency: Option<Duration>) -> String {
    latency.map_or("-".to_owned(), |latency| format!("{:.1}", latency.as_micros() as f64 / 1e3))
}

fn secs(span: Duration) -> f64 {
    span.as_millis() as f64 / 1e3
}

/// Prints everything for people.
pub(super) fn print_tables(report: &Report<'_>, colours: bool) -> io::Result<()> {
    let out = &mut io::stdout().lock();
    writeln!(out, "{}", message_table(report))?;
    writeln!(
        out,
        "Latency is from send to receive, in ms. Wire bytes are those of the frames that carried the\n\
         messages, each time they were sent; what all lanes share is below.\n"
    )?;
    writeln!(out, "{}", end_table(report))?;
    writeln!(
        out,
        "Every message had a tag, and its sender was told how it ended. On channel 1 some had 50 ms to live,\n\
         and some were withdrawn a moment after; in mode reliable-latest newer ones replace older ones.\n"
    )?;
    writeln!(out, "{}", spread_table(report))?;
    writeln!(
        out,
        "A message that is not sent again arrives if all its n datagrams do; ± is two standard deviations\n\
         for so many messages. Of the unreliable-ordered ones, those dropped as late are missing too.\n"
    )?;
    write_wire(out, report)?;
    write_network(out, report)?;
    write_verdict(out, report, colours)?;
    out.flush()
}

fn message_table(report: &Report<'_>) -> Table {
    let mut table = table(&[
        "mode",
        "channel",
        "sent",
        "delivered",
        "missing",
        "late",
        "bytes",
        "on the wire",
        "overhead",
        "p50",
        "p95",
        "p99",
    ]);
    report.each_row(|row| {
        let mode = row.mode.map_or("all".to_owned(), |mode| mode.to_string());
        let channel = row.channel.map_or("all".to_owned(), |channel| channel.to_string());
        let tally = row.tally;
        let mut cells = vec![mode, channel];
        let counts =
            [tally.sent, tally.delivered, row.lost(), row.late, tally.sent_bytes, row.wire];
        cells.extend(counts.map(thousands));
        cells.push(format!("{:.1} %", row.overhead()));
        cells.extend(PERCENTILES.map(|percent| millis(tally.latency(percent))));
        table.add_row(cells);
    });
    table
}

fn end_table(report: &Report<'_>) -> Table {
    let heads = ["mode", "sent"].into_iter().chain(ENDS.map(name));
    let mut table = table(&heads.collect::<Vec<_>>());
    for mode in MODES.map(Some).into_iter().chain([None]) {
        let tally = report.tally.total(mode);
        let mut row = vec![mode.map_or("all".to_owned(), |mode| mode.to_string())];
        row.push(thousands(tally.sent));
        row.extend(tally.ends.map(thousands));
        table.add_row(row);
    }
    table
}

fn spread_table(report: &Report<'_>) -> Table {
    let expected = "(1 - loss)^n";
    let mut table = table(&["mode", "datagrams n", "sent", "delivered", "share", expected]);
    report.each_spread(|row| {
        table.add_row([
            row.mode.to_string(),
            row.datagrams.to_string(),
            thousands(row.sent),
            thousands(row.delivered),
            format!("{:.1} %", share(row.delivered, row.sent)),
            format!("{:.1} ± {:>4.1} %", row.arrive, row.margin),
        ]);
    });
    table
}

fn write_wire(out: &mut impl Write, report: &Report<'_>) -> io::Result<()> {
    let traffic = &report.traffic;
    writeln!(
        out,
        "Wire: {} datagrams of {} bytes in all, for {} bytes of messages: {:.1} % overhead.",
        thousands(traffic.datagrams),
        thousands(traffic.bytes),
        thousands(report.tally.total(None).sent_bytes),
        report.overhead(),
    )?;
    let frames: u64 = Lane::all().map(|lane| traffic.lane(lane)).sum();
    let parts = [
        ("frames with messages", frames),
        ("packet heads", traffic.heads),
        ("acks", traffic.acks),
        ("CRCs", traffic.trailers),
        ("control frames", traffic.control),
        ("handshakes", traffic.handshakes),
        ("not understood", traffic.unknown),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| format!("{name} {:.2} %", share(*bytes, traffic.bytes)))
        .collect();
    writeln!(out, "      Of these: {}.", parts.join(", "))?;
    let headers = HEADERS_LEN * traffic.datagrams;
    writeln!(out, "      IPv4 and UDP headers take another {} bytes.", thousands(headers))
}

fn write_network(out: &mut impl Write, report: &Report<'_>) -> io::Result<()> {
    for (name, counts) in ["to server ", "to clients"].iter().zip(&report.network) {
        writeln!(
            out,
            "Network {name}: {} datagrams in, {} lost ({:.2} %), {} twice, {} held back, {} out.",
            thousands(counts.taken),
            thousands(counts.lost),
            share(counts.lost, counts.taken),
            thousands(counts.duplicated),
            thousands(counts.held_back),
            thousands(counts.forwarded),
        )?;
    }
    let overflowed = report.network.iter().map(|counts| counts.overflowed).sum::<u64>();
    let dropped = overflowed + report.dropped_by_system;
    if dropped > 0 {
        writeln!(out, "        This machine's buffers lost {} more.", thousands(dropped))?;
    }
    let refused = report.tally.total(None).refused;
    if refused > 0 {
        writeln!(out, "Unreliable messages not taken for want of room: {}.", thousands(refused))?;
    }
    let (peers, blocks) = report.in_use;
    writeln!(
        out,
        "Server memory: {} KiB at most; {peers} sessions and {blocks} blocks in use at the end.",
        thousands(report.server_memory as u64 / 1024)
    )?;
    if report.unclosed > 0 {
        writeln!(out, "{} sessions had not ended 3 s after they were closed.", report.unclosed)?;
    }
    Ok(())
}

fn write_verdict(out: &mut impl Write, report: &Report<'_>, colours: bool) -> io::Result<()> {
    let total = report.tally.total(None);
    let style = |text| console::style(text).force_styling(colours).bold();
    if report.breach_count == 0 {
        return writeln!(
            out,
            "\n{}: every promise was kept. {} messages of {} bytes were delivered and compared in full, and each\n\
             that was sent had one end; the last reliable one arrived within {:.1} s of the last that was sent.",
            style("Verdict").green(),
            thousands(total.delivered),
            thousands(total.delivered_bytes),
            secs(report.spans[1]),
        );
    }
    writeln!(out, "\n{}: {} broken.", style("Verdict").red(), promises(report.breach_count))?;
    report.breaches.iter().try_for_each(|breach| writeln!(out, "  {breach}"))?;
    let untold = report.breach_count - report.breaches.len() as u64;
    if untold > 0 { writeln!(out, "  and {untold} more") } else { Ok(()) }
}

fn promises(count: u64) -> String {
    if count == 1 { "a promise was".to_owned() } else { format!("{count} promises were") }
}

/// Prints everything for programs.
pub(super) fn print_json(report: &Report<'_>) -> io::Result<()> {
    let out = &mut io::stdout().lock();
    serde_json::to_writer_pretty(&mut *out, &document(report))?;
    writeln!(out)?;
    out.flush()
}

fn document(report: &Report<'_>) -> Value {
    let options = report.options;
    let total = report.tally.total(None);
    json!({
        "ok": report.breach_count == 0,
        "breaches": { "count": report.breach_count, "first": report.breaches },
        "options": {
            "loss_percent": options.loss,
            "duplicates_percent": options.duplicates,
            "reorder_percent": options.reorder,
            "delay_ms": options.delay,
            "jitter_ms": options.jitter,
            "clients": options.clients,
            "seed": options.seed,
            "seconds": options.seconds,
        },
        "seconds": { "sending": secs(report.spans[0]), "waiting": secs(report.spans[1]) },
        "lanes": lane_values(report),
        "spread": spread_values(report),
        "wire": wire_value(report, &total),
        "network": Direction::BOTH.map(|direction| network_value(report, direction)),
        "dropped_by_system": report.dropped_by_system,
        "server": {
            "memory_bytes": report.server_memory,
            "sessions_in_use_at_end": report.in_use.0,
            "blocks_in_use_at_end": report.in_use.1,
        },
        "unclosed_sessions": report.unclosed,
    })
}

/// One for each lane; with `channel` null for a whole mode, with `mode` null for everything.
fn lane_values(report: &Report<'_>) -> Vec<Value> {
    let mut values = Vec::new();
    report.each_row(|row| {
        let micros = |percent| row.tally.latency(percent).map(Duration::as_micros);
        values.push(json!({
            "mode": row.mode.map(|mode| mode.to_string()),
            "channel": row.channel,
            "sent": row.tally.sent,
            "delivered": row.tally.delivered,
            "lost": row.lost(),
            "late": row.late,
            "not_taken": row.tally.refused,
            "ends": ENDS.map(name).into_iter().zip(row.tally.ends).collect::<BTreeMap<_, _>>(),
            "message_bytes_sent": row.tally.sent_bytes,
            "message_bytes_delivered": row.tally.delivered_bytes,
            "frame_bytes": row.wire,
            "overhead_percent": row.overhead(),
            "latency_us": { "p50": micros(50.0), "p95": micros(95.0), "p99": micros(99.0) },
        }));
    });
    values
}

fn spread_values(report: &Report<'_>) -> Vec<Value> {
    let mut values = Vec::new();
    report.each_spread(|row| {
        values.push(json!({
            "mode": row.mode.to_string(),
            "datagrams": row.datagrams,
            "sent": row.sent,
            "delivered": row.delivered,
            "delivered_percent": share(row.delivered, row.sent),
            "all_datagrams_arrive_percent": row.arrive,
            "two_deviations_percent": row.margin,
        }));
    });
    values
}

fn wire_value(report: &Report<'_>, total: &LaneTally) -> Value {
    let traffic = &report.traffic;
    json!({
        "datagrams": traffic.datagrams,
        "bytes": traffic.bytes,
        "message_bytes": total.sent_bytes,
        "overhead_percent": report.overhead(),
        "message_frame_bytes": Lane::all().map(|lane| traffic.lane(lane)).sum::<u64>(),
        "head_bytes": traffic.heads,
        "ack_bytes": traffic.acks,
        "crc_bytes": traffic.trailers,
        "control_frame_bytes": traffic.control,
        "handshake_bytes": traffic.handshakes,
        "unknown_bytes": traffic.unknown,
        "ip_and_udp_header_bytes": HEADERS_LEN * traffic.datagrams,
    })
}

fn network_value(report: &Report<'_>, direction: Direction) -> Value {
    let [to_server, to_clients] = &report.network;
    let (name, counts) = match direction {
        Direction::ToServer => ("to server", to_server),
        Direction::ToClient => ("to clients", to_clients),
    };
    json!({
        "direction": name,
        "taken": counts.taken,
        "lost": counts.lost,
        "duplicated": counts.duplicated,
        "held_back": counts.held_back,
        "overflowed": counts.overflowed,
        "forwarded": counts.forwarded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let told = [0, 999, 1_000, 12_345, 1_234_567].map(thousands);
        assert_eq!(told, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn overhead_is_what_comes_on_top() {
        assert_eq!(over(150, 100), 50.0);
        assert_eq!(share(1, 0), 0.0);
    }
}
