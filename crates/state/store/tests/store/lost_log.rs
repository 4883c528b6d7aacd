//! Files that lost what was acknowledged: each way in by itself, what the error says, and the way on.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
};

use estiva_store::{
    BackendError, Store,
    backend::{Backend, Sqlite},
};

use crate::{
    images::{DATABASE, Image, LOG, Live, MARK, State, open, put, take},
    rows::{Item, count, schema},
};

fn row(key: u32) -> BTreeMap<String, Option<String>> {
    BTreeMap::from([(format!("{key:04}"), Some("j".repeat(1000)))])
}

/// Sixty commits; all of them are in the log.
fn sixty() -> Live {
    let mut live = Live::new();
    (0..60).for_each(|key| live.commit(&row(key)).unwrap());
    live
}

fn flipped(image: &Image, name: &'static str, at: usize) -> Image {
    let mut image = image.clone();
    image.get_mut(name).unwrap()[at] ^= 1;
    image
}

fn without(image: &Image, names: &[&str]) -> Image {
    image.iter().filter(|(name, _)| !names.contains(name)).map(|(name, bytes)| (*name, bytes.clone())).collect()
}

fn with(image: &Image, name: &'static str, bytes: &[u8]) -> Image {
    let mut image = image.clone();
    image.insert(name, bytes.to_vec());
    image
}

/// Refused, with an error of this text, and nothing has been touched.
fn assert_refused(image: &Image, text: &str) {
    let place = put(image);
    let error = open(place.path()).expect_err(text);
    assert!(error.to_string().contains(text), "{error} should say: {text}");
    assert!(error.to_string().contains(place.path().to_str().unwrap()), "{error}");
    let mut expected = image.clone();
    expected.retain(|name, bytes| *name != LOG || !bytes.is_empty());
    assert!(take(place.path()) == expected, "it was changed: {error}");
}

#[test]
fn a_damaged_log_is_not_a_shorter_one() {
    let live = sixty();
    let image = live.image();
    let log = &image[LOG];
    assert!(log.len() > 200_000);
    // The header: magic, page size, salt, checksum. A frame: page number, size after commit, salt, checksum, page.
    for at in [0, 4, 8, 16, 20, 24, 28, 32, 36, 40, 48, 60, log.len() / 2, log.len() / 3 * 2, log.len() - 1] {
        assert_refused(&flipped(&image, LOG, at), "and revision 60 was committed");
    }
    for length in [1, 31, 32, 56, 32 + 4120 * 7, log.len() / 2, log.len() - 4120, log.len() - 1] {
        assert_refused(&with(&image, LOG, &log[..length]), "is damaged, cut short or an older copy");
    }
    assert_refused(&with(&image, LOG, &[]), "store.db-wal is empty");
    assert_refused(&with(&image, LOG, &vec![0; log.len()]), "revision 60");
    assert_refused(&without(&image, &[LOG]), "store.db-wal is missing");
    assert_refused(&with(&image, LOG, &sixty().image()[LOG][..4152]), "revision 60");
    assert_eq!(open(put(&image).path()).unwrap(), live.state);
}

#[test]
fn an_older_log_or_database_is_refused() {
    let mut live = Live::new();
    live.commit(&row(1)).unwrap();
    let first = live.image();
    (2..30).for_each(|key| live.commit(&row(key)).unwrap());
    let second = live.image();
    live.backend.settle();
    let settled = live.image();
    (30..40).for_each(|key| live.commit(&row(key)).unwrap());
    let last = live.image();
    assert_refused(&with(&last, LOG, &first[LOG]), "revision 39 was committed");
    assert_refused(&with(&last, LOG, &second[LOG]), "revision 39 was committed");
    assert_refused(&with(&without(&last, &[LOG]), DATABASE, &first[DATABASE]), "revision 39 was committed");
    // A newer log over an older database has the last revision, and not the rows that were copied in between.
    let place = put(&with(&last, DATABASE, &first[DATABASE]));
    assert!(matches!(open(place.path()), Err(BackendError::Damaged { .. })));
    // An older copy of everything is a backup.
    assert_eq!(open(put(&settled).path()).unwrap().revision, 29);
    assert_eq!(open(put(&last).path()).unwrap(), live.state);
}

#[test]
fn an_idle_store_does_not_live_in_its_log() {
    let mut live = sixty();
    live.backend.settle();
    let image = live.image();
    assert!(!image.contains_key(LOG), "it is empty");
    assert_eq!(open(put(&image).path()).unwrap(), live.state);
    assert_refused(&with(&image, DATABASE, &image[DATABASE][..8192]), "damaged");
}

