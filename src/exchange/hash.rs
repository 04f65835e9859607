//! The hash that says which bucket a message goes into. PURE.
//!
//! It is written down here instead of taken from a library: where the messages of a key go must not change with a
//! library's version, nor differ between two nodes.

/// FNV-1a over the bytes, then mixed, since FNV leaves the high bits of short texts alike.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// Lets every bit of a number depend on every other: the end of splitmix64.
pub(super) fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_in_every_version() {
        assert_eq!(
            [hash(b""), hash(b"a"), hash(b"customer.42")],
            [0xf52a_15e9_a9b5_e89b, 0x02c0_bdbf_4814_20f8, 0x2a71_82a8_64f2_4558]
        );
    }
}
