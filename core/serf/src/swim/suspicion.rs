//! How long a suspect has to prove that it lives (Lifeguard's dynamic timeout).

use std::time::Duration;

/// A suspicion against one member, with those who confirmed it.
#[derive(Debug, Clone)]
pub(crate) struct Suspicion {
    start: Duration,
    least: Duration,
    most: Duration,
    /// Confirmations that bring the timeout down to the least.
    wanted: usize,
    /// Who accused: the first one, and those who confirmed.
    from: Vec<Box<str>>,
}

impl Suspicion {
    /// By `from`; `wanted` confirmations at most, none of them expected where it is 0.
    pub(crate) fn new(now: Duration, from: &str, wanted: usize, least: Duration, most: Duration) -> Self {
        Self { start: now, least, most, wanted, from: vec![from.into()] }
    }

    /// Whether this accuser is news.
    pub(crate) fn confirm(&mut self, from: &str) -> bool {
        let news = self.from.len() <= self.wanted && self.from.iter().all(|known| **known != *from);
        if news {
            self.from.push(from.into());
        }
        news
    }

    /// When the suspect is held for dead.
    pub(crate) fn deadline(&self) -> Duration {
        let confirmed = self.from.len() - 1;
        if self.wanted == 0 {
            return self.start + self.least;
        }
        self.start + timeout(confirmed, self.wanted, self.least, self.most)
    }
}

/// max − ln(n+1)/ln(k+1) · (max − min), in whole milliseconds, and never less than the least.
fn timeout(confirmed: usize, wanted: usize, least: Duration, most: Duration) -> Duration {
    let fraction = (confirmed as f64 + 1.0).ln() / (wanted as f64 + 1.0).ln();
    let raw = most.as_secs_f64() - fraction * (most.as_secs_f64() - least.as_secs_f64());
    Duration::from_millis((1000.0 * raw).max(0.0) as u64).max(least)
}

/// The least timeout of a suspicion among so many members.
pub(crate) fn least_timeout(factor: u32, members: usize, interval: Duration) -> Duration {
    let scale = (members.max(1) as f64).log10().max(1.0);
    interval.mul_f64(f64::from(factor) * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The table of memberlist's TestSuspicion_remainingSuspicionTime.
    #[test]
    fn timeouts_of_memberlist() {
        for (confirmed, elapsed, remaining) in
            [(0, 0, 30_000), (1, 2000, 14_000), (2, 3000, 4810), (3, 4000, -2000), (4, 5000, -3000)]
        {
            let left = timeout(confirmed, 3, s(2), s(30)).as_millis() as i64 - elapsed;
            assert_eq!(left, remaining, "{confirmed} confirmations");
        }
    }

    /// memberlist's TestSuspicionTimeout.
    #[test]
    fn least_timeouts_of_memberlist() {
        for (members, milliseconds) in [(5, 1000), (10, 1000), (50, 1698), (100, 2000), (500, 2698), (1000, 3000)] {
            assert_eq!(least_timeout(3, members, s(1)).as_millis() / 3, milliseconds, "{members} members");
        }
    }

    #[test]
    fn confirmations_count_once() {
        let mut suspicion = Suspicion::new(s(10), "me", 2, s(4), s(24));
        assert_eq!(suspicion.deadline(), s(34));
        assert!(!suspicion.confirm("me"));
        assert!(suspicion.confirm("a"));
        assert!(!suspicion.confirm("a"));
        assert!(suspicion.deadline() < s(34));
        assert!(suspicion.confirm("b"));
        assert!(!suspicion.confirm("c"));
        assert_eq!(suspicion.deadline(), s(14));
        assert_eq!(Suspicion::new(s(1), "me", 0, s(4), s(24)).deadline(), s(5));
    }
}