/// The store does it by itself, once nothing has been written for a while.
#[tokio::test]
async fn a_store_that_is_left_alone_empties_its_log() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(Sqlite::open(place.path()).unwrap(), schema()).unwrap();
    crate::rows::write(&store, |tx| tx.put(Item::new("a", "g", 1))).await;
    assert!(fs::metadata(place.path().join(LOG)).unwrap().len() > 0);
    while fs::metadata(place.path().join(LOG)).unwrap().len() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(open(put(&without(&take(place.path()), &[LOG])).path()).unwrap().revision, 1);
}

#[test]
fn a_lost_mark_is_noticed() {
    let live = sixty();
    let image = live.image();
    assert_refused(&without(&image, &[MARK]), "store.mark, which says how far they reach, is missing");
    assert_refused(&without(&image, &[MARK, LOG]), "is missing");
    assert_refused(&without(&image, &[DATABASE, LOG]), "revision 60 was committed to it");
    assert_refused(&without(&image, &[DATABASE]), "store.db is damaged: it is missing, but its log is there");
    assert_refused(&with(&image, MARK, &[]), "is damaged");
    assert_refused(&with(&image, MARK, &image[MARK][..10]), "is damaged");
    let both = flipped(&flipped(&image, MARK, 9), MARK, 4096 + 9);
    assert_refused(&both, "is damaged");
    // One slot is enough: the other one is at most a commit behind.
    for at in [9, 4096 + 9] {
        assert_eq!(open(put(&flipped(&image, MARK, at)).path()).unwrap(), live.state);
    }
}

#[test]
fn garbage_in_shared_memory_is_harmless() {
    let live = sixty();
    let place = put(&live.image());
    fs::write(place.path().join("store.db-shm"), vec![0xa5; 32768]).unwrap();
    assert_eq!(open(place.path()).unwrap(), live.state);
}

#[test]
fn a_loss_can_be_accepted() {
    let live = sixty();
    let place = put(&flipped(&live.image(), LOG, live.image()[LOG].len() / 2));
    assert!(matches!(open(place.path()), Err(BackendError::Incomplete { .. })));
    let lost = Sqlite::accept_loss(place.path()).unwrap().unwrap();
    assert!(lost.contains("revision 60 was committed"), "{lost}");
    let left = open(place.path()).unwrap();
    assert!((1..60).contains(&left.revision), "{}", left.revision);
    assert_eq!(left.rows.len() as u64, left.revision, "each commit is there as a whole");
    assert_eq!(Sqlite::accept_loss(place.path()).unwrap(), None, "nothing is lost twice");

    let marks = put(&without(&live.image(), &[MARK]));
    assert!(Sqlite::accept_loss(marks.path()).unwrap().is_some());
    assert_eq!(open(marks.path()).unwrap(), live.state);
}

#[test]
fn damage_cannot_be_accepted_and_nothing_is_made() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Sqlite::accept_loss(empty.path()), Err(BackendError::Damaged { .. })));
    assert!(take(empty.path()).is_empty());
    let mut live = sixty();
    live.backend.settle();
    let mut image = live.image();
    image.get_mut(DATABASE).unwrap()[8192..12288].fill(0);
    image.remove(MARK);
    let place = put(&image);
    assert!(matches!(Sqlite::accept_loss(place.path()), Err(BackendError::Damaged { .. })));
    assert!(open(place.path()).is_err());
}

#[test]
fn a_store_whose_making_was_cut_short_is_no_loss() {
    let place = put(&without(&Live::new().image(), &[DATABASE, LOG]));
    assert_eq!(open(place.path()).unwrap(), State::default());
}

/// Written by the last program that kept neither mark nor sum, which was killed: all is in the log.
fn former() -> Image {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/former");
    take(&directory)
}

#[test]
fn a_store_of_a_former_program_is_taken_over() {
    let place = put(&former());
    let store = Store::open(Sqlite::open(place.path()).unwrap(), schema()).unwrap();
    let view = store.view();
    assert_eq!((view.revision(), view.count::<Item>(), count(&view, "n")), (3, 3, 3));
    let image = take(place.path());
    drop(store);
    // From now on it has both, also where the log is lost together with the mark.
    assert_refused(&without(&image, &[MARK]), "store.mark");
    assert_refused(&without(&image, &[MARK, LOG]), "store.mark");
}

