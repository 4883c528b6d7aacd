//! How tasks are shared out among the capacity providers of a strategy.

/// One provider's part in a strategy (Amazon ECS API Reference, `CapacityProviderStrategyItem`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Tasks that it has before the others get any by weight.
    pub base: usize,
    /// Its part of the rest, against the sum of all weights.
    pub weight: usize,
}

/// How many of `count` tasks each share gets. What weights do not divide evenly goes to whoever is furthest below its part,
/// the first of them where several are.
pub fn divide(count: usize, shares: &[Share]) -> Vec<usize> {
    let mut parts: Vec<usize> = vec![0; shares.len()];
    let mut left = count;
    for (part, share) in parts.iter_mut().zip(shares) {
        *part = share.base.min(left);
        left -= *part;
    }
    let weights: usize = shares.iter().map(|share| share.weight).sum();
    if weights == 0 {
        return parts;
    }
    let mut by_weight: Vec<usize> = shares.iter().map(|share| left * share.weight / weights).collect();
    let mut rest = left - by_weight.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..shares.len()).filter(|place| shares[*place].weight > 0).collect();
    order.sort_by_key(|place| std::cmp::Reverse(left * shares[*place].weight % weights));
    for place in order {
        if rest == 0 {
            break;
        }
        by_weight[place] += 1;
        rest -= 1;
    }
    parts.iter().zip(by_weight).map(|(base, more)| base + more).collect()
}

/// The places of the shares in the order in which their tasks are to find room: a base comes before everything by weight.
pub fn order(shares: &[Share]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|place| shares[*place].base == 0);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(list: &[(usize, usize)]) -> Vec<Share> {
        list.iter().map(|(base, weight)| Share { base: *base, weight: *weight }).collect()
    }

    #[test]
    fn base_comes_first_and_weights_share_the_rest() {
        assert_eq!(divide(10, &shares(&[(0, 1)])), [10]);
        assert_eq!(divide(10, &shares(&[(2, 1), (0, 3)])), [4, 6]);
        assert_eq!(divide(1, &shares(&[(2, 1), (0, 3)])), [1, 0]);
        assert_eq!(divide(5, &shares(&[(0, 1), (0, 1)])), [3, 2]);
        assert_eq!(divide(4, &shares(&[(1, 0), (0, 1)])), [1, 3]);
        assert_eq!(divide(3, &shares(&[(1, 0)])), [1]);
    }

    #[test]
    fn who_has_a_base_is_served_first() {
        assert_eq!(order(&shares(&[(0, 1), (2, 0), (0, 3)])), [1, 0, 2]);
        assert_eq!(order(&shares(&[(0, 1), (0, 3)])), [0, 1]);
    }

    proptest! {
        #[test]
        fn all_are_shared_out_and_nobody_is_off_by_one(
            count in 0..200_usize,
            list in prop::collection::vec((0..10_usize, 1..20_usize), 1..6),
        ) {
            let parts = divide(count, &shares(&list));
            prop_assert_eq!(parts.iter().sum::<usize>(), count);
            let bases: usize = list.iter().map(|(base, _)| base).sum();
            let weights: usize = list.iter().map(|(_, weight)| weight).sum();
            for (part, (base, weight)) in parts.iter().zip(&list) {
                if count >= bases {
                    let exact = (count - bases) * weight / weights;
                    prop_assert!((base + exact..=base + exact + 1).contains(part), "{:?}", parts);
                }
            }
        }
    }
}
