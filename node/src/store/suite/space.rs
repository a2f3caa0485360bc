//! A disk that fills up: refusals in their order, nothing that was taken is lost, the store goes on
//! and recovers by itself.

use std::fs;

use super::{
    mounted::{Mounted, fill_up, free},
    *,
};
use crate::store::{
    files::FilesError,
    space::{RESERVE_NAME, Room, Space},
};

const KIB: u64 = 1 << 10;
/// Steps of 64 KiB on the simulated disk: one segment.
const RESERVE: ReserveSettings = ReserveSettings { percent: 0, bytes_min: 512 * KIB };

fn on_disk(disk: SimDisk) -> Place {
    let sync_time = Duration::from_millis(1);
    Place { backend: Backend::Memory { disk, sync_time, reserve: RESERVE }, dir: None }
}

fn of_priority(n: u64, priority: Priority, bytes: usize) -> NewSubmission {
    let mut new = submission(n);
    new.header.priority = priority;
    new.payload = vec![n as u8 | 1; bytes].into();
    new
}

async fn submits(store: &Store, n: u64, priority: Priority, bytes: usize) -> bool {
    match store.accept_submissions(vec![of_priority(n, priority, bytes)]).await {
        Ok(answers) => answers[0] != SubmissionAnswer::StorageFull,
        Err(error) => {
            assert_eq!(error.reason(), Reason::StorageFull, "{error}");
            false
        }
    }
}

async fn arrives(store: &Store, n: u64, priority: Priority, bytes: usize) -> bool {
    let Verdict::Accept(mut new) = arrival(n, 0) else { panic!("an arrival") };
    (new.header.priority, new.carried) = (priority, priority);
    new.payload = vec![n as u8 | 1; bytes].into();
    match store.accept_arrivals(priority, vec![Verdict::Accept(new)]).await {
        Ok(answers) => answers[0] != ArrivalAnswer::Deferred(Reason::StorageFull),
        Err(error) => {
            assert_eq!(error.reason(), Reason::StorageFull, "{error}");
            false
        }
    }
}

/// Fills the disk with messages of all priorities and notes whom it refuses for the first time.
/// Returns the refusals in their order, and the messages that were taken.
async fn fill(store: &Store, bytes: usize) -> (Vec<&'static str>, Vec<u64>, Vec<u64>) {
    let (mut refused, mut sent, mut came) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0.. {
        let base = round * 10;
        let mut note = |taken: bool, what| match taken {
            true => assert!(!refused.contains(&what), "{what} taken after it was refused"),
            false if refused.contains(&what) => {}
            false => refused.push(what),
        };
        let lanes = [
            (1, Priority::Routine, "routine submission", "routine arrival"),
            (2, Priority::Urgent, "urgent submission", "urgent arrival"),
            (3, Priority::Emergency, "emergency submission", "emergency arrival"),
        ];
        for (add, priority, submission, arrival) in lanes {
            let taken = submits(store, base + add, priority, bytes).await;
            sent.extend(taken.then_some(base + add));
            note(taken, submission);
            let taken = arrives(store, base + add, priority, bytes).await;
            came.extend(taken.then_some(base + add));
            note(taken, arrival);
        }
        if refused.len() == 6 {
            break;
        }
    }
    (refused, sent, came)
}

/// Within URGENT and EMERGENCY submissions and arrivals are refused at the same time.
fn assert_order(refused: &[&str]) {
    assert_eq!(refused[..2], ["routine submission", "routine arrival"]);
    for (nth, class) in [(2, "urgent"), (3, "urgent"), (4, "emergency"), (5, "emergency")] {
        assert!(refused[nth].starts_with(class), "{refused:?}");
    }
}

/// Everything that is owed for what was taken still fits: acknowledgements of all arrivals,
/// receipts of all peers, a failure, an erasure.
async fn settle(store: &Store, sent: &[u64], came: &[u64]) {
    for n in came {
        if let Err(error) = store.acknowledge(ack(*n, *n, 1)).await {
            let end = tokio::time::timeout(Duration::from_secs(5), store.ended()).await;
            panic!("{error}: {end:?}");
        }
    }
    let last = sent.last().unwrap();
    let failure = statement("failure", *last);
    let expiry = NewExpiry { digest: ours(*last), recipient: them(), failure, now: at(9) };
    assert_eq!(store.expire(vec![expiry]).await.unwrap().len(), 1);
    for (n, have) in sent[..sent.len() - 1].iter().zip(1..) {
        let receipts = vec![receipt(*n, Stated::ContentConsignment)];
        let settled = store.record_receipts(group(n + 1, have, receipts)).await.unwrap();
        assert_eq!(settled.len(), 1);
    }
    assert!(store.erase(theirs(came[0]), "rule".into(), "officer".into(), at(9)).await.unwrap());
    assert!(store.erase(ours(sent[0]), "rule".into(), "officer".into(), at(9)).await.unwrap());
    let record = store.message(&ours(sent[0])).unwrap().unwrap();
    assert_eq!(store.content(&record).unwrap().payload, None);
}

