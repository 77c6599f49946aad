//! The text that Prometheus reads (exposition format, version 0.0.4).

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A text under way. Writing to a String cannot fail.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample with labels.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let all: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
            let _ = write!(self.0, "{{{}}}", all.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A family of one sample that may fall.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// A family of one sample that only rises.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// A family of one histogram.
    pub(crate) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(&histogram.counts) {
            below += count.load(Ordering::Relaxed);
            self.sample(&format!("{name}_bucket"), &[("le", &bound.to_string())], below);
        }
        let all = below + histogram.beyond.load(Ordering::Relaxed);
        self.sample(&format!("{name}_bucket"), &[("le", "+Inf")], all);
        let seconds = Duration::from_nanos(histogram.nanos.load(Ordering::Relaxed)).as_secs_f64();
        self.sample(&format!("{name}_sum"), &[], seconds);
        self.sample(&format!("{name}_count"), &[], all);
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// A label's value, in which `\`, `"` and line ends are written with `\`.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Upper bounds of latencies, in seconds: an attach takes 0.2 ms of the kernel, a shared store some ms.
const BOUNDS: [f64; 14] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    /// Adds one.
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).and_then(|at| self.counts.get(at));
        place.unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_prometheus_reads_it() {
        let mut text = Text::default();
        text.family("a_total", "counter", "Some.");
        text.sample("a_total", &[("object", "a\"b\\c\nd"), ("x", "y")], 3);
        text.gauge("b", "Other.", 0.5);
        assert_eq!(
            text.finish(),
            "# HELP a_total Some.\n# TYPE a_total counter\na_total{object=\"a\\\"b\\\\c\\nd\",x=\"y\"} 3\n\
             # HELP b Other.\n# TYPE b gauge\nb 0.5\n"
        );
    }

    #[test]
    fn buckets_hold_what_is_below_them() {
        let histogram = Histogram::default();
        for millis in [1, 2, 30, 9000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut text = Text::default();
        text.histogram("h", "How long.", &histogram);
        let text = text.finish();
        for line in [
            "h_bucket{le=\"0.0005\"} 0\n",
            "h_bucket{le=\"0.001\"} 1\n",
            "h_bucket{le=\"0.0025\"} 2\n",
            "h_bucket{le=\"5\"} 3\n",
            "h_bucket{le=\"+Inf\"} 4\n",
            "h_sum 9.033\n",
            "h_count 4\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
