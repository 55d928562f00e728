//! Captures as Wireshark's command-line tool reads them.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core, reason = "tests have std")]

mod common;

use std::net::SocketAddr;
use std::process::Command;

use bowline_core::{Address, Duration};
use bowline_sim::{Link, Mailbox, Net, Vantage};
use common::after;

/// A network of an IPv4, two IPv6 and two raw addresses.
fn mixed() -> Net {
    let mut net = Net::new(1).starting_at(after(Default::default(), 86_400_000_007));
    for text in ["192.0.2.1:4000", "[2001:db8::1]:5000", "[2001:db8::2]:65535"] {
        net.add_node(text.parse::<SocketAddr>().unwrap().into()).unwrap();
    }
    for raw in [&b"console-session-0001"[..], &[9]] {
        net.add_node(Address::from_raw(raw).unwrap()).unwrap();
    }
    net.set_default_link(
        Link::PERFECT.with_delay(Duration::from_millis(3)).with_duplicate(200_000, Duration::ZERO),
    );
    net
}

/// Everybody sends everybody datagrams of lengths that matter to a checksum.
fn chat(net: &mut Net) {
    let mut mailboxes: Vec<Mailbox> = (0..net.node_count()).map(|_| Mailbox::new()).collect();
    for (from, mailbox) in mailboxes.iter_mut().enumerate() {
        for to in 0..net.node_count() {
            for len in [0, 1, 2, 3, 1_199, 1_200, 9_001, 65_507] {
                let byte = (from * 16 + to) as u8;
                mailbox.send(net.address(to), &vec![byte; len]);
            }
        }
    }
    let mut machines: Vec<_> =
        mailboxes.iter_mut().map(|mailbox| mailbox as &mut dyn bowline_core::Machine).collect();
    net.run_for(&mut machines, Duration::from_secs(1)).unwrap();
}

#[test]
fn tshark_finds_nothing_wrong_with_a_capture() {
    let version = Command::new("tshark").arg("--version").output();
    if version.is_err() {
        println!("SKIPPED: tshark not found");
        return;
    }
    for vantage in [Vantage::Departures, Vantage::Arrivals, Vantage::At(3.into())] {
        let mut net = mixed();
        net.start_pcap(vantage);
        chat(&mut net);
        let total = net.total();
        let expected = match vantage {
            Vantage::Departures => total.sent,
            Vantage::Arrivals => total.delivered,
            // Its own datagrams to itself are seen twice.
            Vantage::At(node) => (0..5)
                .map(|other| net.counters(node, other).sent + net.counters(other, node).delivered)
                .sum(),
        };
        let pcap = net.pcap().unwrap();
        assert_eq!(pcap.skipped(), 0);
        let name = format!("bowline-sim-{}-{expected}.pcap", std::process::id());
        let file = std::env::temp_dir().join(name);
        pcap.drain(|bytes| std::fs::write(&file, bytes).unwrap());

        // Status 1 is good, 2 unverified; fields in this order, a line per packet.
        let fields = "frame.time_epoch ip.checksum.status udp.checksum.status udp.length udp.srcport \
                      udp.dstport _ws.malformed _ws.expert.severity";
        let mut tshark = Command::new("tshark");
        tshark.args(["-n", "-T", "fields", "-E", "separator=,", "-r"]).arg(&file);
        tshark.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
        // Ports and payloads that look like some protocol are no concern of this test.
        tshark.args(["-d", "udp.port==1-65535,data"]);
        for field in fields.split_whitespace() {
            tshark.args(["-e", field]);
        }
        let output = tshark.output().unwrap();
        std::fs::remove_file(&file).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(!stderr.contains("cut short") && !stderr.contains("damaged"), "{stderr}");

        let stdout = String::from_utf8(output.stdout).unwrap();
        let mut lines = 0;
        for line in stdout.lines() {
            let [time, ip, udp, len, source, target, malformed, severity] =
                line.split(',').collect::<Vec<_>>()[..]
            else {
                panic!("{line}")
            };
            lines += 1;
            assert!(time == "86400.000007000" || time == "86400.003007000", "{line}");
            // IPv6 has no checksum of its own.
            assert!(ip == "1" || ip.is_empty(), "{line}");
            assert_eq!(udp, "1", "{line}");
            let payload = len.parse::<usize>().unwrap() - 8;
            assert!([0, 1, 2, 3, 1_199, 1_200, 9_001, 65_507].contains(&payload), "{line}");
            for port in [source, target] {
                assert!(["4000", "5000", "65535", "1"].contains(&port), "{line}");
            }
            assert_eq!((malformed, severity), ("", ""), "{line}");
        }
        assert_eq!(lines, expected);
    }
}