/// ROUTINE submissions, ROUTINE arrivals, URGENT, EMERGENCY; a repetition is answered all the same;
/// with room everything is taken again and the reserve is there again, without anybody's doing.
#[tokio::test(start_paused = true)]
async fn refusals_come_in_their_order() {
    let disk = SimDisk::new(1);
    disk.set_capacity(3 << 20);
    let place = on_disk(disk.clone());
    place.create();
    let store = place.open();
    assert!(submits(&store, 1_000_001, Priority::Routine, 64).await);
    let reserve = |disk: &SimDisk| disk.content(Path::new("/reserve.bin")).map(|c| c.len());
    assert_eq!(reserve(&disk), Some(512 << 10));
    let (refused, mut sent, came) = fill(&store, 20_000).await;
    assert_order(&refused);
    assert_eq!((store.room(), reserve(&disk)), (Room::ReceiptsOnly, None));
    let again = submit(&store, of_priority(sent[0], priority(sent[0]), 64)).await;
    assert_eq!(again, SubmissionAnswer::Repeated(ours(sent[0])));
    assert!(
        arrives(&store, came[0], Priority::Routine, 64).await,
        "a duplicate is owed its receipts"
    );
    sent.push(1_000_001);
    settle(&store, &sent, &came).await;
    assert_sound(&store);
    // A power cut on the full disk.
    let cut = disk.fork();
    cut.power_cut(3);
    let after = on_disk(cut);
    let reopened = after.open();
    assert_eq!(sound::statements(&reopened), sound::statements(&store));
    assert_sound(&reopened);

    disk.set_capacity(8 << 20);
    assert!(submits(&store, 2_000_001, Priority::Emergency, 64).await);
    assert!(submits(&store, 2_000_002, Priority::Routine, 64).await);
    assert!(arrives(&store, 2_000_003, Priority::Routine, 64).await);
    assert_eq!((store.room(), reserve(&disk)), (Room::Ample, Some(512 << 10)));
    assert_sound(&store);
    assert_eq!(store.close().await, Ended::Clean);
}

/// Somebody else fills the disk between two looks: the commit that needs the next segment gives the
/// reserve up, and is refused when that is not enough; what is in the journal stays, and room makes
/// all well.
#[tokio::test(start_paused = true)]
async fn a_disk_filled_by_others_refuses_and_goes_on() {
    for reserve in [RESERVE, ReserveSettings::NONE] {
        let disk = SimDisk::new(1);
        let mut place = on_disk(disk.clone());
        let sync_time = Duration::from_millis(1);
        place.backend = Backend::Memory { disk: disk.clone(), sync_time, reserve };
        place.create();
        let store = place.open();
        assert!(submits(&store, 1, Priority::Routine, 20_000).await);
        let head = store.log_head();
        disk.set_capacity(0);
        let mut taken = 1;
        while submits(&store, taken + 1, Priority::Emergency, 20_000).await {
            taken += 1;
        }
        assert!(taken < 9);
        for n in 30..40 {
            assert!(!submits(&store, n, Priority::Emergency, 60_000).await);
        }
        assert!(store.log_head().size >= head.size);
        assert_sound(&store);
        disk.set_capacity(8 << 20);
        // The first commit may find the old verdict, and has the next segment prepared.
        submits(&store, 50, Priority::Emergency, 60_000).await;
        assert!(submits(&store, 51, Priority::Routine, 60_000).await);
        assert_sound(&store);
        assert_eq!(store.close().await, Ended::Clean);
        drop(store);
        assert_sound(&place.open());
    }
}

