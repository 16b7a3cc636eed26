//! All random numbers of a run, from one seed.
//!
//! Every stream of numbers has a name. Its numbers do not depend on what else was drawn, so a run from which steps were
//! left out meets the same network as before. The generator's algorithm is fixed: the same seed always gives the same
//! numbers.

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

/// The random numbers of one seed.
#[derive(Debug, Clone, Copy)]
pub struct SeededRng {
    seed: u64,
}

impl SeededRng {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream of numbers with this name.
    pub fn of(self, name: &[u64]) -> Draws {
        let mixed = name.iter().fold(self.seed ^ 0x9e37_79b9_7f4a_7c15, |mixed, part| mix(mixed ^ mix(*part)));
        Draws(Pcg64Mcg::seed_from_u64(mixed))
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (value ^ (value >> 31)).wrapping_add(0x9e37_79b9_7f4a_7c15)
}

/// One stream of random numbers.
#[derive(Debug)]
pub struct Draws(Pcg64Mcg);

impl Draws {
    /// True with this probability, from 0 to 1.
    pub fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.0.random::<f64>() < share
    }

    /// One of `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    /// Milliseconds from `from` to `to`, both included.
    pub fn ms(&mut self, from: i64, to: i64) -> i64 {
        self.0.random_range(from..=to.max(from))
    }

    /// The time until the next of events that happen independently, every `mean_ms` on average: exponentially distributed,
    /// at least 1 ms.
    pub fn wait_ms(&mut self, mean_ms: f64) -> i64 {
        let share: f64 = self.0.random();
        ((-(1.0 - share).ln() * mean_ms) as i64).max(1)
    }

    /// An index, drawn with these weights.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let sum: u32 = weights.iter().sum();
        let mut left = self.0.random_range(0..sum.max(1));
        for (index, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        0
    }
}
