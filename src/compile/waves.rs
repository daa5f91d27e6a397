//! How many hosts are out of service together.

use crate::plan::{Count, Waves};

/// The wave, from 1, of each of `selected` hosts in their order.
pub(super) fn waves(selected: usize, waves: &Waves) -> Vec<u32> {
    let cap = size(waves.max_hosts, selected);
    let first = waves.first.map_or(cap, |count| size(count, selected));
    (0..selected)
        .map(|index| match index.checked_sub(first) {
            None => 1,
            Some(after) => u32::try_from(after / cap).unwrap_or(u32::MAX).saturating_add(2),
        })
        .collect()
}

/// A share is rounded down; a wave of none would never end, so it is at least one host.
fn size(count: Count, selected: usize) -> usize {
    let hosts = match count {
        Count::Hosts(hosts) => usize::try_from(hosts).unwrap_or(usize::MAX),
        Count::Percent(percent) => {
            let share = (selected as u128).saturating_mul(u128::from(percent)) / 100;
            usize::try_from(share).unwrap_or(usize::MAX)
        }
    };
    hosts.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_by_count_and_share() {
        use Count::{Hosts, Percent};
        let rows = [
            (5, Hosts(2), None, vec![1, 1, 2, 2, 3]),
            (5, Hosts(2), Some(Hosts(1)), vec![1, 2, 2, 3, 3]),
            (5, Hosts(9), None, vec![1, 1, 1, 1, 1]),
            (3, Hosts(0), None, vec![1, 2, 3]),
            (7, Percent(50), None, vec![1, 1, 1, 2, 2, 2, 3]),
            (4, Percent(10), None, vec![1, 2, 3, 4]),
            (4, Percent(100), Some(Percent(25)), vec![1, 2, 2, 2]),
            (3, Hosts(1), Some(Hosts(2)), vec![1, 1, 2]),
            (0, Hosts(1), None, vec![]),
        ];
        for (selected, max_hosts, first, expected) in rows {
            assert_eq!(waves(selected, &Waves { max_hosts, first }), expected, "{selected} {max_hosts:?} {first:?}");
        }
    }
}
