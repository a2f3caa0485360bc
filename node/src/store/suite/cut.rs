//! The index over real files, cut at any moment: the journal is whole, the index is whatever its
//! files happened to be, torn, cut short or zeroed at the end. Everything that was answered is
//! found.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use super::*;
use crate::store::files;

/// What was answered: messages submitted and messages taken.
#[derive(Clone, Default)]
struct Answered(Arc<Mutex<Vec<u64>>>);

impl Answered {
    fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }
}

async fn write(store: Store, answered: Answered, gate: Arc<tokio::sync::Mutex<()>>) {
    for n in 1.. {
        let open = gate.lock().await;
        if store.accept_submissions(vec![submission(n)]).await.is_err() {
            return;
        }
        arrive(&store, arrival(n, 0)).await;
        if n % 3 == 0 {
            let settled = vec![receipt(n, Stated::ContentConsignment)];
            store.record_receipts(group(n, n, settled)).await.unwrap();
            store.acknowledge(ack(n, n, 1)).await.unwrap();
        }
        answered.0.lock().unwrap().push(n);
        drop(open);
        // Some dozens between two looks are enough.
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// What happens to the files of the index.
#[derive(Debug, Clone, Copy)]
enum Fate {
    AsIs,
    /// The newest file loses so many bytes.
    Shorter(u64),
    /// Its last so many bytes are zeros.
    Zeroed(u64),
    /// A part in its middle is zeros.
    Hole,
}

const FATES: [Fate; 7] = [
    Fate::AsIs,
    Fate::Shorter(4096),
    Fate::Shorter(700_000),
    Fate::Shorter(u64::MAX),
    Fate::Zeroed(4096),
    Fate::Zeroed(600_000),
    Fate::Hole,
];

fn suffer(index: &Path, fate: Fate) {
    let newest = newest_file(index);
    let file = OpenOptions::new().read(true).write(true).open(&newest).unwrap();
    let length = file.metadata().unwrap().len();
    let zero = |from: u64, bytes: u64| {
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; bytes as usize], from).unwrap();
    };
    match fate {
        Fate::AsIs => {}
        Fate::Shorter(bytes) => file.set_len(length.saturating_sub(bytes)).unwrap(),
        Fate::Zeroed(bytes) => zero(length.saturating_sub(bytes), bytes.min(length)),
        Fate::Hole => zero(length / 2 / 512 * 512, (length / 4).min(8192)),
    }
}

fn newest_file(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    files.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}

fn damaged(copy: &Path, fate: Fate) -> Place {
    let dir = tempfile::tempdir().unwrap();
    copy_all(copy, dir.path());
    suffer(&dir.path().join("index"), fate);
    Place::in_dir(dir)
}

fn is_found(store: &Store, told: &[u64]) -> bool {
    told.iter().all(|n| {
        store.message(&ours(*n)).unwrap().is_some()
            && store.message(&theirs(*n)).unwrap().is_some()
            && store.request(&submission(*n).request_key).unwrap().is_some()
    })
}

/// The machine stopped: everything that was answered is found, and nothing has a second effect.
async fn cut(copy: &Path, fate: Fate, told: &[u64], what: &str) {
    let after = damaged(copy, fate);
    let store = after.open();
    assert!(is_found(&store, told), "{what}");
    let report = store.scrub().unwrap();
    assert!(report.is_sound() && report.complete, "{what}: {report:?}");
    assert_sound(&store);
    let last = *told.last().unwrap();
    assert_eq!(arrive(&store, arrival(last, 0)).await, ArrivalAnswer::Duplicate, "{what}");
    let repeated = SubmissionAnswer::Repeated(ours(last));
    assert_eq!(submit(&store, submission(last)).await, repeated, "{what}");
    assert_eq!(store.close().await, Ended::Clean, "{what}");
}

async fn rotted(copy: &Path, fate: Fate, told: &[u64], what: &str) {
    let after = damaged(copy, fate);
    let store = after.open();
    if store.scrub().unwrap().is_sound() {
        assert!(is_found(&store, told), "{what}: lost and not told");
        assert_sound(&store);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_cut_at_any_moment_loses_nothing() {
    let place = Place::embedded();
    let store = place.open();
    let (answered, gate) = (Answered::default(), Arc::new(tokio::sync::Mutex::new(())));
    let writing = tokio::spawn(write(store.clone(), answered.clone(), Arc::clone(&gate)));
    for moment in 0..4 {
        let (told, indexed) = (answered.all().len(), store.indexed_seq());
        until(|| answered.all().len() >= told + 5 && store.indexed_seq() > indexed).await;
        let copy = tempfile::tempdir().unwrap();
        copy_all(&place.path().join("index.mark"), &copy.path().join("index.mark"));
        // Half a minute has passed, as far as the index is concerned: it is being synced.
        let proving = (moment % 2 == 1).then(|| {
            let (store, dir) = (store.clone(), place.path().to_owned());
            tokio::task::spawn_blocking(move || {
                files::write_index_mark(&dir, store.shared.prove().unwrap()).unwrap();
            })
        });
        // The index while it is written; the journal afterwards, whole.
        copy_all(&place.path().join("index"), &copy.path().join("index"));
        let stopped = gate.lock().await;
        let told = answered.all();
        for name in ["store.id", "journal"] {
            copy_all(&place.path().join(name), &copy.path().join(name));
        }
        if let Some(proving) = proving {
            proving.await.unwrap();
        }
        for fate in FATES {
            let what = format!("moment {moment}, {fate:?}");
            cut(copy.path(), fate, &told, &what).await;
            // The same damage without a stop of the machine is rot, not a cut: what does not show
            // at the opening is told by the scrub.
            copy_all(&place.path().join("lock"), &copy.path().join("lock"));
            rotted(copy.path(), fate, &told, &what).await;
            fs::remove_file(copy.path().join("lock")).unwrap();
        }
        drop(stopped);
    }
    let stopped = gate.lock().await;
    store.close().await;
    drop(stopped);
    writing.await.unwrap();
}
