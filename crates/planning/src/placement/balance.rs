//! Evening out: what has to move so that no place has more than another.

use std::cmp::Reverse;

/// The fewest moves (from, to) after which the greatest and the least of `counts` differ by one at most.
pub fn moves(counts: &[usize]) -> Vec<(usize, usize)> {
    if counts.is_empty() {
        return Vec::new();
    }
    let total: usize = counts.iter().sum();
    let (share, left_over) = (total / counts.len(), total % counts.len());
    let mut fullest: Vec<usize> = (0..counts.len()).collect();
    fullest.sort_by_key(|place| Reverse(counts[*place]));
    // What cannot be divided stays where most is: nothing moves that need not.
    let target = |(rank, place): (usize, usize)| (place, share + usize::from(rank < left_over));
    let targets: Vec<_> = fullest.into_iter().enumerate().map(target).collect();
    let from = targets.iter().flat_map(|(place, target)| vec![*place; counts[*place].saturating_sub(*target)]);
    let to = targets.iter().rev().flat_map(|(place, target)| vec![*place; target.saturating_sub(counts[*place])]);
    from.zip(to).collect()
}
