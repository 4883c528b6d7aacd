//! Moves to even out.

use proptest::prelude::*;

use super::super::moves;

fn extremes(counts: &[usize]) -> Option<(usize, usize)> {
    let fullest = (0..counts.len()).max_by_key(|place| counts[*place])?;
    let emptiest = (0..counts.len()).min_by_key(|place| counts[*place])?;
    (counts[fullest] > counts[emptiest] + 1).then_some((fullest, emptiest))
}

#[test]
fn what_differs_by_one_stays() {
    assert_eq!(moves(&[]), []);
    assert_eq!(moves(&[3]), []);
    assert_eq!(moves(&[1, 2, 1]), []);
    assert_eq!(moves(&[3, 1]), [(0, 1)]);
    assert_eq!(moves(&[0, 4, 2]), [(1, 0), (1, 0)]);
}

proptest! {
    /// To move from the fullest to the emptiest, until they are even, is never a move too many.
    #[test]
    fn moves_even_out_and_are_as_few_as_can_be(counts in proptest::collection::vec(0..12_usize, 0..8)) {
        let (mut greedy, mut fewest) = (counts.clone(), 0);
        while let Some((from, to)) = extremes(&greedy) {
            greedy[from] -= 1;
            greedy[to] += 1;
            fewest += 1;
        }
        let moves = moves(&counts);
        prop_assert_eq!(moves.len(), fewest);
        let mut counts = counts;
        for (from, to) in moves {
            counts[from] -= 1;
            counts[to] += 1;
        }
        prop_assert_eq!(extremes(&counts), None);
    }
}
