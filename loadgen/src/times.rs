//! Percentiles.

use std::time::Duration;

use loadgen::Times;

/// Sums up these times. All zero when there are none.
pub fn times(mut all: Vec<Duration>) -> Times {
    all.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| (time.as_secs_f64() * 100_000.0).round() / 100.0);
    let rank = |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1));
    Times { count: all.len(), p50_ms: ms(rank(50)), p99_ms: ms(rank(99)), max_ms: ms(all.last()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let all = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(times(all), Times { count: 200, p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 });
        assert_eq!(times(Vec::new()).max_ms, 0.0);
    }
}
