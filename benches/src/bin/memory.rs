//! What sessions take of memory, as Markdown.

use bowline_benches::Workload;
use bowline_benches::protocol::native;
use bowline_benches::server::Server;
use bowline_core::Mode;
use bowline_crypto::SipHash;
use bowline_native::{Config, Domain, Endpoint, Fixed, Heap, Limits, Peer, Storage};
use bowline_transport::fragments::Assembly;
use bowline_transport::record::Record;

/// How many peers there are where it is told what many cost.
const CROWDS: [u32; 3] = [100, 1_000, 10_000];

fn main() {
    if std::env::args().nth(1).as_deref() == Some("crowds") {
        // For the table of what many cost: peers, bytes of an idle and of a busy one.
        for peers in CROWDS {
            println!("{peers}\t{}\t{}", per_peer(peers, &[]), per_busy_peer(peers));
        }
        return;
    }
    println!("| | bytes |\n|---|---:|");
    size::<Peer>("`Peer`");
    size::<Domain>("`Domain`");
    size::<Record>("`Record`");
    size::<Assembly>("`Assembly`");
    size::<Endpoint<&mut dyn Storage>>("`Endpoint`, memory apart");
    size::<Heap>("`Heap`, what it allocated apart");
    fixed::<1, 6, 14>();
    fixed::<1, 24, 40>();
    fixed::<4, 24, 56>();
    fixed::<4, 96, 160>();
    println!();
    println!("| bytes per peer, `Heap` | idle | one mode used | three modes used |");
    println!("|---|---:|---:|---:|");
    for peers in [1, 100, 1_000, 10_000] {
        let [idle, one, three] =
            [&[], &Mode::GODOT[2..], &Mode::GODOT[..]].map(|modes| per_peer(peers, modes));
        println!("| {peers} peers | {idle} | {one} | {three} |");
    }
}

fn size<T>(name: &str) {
    println!("| {name} | {} |", size_of::<T>());
}

/// The size of memory that is good for peers of `Config::small`.
fn fixed<const PEERS: usize, const RECORDS: usize, const BLOCKS: usize>() {
    let mut memory = Fixed::<PEERS, 1, RECORDS, BLOCKS>::new();
    let endpoint = Endpoint::plain(Config::small(1), &SipHash, &[1; 32], &mut memory);
    assert!(endpoint.is_ok(), "{:?}", endpoint.err());
    size::<Fixed<PEERS, 1, RECORDS, BLOCKS>>(&format!("`Fixed<{PEERS}, 1, {RECORDS}, {BLOCKS}>`"));
}

/// Bytes that a server has allocated after each of its peers used `modes` of one channel and fell
/// silent, by peer.
fn per_peer(peers: u32, modes: &[Mode]) -> usize {
    let mut server = Server::new(native(Config::new(1), Limits::for_peers(peers)), peers);
    server.converse(modes);
    server.server().storage().allocated() / peers as usize
}

/// The same when all of them talk, each in two modes, and nothing has been acknowledged yet of what the
/// server sent last.
fn per_busy_peer(peers: u32) -> usize {
    let mut server = Server::new(native(Config::new(1), Limits::for_peers(peers)), peers);
    for _ in 0..20 {
        server.prepare();
        server.tick();
    }
    server.server().storage().allocated() / peers as usize
}
