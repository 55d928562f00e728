//! What a session costs that has nothing to say.

use bowline_core::Duration;
use bowline_sim::{Link, UDP_OVERHEAD};
use bowline_tests::memory::Kind;
use bowline_tests::scenario::NodePlan;
use bowline_tests::stage::Stage;

#[test]
fn an_idle_session_is_kept_alive_for_little() {
    const SECONDS: u64 = 600;
    for ids in [true, false] {
        let mut plan = NodePlan::new(Kind::Heap);
        plan.config.connection_ids = ids;
        let link = Link::BROADBAND;
        let (mut stage, ..) = Stage::connected(1, [plan, plan], link);
        stage.run_for(Duration::from_secs(30));
        stage.take_datagrams();
        stage.run_for(Duration::from_secs(SECONDS));
        let seen = stage.take_datagrams();
        for node in 0..2 {
            let sent: Vec<_> = seen.iter().filter(|seen| seen.by == node).collect();
            let bytes: usize =
                sent.iter().map(|seen| seen.bytes.len() + UDP_OVERHEAD as usize).sum();
            let bits = bytes as u64 * 8;
            println!(
                "idle, connection ids {ids}, node {node}: {} datagrams and {} bit/s with headers",
                sent.len(),
                bits / SECONDS
            );
            // Something at least once per third of the idle timeout of 10 s.
            assert!(sent.len() as u64 >= SECONDS / 4);
            assert!(bits / SECONDS < 400);
        }
        assert_eq!((stage.take_events(0), stage.take_events(1)), (vec![], vec![]));
    }
}
