//! Entropy comes from the caller.

/// A source of random numbers.
///
/// With encryption it must be one fit for nonces (the kernel's, or a stream cipher seeded by it); a
/// simulation gives [`Seeded`].
pub trait Random: Send {
    /// Sixty-four random bits.
    fn bits(&mut self) -> u64;

    /// A number below `n`; zero where `n` is.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }
}

/// A generator that repeats itself for the same seed (SplitMix64): for tests and simulations, not for keys or nonces.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Random for Seeded {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
