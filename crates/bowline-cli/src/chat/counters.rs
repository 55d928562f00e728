//! What an endpoint has counted, in the [text format of Prometheus].
//!
//! [text format of Prometheus]: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use bowline::{Duration, Instant};

use crate::Failure;
use crate::recorded::MaybeRecorded;

use super::serve::Caller;

/// Time between two versions of the file.
const EVERY: Duration = Duration::from_secs(5);

/// A file that always holds the counters of a moment ago, all of the same moment.
pub(super) struct Counters {
    file: PathBuf,
    due: Instant,
}

impl Counters {
    /// Nothing is written yet.
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, due: Instant::ZERO }
    }

    /// Writes the file anew now and then.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        endpoint: &mut MaybeRecorded,
        callers: &[Caller],
    ) -> Result<(), Failure> {
        if now < self.due {
            return Ok(());
        }
        self.due = now + EVERY;
        self.write(endpoint, callers)
    }

    /// Writes the file anew.
    pub(super) fn write(
        &self,
        endpoint: &mut MaybeRecorded,
        callers: &[Caller],
    ) -> Result<(), Failure> {
        let mut page = Page::default();
        page.add("bowline", "", endpoint.statistics().counters());
        for caller in callers {
            let labels = format!("{{peer=\"{}\",address=\"{}\"}}", caller.peer, caller.address);
            let statistics = endpoint.peer_statistics(caller.peer);
            page.add("bowline_peer", &labels, statistics.iter().flat_map(|all| all.counters()));
        }
        replace(&self.file, &page.text()).map_err(|error| {
            format!("cannot write counters into {}: {error}", self.file.display()).into()
        })
    }
}

/// Metrics by name, since all values of one stand together.
#[derive(Default)]
struct Page(BTreeMap<String, String>);

impl Page {
    /// Counters of one owner. What tells owners apart has no characters that would have to be escaped.
    fn add(
        &mut self,
        prefix: &str,
        labels: &str,
        counters: impl Iterator<Item = (&'static str, u64)>,
    ) {
        for (name, count) in counters {
            let name = format!("{prefix}_{name}_total");
            let head = format!("# TYPE {name} counter\n");
            let line = format!("{name}{labels} {count}\n");
            self.0.entry(name).or_insert(head).push_str(&line);
        }
    }

    fn text(&self) -> String {
        self.0.values().map(String::as_str).collect()
    }
}

/// Whoever reads the file gets the old text or the new one, whole.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text)?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_metric_stand_together_below_its_type() {
        let mut page = Page::default();
        page.add("bowline", "", [("bytes_sent", 7), ("sessions", 2)].into_iter());
        for (peer, sent) in [("0.1", 1), ("3.2", u64::MAX)] {
            let labels = format!("{{peer=\"{peer}\"}}");
            page.add("bowline_peer", &labels, [("probes", 0), ("bytes_sent", sent)].into_iter());
        }
        let expected = "\
            # TYPE bowline_bytes_sent_total counter\n\
            bowline_bytes_sent_total 7\n\
            # TYPE bowline_peer_bytes_sent_total counter\n\
            bowline_peer_bytes_sent_total{peer=\"0.1\"} 1\n\
            bowline_peer_bytes_sent_total{peer=\"3.2\"} 18446744073709551615\n\
            # TYPE bowline_peer_probes_total counter\n\
            bowline_peer_probes_total{peer=\"0.1\"} 0\n\
            bowline_peer_probes_total{peer=\"3.2\"} 0\n\
            # TYPE bowline_sessions_total counter\n\
            bowline_sessions_total 2\n";
        assert_eq!(page.text(), expected);
    }
}
