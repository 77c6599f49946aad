//! Lamport clocks.

/// The newest time that is believed: a clock that one message drove to the end would never move again.
const LATEST: u64 = i64::MAX as u64;

/// A Lamport clock; starts at 1, as Serf's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock(u64);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(1)
    }

    pub(crate) fn time(self) -> u64 {
        self.0
    }

    /// Now, and a tick.
    pub(crate) fn tick(&mut self) -> u64 {
        let now = self.0;
        self.0 += 1;
        now
    }

    /// Somebody has seen this time: from now on ours is later. False for a time that nobody can have reached.
    pub(crate) fn witness(&mut self, time: u64) -> bool {
        if time >= LATEST {
            return false;
        }
        self.0 = self.0.max(time + 1);
        true
    }

    /// What another's clock showed: nothing has been sent with that time yet.
    pub(crate) fn witness_clock(&mut self, time: u64) -> bool {
        time == 0 || self.witness(time - 1)
    }
}

#[test]
fn clocks_only_advance() {
    let mut clock = Clock::new();
    assert!(clock.witness(41));
    assert_eq!(clock.tick(), 42);
    assert!(clock.witness(3));
    assert_eq!(clock.time(), 43);
    assert!(clock.witness_clock(50));
    assert_eq!(clock.time(), 50);
    assert!(!clock.witness(u64::MAX));
    assert_eq!(clock.time(), 50);
}
