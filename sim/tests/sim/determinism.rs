//! The same seed twice is the same run.

use estiva_sim::{Scenario, run};

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..5 {
        let [one, other] = [(); 2].map(|()| run(seed, &Scenario::default()).trace);
        let differing = one.lines().zip(other.lines()).position(|(one, other)| one != other);
        if let Some(line) = differing {
            let shown = |trace: &str| trace.lines().skip(line.saturating_sub(5)).take(8).collect::<Vec<_>>().join("\n");
            panic!("seed {seed} differs in line {line}:\n{}\n\nand:\n{}", shown(&one), shown(&other));
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
    assert_ne!(run(1, &Scenario::default()).trace, run(2, &Scenario::default()).trace);
}
