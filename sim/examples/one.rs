//! Prints the trace of one run: `cargo run -p estiva-sim --example one -- SEED`.

use estiva_sim::{Scenario, run};

fn main() {
    let seed = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let outcome = run(seed, &Scenario::default());
    eprintln!(
        "{} transactions, {} messages, {:?}: {:#?}",
        outcome.transactions, outcome.frames, outcome.lasted, outcome.violations
    );
    print!("{}", outcome.trace);
}
