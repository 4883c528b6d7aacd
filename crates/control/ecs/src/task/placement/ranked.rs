//! The container instances that tasks of one kind could be on, in the order in which they would be chosen.

use std::collections::HashMap;
use std::sync::Arc;

use estiva_planning::placement::Ranking;
use estiva_store::{Row, Snapshot};
use rand::Rng;

use super::site::{self, Site, is_site, spread};
use super::{Lacking, Placeable};
use crate::container_instance::table::ContainerInstanceRow;

pub(super) struct Ranked {
    ranking: Ranking,
    /// Of each candidate of the ranking, as it was when it was ranked.
    rows: Vec<Arc<ContainerInstanceRow>>,
    /// By key, the candidate; also of those that are gone and may come back.
    candidates: HashMap<String, usize>,
}

impl Ranked {
    /// Looks at all of the instances.
    pub fn new(view: &Snapshot, what: &Placeable<'_>, rng: &mut impl Rng) -> Self {
        let rows = site::rows(view, what);
        let sites: Vec<_> = rows.iter().map(|row| Site::new(view, what.launch, Arc::clone(row))).collect();
        let candidates: Vec<_> = sites.iter().map(|site| site.candidate(view, what)).collect();
        Self {
            ranking: Ranking::new(&what.demand(), what.strategies, &candidates, rng),
            candidates: rows.iter().enumerate().map(|(candidate, row)| (row.key(), candidate)).collect(),
            rows,
        }
    }

    /// How many candidates it holds, those included that are gone.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Chooses the instance for one more task, and takes its room; or says what each of them lacks.
    pub fn place(&mut self, rng: &mut impl Rng) -> Result<Arc<ContainerInstanceRow>, Lacking> {
        let row = |candidate: usize| Arc::clone(&self.rows[candidate]);
        let placement = self.ranking.place(1, rng);
        let lacking = placement.lacking.into_iter().map(|(candidate, lack)| (row(candidate), lack));
        placement.chosen.first().map_or_else(|| Err(lacking.collect()), |candidate| Ok(row(*candidate)))
    }

    /// Something may have changed on the instance with this key.
    pub fn look_again(&mut self, view: &Snapshot, what: &Placeable<'_>, key: &str, rng: &mut impl Rng) {
        let row = view.get::<ContainerInstanceRow>(key).filter(|row| is_site(what.launch, row));
        let known = self.candidates.get(key).copied();
        let Some(row) = row else {
            if let Some(candidate) = known {
                self.ranking.update(candidate, None, rng);
            }
            return;
        };
        let site = Site::new(view, what.launch, Arc::clone(&row));
        let now = site.candidate(view, what);
        if let Some(candidate) = known {
            let is_where_it_was = spread(&self.rows[candidate], what.strategies) == now.spread;
            self.rows[candidate] = row;
            self.ranking.update(candidate, is_where_it_was.then_some(&now), rng);
            if is_where_it_was {
                return;
            }
            self.rows.push(Arc::clone(&self.rows[candidate]));
        } else {
            self.rows.push(row);
        }
        self.ranking.add(&now, rng);
        self.candidates.insert(key.to_owned(), self.rows.len() - 1);
    }
}
