//! The order of dynamic addresses: lowest never used first, freed ones last, oldest first.
//!
//! A freed address rests as long as it can: neighbours' caches, DNS and peers may still point at
//! its last holder. One that [`REMEMBERED`] others were freed after has rested enough, and passes for
//! never used. Every operation here costs O(log n) in the number of addresses in use and remembered, at
//! any fill, and memory follows that number and not the size of the subnet; addresses used in sequence
//! share one interval.

use std::collections::BTreeMap;

/// How many freed addresses a pool remembers: all that an IPv4 /16 has. In an IPv6 subnet there is a new one for
/// every endpoint for ever.
pub(crate) const REMEMBERED: usize = 1 << 16;

/// A set of numbers as disjoint intervals that never touch each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// First to last, both inclusive.
    spans: BTreeMap<u128, u128>,
}

impl Intervals {
    /// Adds a number; adding it again changes nothing.
    pub(crate) fn insert(&mut self, number: u128) {
        let mut first = number;
        let mut last = number;
        if let Some((&f, &l)) = self.spans.range(..=number).next_back() {
            if l >= number {
                return;
            }
            // l < number, so l + 1 cannot overflow.
            if l + 1 == number {
                first = f;
            }
        }
        if let Some(next) = number.checked_add(1)
            && let Some(l) = self.spans.remove(&next)
        {
            last = l;
        }
        self.spans.insert(first, last);
    }

    /// Takes a number out; it need not be in.
    pub(crate) fn remove(&mut self, number: u128) {
        let Some((&first, &last)) = self.spans.range(..=number).next_back().filter(|(_, l)| **l >= number) else {
            return;
        };
        self.spans.remove(&first);
        if first < number {
            self.spans.insert(first, number - 1);
        }
        if number < last {
            self.spans.insert(number + 1, last);
        }
    }

    /// The lowest number from `first` to `last` that is not in the set.
    pub(crate) fn lowest_missing(&self, first: u128, last: u128) -> Option<u128> {
        let candidate = match self.spans.range(..=first).next_back() {
            // Spans never touch, so the number after one is missing.
            Some((_, &l)) if l >= first => l.checked_add(1)?,
            _ => first,
        };
        (candidate <= last).then_some(candidate)
    }

    /// How many intervals there are: the memory the set takes.
    #[cfg(test)]
    fn spans(&self) -> usize {
        self.spans.len()
    }
}

/// The part of a subnet from which one network's dynamic addresses come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    first: u128,
    last: u128,
    /// How many addresses of the window are in use, by whatever.
    in_use: u128,
    /// The free addresses of the window that were in use before, by when they were freed.
    freed: BTreeMap<u64, u128>,
}

impl Window {
    /// A window from `first` to `last`, with what is in use and what was freed in it so far.
    pub(crate) fn new(bounds: (u128, u128), in_use: u128, freed: BTreeMap<u64, u128>) -> Self {
        Window { first: bounds.0, last: bounds.1, in_use, freed }
    }

    /// Notes that `number` came into use; `freed_at` is when it had been freed, if it ever was.
    pub(crate) fn occupy(&mut self, number: u128, freed_at: Option<u64>) {
        if !self.contains(number) {
            return;
        }
        self.in_use += 1;
        if let Some(at) = freed_at {
            self.freed.remove(&at);
        }
    }

    /// Notes that `number` was freed as the `at`th of its pool.
    pub(crate) fn vacate(&mut self, number: u128, at: u64) {
        if self.contains(number) {
            self.in_use -= 1;
            self.freed.insert(at, number);
        }
    }

    /// Notes that the one that was freed as the `at`th of its pool is remembered no more.
    pub(crate) fn forget(&mut self, at: u64) {
        self.freed.remove(&at);
    }

    /// The next dynamic address, given all the numbers that were in use.
    pub(crate) fn next(&self, used: &Intervals) -> Option<u128> {
        used.lowest_missing(self.first, self.last).or_else(|| self.freed.first_key_value().map(|(_, &number)| number))
    }

    /// How many addresses are left for dynamic claims; `u128::MAX` for an empty `::/0`.
    pub(crate) fn available(&self) -> u128 {
        let last = self.last - self.first;
        if self.in_use > last { 0 } else { (last - self.in_use).saturating_add(1) }
    }

    fn contains(&self, number: u128) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_merge_on_both_sides() {
        let mut set = Intervals::default();
        for n in [5, 7, 6, 6, 0, u128::MAX] {
            set.insert(n);
        }
        assert_eq!(set.spans(), 3);
        assert_eq!(set.lowest_missing(0, 10), Some(1));
        assert_eq!(set.lowest_missing(5, 10), Some(8));
        assert_eq!(set.lowest_missing(5, 7), None);
        assert_eq!(set.lowest_missing(u128::MAX, u128::MAX), None);
    }

    #[test]
    fn what_is_taken_out_leaves_the_rest() {
        let mut set = Intervals::default();
        [0, 1, 2, 3, 4, 9, u128::MAX].into_iter().for_each(|n| set.insert(n));
        for (number, spans) in [(2, 4), (0, 4), (1, 3), (7, 3), (9, 2), (u128::MAX, 1), (4, 1), (3, 0), (3, 0)] {
            set.remove(number);
            assert_eq!((set.spans(), set.lowest_missing(number, number)), (spans, Some(number)), "{number}");
        }
    }

    #[test]
    fn addresses_used_in_sequence_take_one_interval() {
        let mut set = Intervals::default();
        for n in (0..65536).rev() {
            set.insert(n);
        }
        assert_eq!(set.spans(), 1);
        assert_eq!(set.lowest_missing(0, 65535), None);
    }

    #[test]
    fn a_window_of_all_addresses_does_not_overflow() {
        let mut window = Window::new((0, u128::MAX), 0, BTreeMap::new());
        assert_eq!(window.available(), u128::MAX);
        window.occupy(0, None);
        assert_eq!(window.available(), u128::MAX);
        window.occupy(1, None);
        assert_eq!(window.available(), u128::MAX - 1);
    }
}
