//! How healthy this member takes itself to be (Lifeguard's local health multiplier).

use std::time::Duration;

/// A score from 0, healthy, to one below its limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Awareness {
    score: u32,
    limit: u32,
}

impl Awareness {
    pub(crate) fn new(limit: u32) -> Self {
        Self { score: 0, limit: limit.max(1) }
    }

    /// A probe that succeeded is -1; a failed one, a missing nack, and having to refute are +1 each.
    pub(crate) fn apply(&mut self, delta: i32) {
        self.score = self.score.saturating_add_signed(delta).min(self.limit - 1);
    }

    pub(crate) fn score(self) -> u32 {
        self.score
    }

    /// The probe's interval, longer the worse the score: others are not blamed for our own slowness.
    pub(crate) fn scale(self, interval: Duration) -> Duration {
        interval * (self.score + 1)
    }
}

#[test]
fn bounds() {
    let mut awareness = Awareness::new(8);
    awareness.apply(-1);
    assert_eq!(awareness.scale(Duration::from_secs(1)), Duration::from_secs(1));
    awareness.apply(3);
    assert_eq!(awareness.scale(Duration::from_secs(1)), Duration::from_secs(4));
    awareness.apply(100);
    assert_eq!(awareness.score(), 7);
    awareness.apply(-1);
    assert_eq!(awareness.score(), 6);
}
