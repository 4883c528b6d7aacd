//! Many runs with every fault there is. `SEEDS` is how many, `SEED` runs one of them.

use estiva_sim::fault::Climate;
use estiva_sim::{Scenario, run};

/// Runs unless `SEEDS` says otherwise.
const SEEDS: u64 = 1000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The part's seeds, of so many parts.
fn seeds(part: u64, parts: u64) -> impl Iterator<Item = u64> {
    let all = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    all.filter(move |seed| seed % parts == part)
}

fn check(part: u64) {
    for seed in seeds(part, 4) {
        run(seed, &Scenario::default()).check("schedules");
    }
}

#[test]
fn schedules_of_the_first_quarter() {
    check(0);
}

#[test]
fn schedules_of_the_second_quarter() {
    check(1);
}

#[test]
fn schedules_of_the_third_quarter() {
    check(2);
}

#[test]
fn schedules_of_the_last_quarter() {
    check(3);
}

#[test]
fn schedules_under_a_clock_that_jumps() {
    for seed in seeds(0, 10) {
        let scenario = Scenario { climate: Climate::jumpy(), ..Scenario::default() };
        run(seed, &scenario).check("schedules_under_a_clock_that_jumps");
    }
}
