//! Where tasks go and which end, by example and as properties against a model that looks at everything each time.

mod balance;
mod lacks;
mod model;
mod starts;
mod stops;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

fn resources(cpu: i64, memory: i64) -> Resources {
    Resources { cpu, memory, ..Resources::default() }
}

fn demand(cpu: i64, memory: i64, ports: &[u16]) -> Demand {
    let resources = Resources { tcp_ports: ports.iter().copied().collect(), ..resources(cpu, memory) };
    Demand { resources, ..Demand::default() }
}

/// In a zone, which is also the first attribute that any test spreads over.
fn candidate<'a>(remaining: &'a Resources, zone: &'a str) -> Candidate<'a> {
    let mut spread = [None; STRATEGIES_MAX];
    spread[0] = Some(zone);
    Candidate { remaining, addresses: 0, group_tasks: 0, refused: None, spread }
}

fn times(chosen: &[usize], candidate: usize) -> usize {
    chosen.iter().filter(|it| **it == candidate).count()
}