/// Every operation of giving up and making the reserve fails or is the last before a power cut:
/// what was taken is there.
#[tokio::test(start_paused = true)]
async fn the_reserve_survives_faults() {
    let run = |disk: SimDisk| async move {
        let place = on_disk(disk.clone());
        let Ok(store) = place.try_open() else { return Vec::new() };
        let mut taken = Vec::new();
        for (n, capacity) in (1..).zip([8 << 20, 8 << 20, 3 << 18, 3 << 18, 8 << 20, 8 << 20]) {
            disk.set_capacity(capacity);
            if submits_or_ends(&store, n).await {
                taken.push(n);
            }
        }
        taken
    };
    let start = SimDisk::new(1);
    on_disk(start.clone()).create();
    let disk = start.fork();
    let before = disk.counters().total();
    assert!(run(disk.clone()).await.len() > 2);
    let total = disk.counters().total() - before;
    assert!(total > 30);
    for n in 1..=total {
        for errno in [None, Some(5), Some(28)] {
            let disk = start.fork();
            match errno {
                None => disk.crash_at_nth_op(n),
                Some(errno) => disk.fail_nth_op(n, errno),
            }
            let taken = run(disk.clone()).await;
            let disk = disk.fork();
            disk.power_cut(n);
            let store = on_disk(disk).open();
            for message in taken {
                let what = format!("operation {n}, fault {errno:?}");
                assert!(store.message(&ours(message)).unwrap().is_some(), "{what}");
            }
            assert_sound(&store);
        }
    }
}

async fn submits_or_ends(store: &Store, n: u64) -> bool {
    let answer = store.accept_submissions(vec![of_priority(n, Priority::Emergency, 900)]).await;
    answer.is_ok_and(|answers| matches!(answers[0], SubmissionAnswer::Stored(_)))
}

/// The real index on a real file system of 64 MiB: filled by messages, then by others to the last
/// byte, stopped, started while full, and given room.
#[tokio::test]
async fn a_small_file_system_fills_and_recovers() {
    let Some(disk) = Mounted::tmpfs("64m") else { return };
    let dir = disk.0.path().join("data");
    fs::create_dir(&dir).unwrap();
    let backend = |dir: &Path| Backend::Embedded {
        dir: dir.to_owned(),
        segment_bytes: 1 << 20,
        cache_bytes: 1 << 20,
        reserve: ReserveSettings { percent: 5, bytes_min: 16 << 20 },
    };
    super::super::create(&backend(&dir), &us(), [7; 16], at(0)).unwrap();
    let origin = us().log_origin(1);
    let open = || OpenStore { backend: backend(&dir), unit: us(), origin: origin.clone() }.open();
    let store = open().unwrap();
    let reserve = dir.join(RESERVE_NAME);
    let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    until(|| size(&reserve) == 16 << 20).await;
    let (refused, sent, came) = fill(&store, 100_000).await;
    assert_order(&refused);
    assert!(!reserve.exists() && free(&dir) > 0);
    settle(&store, &sent, &came).await;
    assert_sound(&store);
    // Others take the last byte. Nothing new is taken; the index, which must write to read, may
    // fail, and then the store ends and may be opened again: no answer was wrong.
    let told = sound::statements(&store);
    let filler = disk.0.path().join("filler");
    fill_up(&filler);
    assert_eq!(free(&dir), 0);
    for n in 0..100 {
        let new = of_priority(900_000 + n, Priority::Emergency, 60_000);
        match store.accept_submissions(vec![new]).await {
            Ok(answers) => assert_eq!(answers, [SubmissionAnswer::StorageFull]),
            Err(StoreError::Stopped) => break,
            Err(error) => assert_eq!(error.reason(), Reason::StorageFull, "{error}"),
        }
    }
    let end = store.close().await;
    assert!(matches!(end, Ended::Clean | Ended::IndexFailed(_)), "{end:?}");
    drop(store);
    // No reserve is left to give up: it starts as soon as there is room.
    match open() {
        Err(StoreError::Files(FilesError::InUse { .. })) => {}
        Err(error) => assert_eq!(error.reason(), Reason::StorageFull, "{error}"),
        Ok(store) => drop(store.close().await),
    }
    // Room also for an index that is made anew beside the one that was set aside.
    fs::remove_file(&filler).unwrap();
    disk.change("size=128m");
    let store = until_open(&open).await;
    // Whether the index could be believed or had to be set aside and made anew: nothing is missing.
    assert_eq!(sound::statements(&store), told);
    assert_sound(&store);
    store.close().await;
}

/// Filled by others while the node was down, with the reserve in place: opening gives it up.
#[tokio::test]
async fn a_store_opens_on_a_full_disk() {
    let Some(disk) = Mounted::tmpfs("32m") else { return };
    let dir = disk.0.path().join("data");
    fs::create_dir(&dir).unwrap();
    let backend = Backend::Embedded {
        dir: dir.clone(),
        segment_bytes: 1 << 20,
        cache_bytes: 1 << 20,
        reserve: ReserveSettings { percent: 0, bytes_min: 8 << 20 },
    };
    super::super::create(&backend, &us(), [7; 16], at(0)).unwrap();
    let origin = us().log_origin(1);
    let open = || OpenStore { backend: backend.clone(), unit: us(), origin: origin.clone() }.open();
    let store = open().unwrap();
    let reserve = dir.join(RESERVE_NAME);
    until(|| fs::metadata(&reserve).is_ok_and(|meta| meta.len() == 8 << 20)).await;
    assert!(submits(&store, 1, Priority::Routine, 1000).await);
    store.close().await;
    drop(store);
    fill_up(&disk.0.path().join("filler"));
    let store = until_open(&open).await;
    assert!(!reserve.exists() && !dir.join("index.damaged-1").exists());
    assert!(store.message(&ours(1)).unwrap().is_some());
    assert!(!submits(&store, 2, Priority::Routine, 1000).await);
    assert!(submits(&store, 3, Priority::Emergency, 1000).await);
    assert_sound(&store);
    assert_eq!(store.close().await, Ended::Clean);
}

