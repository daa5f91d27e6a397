//! Everything that is drawn, drawn from one seed. Each purpose has a stream of its own, so that one draw more for one
//! server changes nothing for another: a night differs from its neighbour only by what was asked differently.
//!
//! splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) over a key made with FNV-1a:
//! a few lines of integer arithmetic, the same on every machine and in every release of every crate.

use std::collections::BTreeMap;

/// Hashes words into a key, apart from one another: `["ab", "c"]` is not `["a", "bc"]`.
fn key(seed: u64, words: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ mix(seed);
    for word in words {
        for byte in word.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// One draw: 64 bits that decide one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw(u64);

impl Draw {
    /// From 0 up to, not including, 1.
    pub fn unit(self) -> f64 {
        // 53 bits: what an f64 holds exactly.
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// From `span[0]` to `span[1]`, both included; a span the wrong way round is its first value.
    pub fn between(self, span: [u64; 2]) -> u64 {
        let width = span[1].saturating_sub(span[0]);
        // The high bits of a product: no division, and no modulo bias worth naming at these widths.
        let part = (u128::from(self.0) * (u128::from(width) + 1)) >> 64;
        span[0].saturating_add(part as u64)
    }

    /// An index below `len`; 0 when there is none.
    pub fn index(self, len: usize) -> usize {
        self.between([0, (len as u64).saturating_sub(1)]) as usize
    }
}

/// The streams of one seed.
#[derive(Debug)]
pub struct Draws {
    seed: u64,
    drawn: BTreeMap<u64, u64>,
}

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: BTreeMap::new() }
    }

    /// The next draw of the stream that these words name.
    pub fn next(&mut self, words: &[&str]) -> Draw {
        let key = key(self.seed, words);
        let count = self.drawn.entry(key).or_default();
        *count += 1;
        Draw(mix(key.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
    }

    /// The one draw that these words name, always the same: for what a server *is*.
    pub fn fixed(&self, words: &[&str]) -> Draw {
        Draw(mix(key(self.seed, words)))
    }
}