#[test]
fn what_a_former_program_writes_in_between_is_taken_over_too() {
    let place = put(&former());
    open(place.path()).unwrap();
    // It knows neither, and advances the revision alone.
    let former = rusqlite::Connection::open(place.path().join(DATABASE)).unwrap();
    former
        .execute_batch(
            "UPDATE estiva_meta SET value = 4 WHERE name = 'revision'; DELETE FROM items WHERE key = 'item/1'",
        )
        .unwrap();
    drop(former);
    let state = open(place.path()).unwrap();
    assert_eq!((state.revision, state.rows.len()), (4, 3));
    assert_eq!(open(place.path()).unwrap(), state);
}

/// Fails every fsync of the calling thread with EIO, as a disk does that has lost a write.
fn fail_synchronisation() {
    use nix::libc::{
        BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, EIO, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP,
        SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SYS_fdatasync, SYS_fsync, prctl, sock_filter,
        sock_fprog,
    };
    let code = |code: u32| u16::try_from(code).unwrap();
    let number = |number: i64| u32::try_from(number).unwrap();
    let step = |operation: u32, jt, jf, k| sock_filter { code: code(operation), jt, jf, k };
    let mut filter = [
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, number(SYS_fdatasync)),
        step(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, number(SYS_fsync)),
        step(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW),
        step(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EIO.unsigned_abs()),
    ];
    let program = sock_fprog { len: 5, filter: filter.as_mut_ptr() };
    // SAFETY: the program is valid for the call, and concerns this thread alone.
    let set = unsafe {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program)
    };
    assert_eq!(set, 0);
}

#[test]
fn what_could_not_be_synchronised_is_not_acknowledged_by_what_could_be_later() {
    let mut live = sixty();
    let before = live.state.clone();
    let mut live = thread::spawn(move || {
        fail_synchronisation();
        for key in 100..103 {
            assert!(matches!(live.commit(&row(key)), Err(BackendError::Engine { .. })));
        }
        live.backend.settle();
        live
    })
    .join()
    .unwrap();
    assert_eq!(live.state, before);
    // A crash now: SQLite may have written the commit that failed, and no more than that one.
    let found = open(put(&live.image()).path()).unwrap();
    assert!(found == before || found.revision == 61, "{found:?}");
    live.commit(&row(200)).unwrap();
    let image = live.image();
    assert_eq!(open(put(&image).path()).unwrap(), live.state, "of what failed nothing is there");
    assert_refused(&without(&image, &[LOG]), "revision 61 was committed");
}

#[test]
fn a_backup_is_a_store_by_itself() {
    let mut live = sixty();
    let to = tempfile::tempdir().unwrap();
    let backup = to.path().join("backup");
    assert_eq!(Sqlite::back_up(live.place.path(), &backup).unwrap(), 60);
    let state = live.state.clone();
    live.commit(&row(61)).unwrap();
    assert_eq!(open(&backup).unwrap(), state);
    assert_refused(&without(&take(&backup), &[MARK]), "store.mark");
    // It is written over nothing, and a store that has lost something is not copied.
    assert!(Sqlite::back_up(live.place.path(), &backup).is_err());
    assert_eq!(open(&backup).unwrap(), state);
    let damaged = put(&without(&live.image(), &[LOG]));
    let copied = Sqlite::back_up(damaged.path(), to.path().join("other"));
    assert!(matches!(copied, Err(BackendError::Incomplete { .. })));
    assert!(!to.path().join("other").exists());
}

/// Each backup is one of the states that were acknowledged, however fast the store is written.
#[test]
fn a_backup_of_a_store_that_is_written_is_one_state() {
    let mut live = sixty();
    let place = live.place.path().to_owned();
    let to = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let backups = scope.spawn(|| {
            for number in 0..5 {
                let backup = to.path().join(number.to_string());
                let revision = Sqlite::back_up(&place, &backup).unwrap();
                let state = open(&backup).unwrap();
                assert_eq!((state.revision, state.rows.len() as u64), (revision, revision));
            }
        });
        for key in 60.. {
            live.commit(&row(key)).unwrap();
            if key % 7 == 0 {
                live.backend.settle();
            }
            if backups.is_finished() {
                break;
            }
        }
    });
}

#[test]
fn two_programs_do_not_share_a_directory() {
    let live = sixty();
    let held = |result: Result<_, BackendError>| assert!(matches!(result, Err(BackendError::Locked { .. })));
    held(Sqlite::open(live.place.path()).map(drop));
    held(Sqlite::accept_loss(live.place.path()).map(drop));
    // One that has taken the lock's file away, too, writes nothing over what the other one has written.
    fs::remove_file(PathBuf::from(live.place.path()).join("store.lock")).unwrap();
    let state = open(live.place.path()).unwrap();
    assert_eq!(state, live.state);
}
