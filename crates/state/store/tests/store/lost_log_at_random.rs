//! Random histories whose files are torn as crashes tear them, damaged, or mixed with those of other moments. A crash is
//! never refused and loses nothing; all else is refused or loses nothing.

use std::{collections::BTreeMap, env, fs, path::Path};

use estiva_store::backend::Backend;
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::images::{DATABASE, FILES, Image, LOG, Live, MARK, State, open, put, put_into, take};

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone)]
enum Step {
    Commit(BTreeMap<String, Option<String>>),
    Settle,
    Kill,
    Close,
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Truncate(Index),
    Zero(Index),
    Remove,
}

/// A moment between two steps: what is on disk, what was acknowledged, and whether a commit was the next step.
struct Moment {
    image: Image,
    state: State,
}

fn step() -> impl Strategy<Value = Step> {
    let row = prop_oneof![4 => (0_usize..1500).prop_map(|size| Some("j".repeat(size))), 1 => Just(None)];
    let rows = prop::collection::btree_map("[a-d][0-9]", row, 1..8);
    prop_oneof![8 => rows.prop_map(Step::Commit), 2 => Just(Step::Settle), 1 => Just(Step::Kill), 1 => Just(Step::Close)]
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => any::<Index>().prop_map(Damage::Truncate),
        1 => any::<Index>().prop_map(Damage::Zero),
        1 => Just(Damage::Remove),
    ]
}

/// The moments of a history; the first one is a new store.
fn moments(steps: &[Step]) -> Vec<Moment> {
    let mut live = Live::new();
    let mut moments = vec![Moment { image: live.image(), state: live.state.clone() }];
    for step in steps {
        match step {
            Step::Commit(rows) => live.commit(rows).unwrap(),
            Step::Settle => live.backend.settle(),
            Step::Kill => live = live.kill(),
            Step::Close => live = live.close(),
        }
        moments.push(Moment { image: live.image(), state: live.state.clone() });
    }
    moments
}

/// A file on its way from one content to the next: each sector is the old or the new one.
fn torn(old: &[u8], new: &[u8], sectors: &[bool]) -> Vec<u8> {
    let mut bytes = old.to_vec();
    bytes.resize(old.len().max(new.len()), 0);
    for (number, sector) in new.chunks(SECTOR_BYTES).enumerate() {
        if sectors[number % sectors.len()] {
            bytes[number * SECTOR_BYTES..][..sector.len()].copy_from_slice(sector);
        }
    }
    bytes
}

fn inflict(bytes: &mut Vec<u8>, damage: &Damage) {
    match damage {
        Damage::Flip(at, bit) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Truncate(to) if !bytes.is_empty() => bytes.truncate(to.index(bytes.len())),
        Damage::Zero(page) if !bytes.is_empty() => {
            let start = page.index(bytes.len()) / 4096 * 4096;
            let end = bytes.len().min(start + 4096);
            bytes[start..end].fill(0);
        }
        _ => {}
    }
}

/// Whether the files are as they were put down; an empty log is as good as none.
fn untouched(directory: &Path, mut image: Image) -> bool {
    image.retain(|name, bytes| *name != LOG || !bytes.is_empty());
    take(directory) == image
}

fn cases() -> u32 {
    env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_is_never_refused(
        steps in vec(step(), 1..14), at in any::<Index>(), behind in any::<Index>(), sectors in vec(any::<bool>(), 1..40),
    ) {
        let moments = moments(&steps);
        let at = at.index(moments.len() - 1);
        let (before, after) = (&moments[at], &moments[at + 1]);
        let mut image = before.image.clone();
        // In the midst of a commit the log is written; in the midst of a checkpoint the database, and the log is whole.
        let written = if before.state == after.state { DATABASE } else { LOG };
        let old = before.image.get(written).cloned().unwrap_or_default();
        if let Some(new) = after.image.get(written) {
            image.insert(written, torn(&old, new, &sectors));
        }
        // A power cut: the mark was not synchronised for a while.
        let behind = behind.index(at + 1);
        image.insert(MARK, moments[behind].image[MARK].clone());
        let place = put(&image);
        fs::write(place.path().join("store.db-shm"), "garbage").unwrap();
        let found = open(place.path()).unwrap();
        prop_assert!(found == before.state || found == after.state, "{found:?}");
    }

    #[test]
    fn damage_is_refused_or_loses_nothing(
        steps in vec(step(), 1..14), at in any::<Index>(), file in any::<Index>(), damages in vec(damage(), 8),
    ) {
        let moments = moments(&steps);
        let Moment { image, state } = &moments[at.index(moments.len())];
        let names: Vec<_> = image.keys().copied().collect();
        let name = *file.get(&names);
        for damage in damages {
            let mut damaged = image.clone();
            match damage {
                Damage::Remove => drop(damaged.remove(name)),
                _ => inflict(damaged.get_mut(name).unwrap(), &damage),
            }
            let place = put(&damaged);
            match open(place.path()) {
                Ok(found) => prop_assert!(found == *state, "{damage:?} of {name}: {} of {}", found.revision, state.revision),
                Err(error) => {
                    prop_assert!(untouched(place.path(), damaged), "it was changed: {error}");
                    put_into(place.path(), image);
                    prop_assert!(open(place.path()).unwrap() == *state, "after {error}");
                }
            }
        }
    }

    /// Of a copy that was made while the store was written, or of a restore that was not complete.
    #[test]
    fn files_of_different_moments_are_refused_or_one_state(
        steps in vec(step(), 1..14), picks in vec(any::<[Index; 3]>(), 8),
    ) {
        let moments = moments(&steps);
        for pick in picks {
            let pick = pick.map(|index| index.index(moments.len()));
            let of = |(name, moment): (&'static str, usize)| Some((name, moments[moment].image.get(name)?.clone()));
            let image: Image = FILES.into_iter().zip(pick).filter_map(of).collect();
            let place = put(&image);
            if let Ok(found) = open(place.path()) {
                prop_assert!(moments.iter().any(|moment| moment.state == found), "{pick:?}: a mix");
                prop_assert!(found.revision >= moments[pick[2]].state.revision, "{pick:?}: behind the mark");
            }
        }
    }
}