/// Where no file can be made any more, not even for an instant, the mark of the index stays where
/// it is and the store goes on.
#[tokio::test]
async fn no_room_for_files_ends_no_store() {
    let Some(disk) = Mounted::tmpfs("64m,nr_inodes=100") else { return };
    let dir = disk.0.path().join("data");
    fs::create_dir(&dir).unwrap();
    let backend = Backend::Embedded {
        dir: dir.clone(),
        segment_bytes: 1 << 20,
        cache_bytes: 1 << 20,
        reserve: ReserveSettings::NONE,
    };
    super::super::create(&backend, &us(), [7; 16], at(0)).unwrap();
    let origin = us().log_origin(1);
    let open = || OpenStore { backend: backend.clone(), unit: us(), origin: origin.clone() }.open();
    let store = open().unwrap();
    assert!(submits(&store, 1, Priority::Routine, 1000).await);
    let other = disk.0.path().join("others");
    fs::create_dir(&other).unwrap();
    let taken = (0..100).take_while(|n| fs::write(other.join(n.to_string()), "").is_ok()).count();
    assert!((1..100).contains(&taken));
    assert!(submits(&store, 2, Priority::Routine, 1000).await);
    assert_eq!(store.close().await, Ended::Clean);
    drop(store);
    fs::remove_dir_all(&other).unwrap();
    let store = until_open(&open).await;
    assert!(store.message(&ours(1)).unwrap().is_some());
    assert!(store.message(&ours(2)).unwrap().is_some());
    assert_sound(&store);
    store.close().await;
}

/// Opens. A child that another test of this process begins holds copies of all files, the lock
/// among them, until it runs its program.
async fn until_open(open: &impl Fn() -> Result<Store, StoreError>) -> Store {
    let wait = async {
        loop {
            match open() {
                Err(StoreError::Files(FilesError::InUse { .. })) => {}
                Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
                Ok(store) => return store,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap()
}

/// The reserve is given up while it is being made: nothing of it counts, and nothing of it is
/// there.
#[test]
fn a_reserve_given_up_while_it_is_made_is_gone() {
    for pieces in 1..8 {
        let disk = SimDisk::new(1);
        disk.set_capacity(1 << 30);
        let dir = Path::new("/d");
        let settings = ReserveSettings { percent: 0, bytes_min: 32 << 20 };
        let space = Space::open(Arc::new(disk.clone()), dir, settings, 64 * KIB).unwrap();
        let work = space.take_work().unwrap();
        std::thread::scope(|scope| {
            let making = scope.spawn(|| work.run(Duration::ZERO).unwrap());
            while space.reserve() < pieces << 20 && !making.is_finished() {
                std::thread::yield_now();
            }
            space.give_up();
        });
        assert_eq!(space.reserve(), 0);
        assert!(disk.content(&dir.join(RESERVE_NAME)).is_none());
        assert!(space.take_work().is_some(), "it can be made again");
    }
}

/// The percentage counts when it is more than the least; a reserve that is larger than it is to be
/// is made anew, one that is shorter is made longer.
#[test]
fn the_reserve_has_the_size_that_is_asked_for() {
    let disk = SimDisk::new(1);
    disk.set_capacity(100 << 20);
    let dir = Path::new("/d");
    for (percent, bytes_min, wanted) in [(5, KIB, 5 << 20), (5, 6 << 20, 6 << 20), (1, 1, 1 << 20)]
    {
        let settings = ReserveSettings { percent, bytes_min };
        let io = Arc::new(disk.clone());
        let space = Space::open(io, dir, settings, 64 * KIB).unwrap();
        let work = space.take_work().unwrap();
        assert!(space.take_work().is_none(), "made once at a time");
        work.run(Duration::ZERO).unwrap();
        assert_eq!(space.reserve(), wanted);
        let content = disk.content(&dir.join(RESERVE_NAME)).unwrap();
        assert_eq!(content.len() as u64, wanted);
        assert!(space.take_work().is_none());
    }
}
