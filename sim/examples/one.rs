//! Prints the trace of one run, or the faults of many: `cargo run -p estiva-sim --example one -- SEED [LAST]`.

use std::time::Instant;

use estiva_sim::{Scenario, run};

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let first = arguments.next().unwrap_or(0);
    let last = arguments.next();
    for seed in first..=last.unwrap_or(first) {
        let begun = Instant::now();
        let outcome = run(seed, &Scenario::default());
        let (transactions, frames, lasted) = (outcome.transactions, outcome.frames, outcome.lasted);
        eprintln!("seed {seed}: {transactions} transactions, {frames} messages, {lasted:?} in {:?}", begun.elapsed());
        for violation in &outcome.violations {
            eprintln!("    {violation}");
        }
        if last.is_none() {
            print!("{}", outcome.trace);
        }
    }
}
