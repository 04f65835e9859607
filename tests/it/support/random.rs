//! Numbers from a seed, for tests that choose at random and must be able to choose the same again.

/// A sequence of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number, below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// `WARREN_TEST_SEED`, or another seed each time.
pub(crate) fn seed() -> u64 {
    let given = std::env::var_os("WARREN_TEST_SEED").and_then(|seed| seed.to_str()?.parse().ok());
    given.unwrap_or_else(|| warren::time::unix_ms().0)
}
