//! One suite for every variant of the store. Enter through the modules below; here are the places
//! to run in and the messages that they share. Invariant: a scenario judges by what verbs answered,
//! and at its end the store is sound: see `sound`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod alarms;
mod arrivals;
mod blobs;
mod cases;
mod durability;
mod erasure;
mod index;

mod limits;
mod mounted;
mod quotas;
mod random;

mod reading;
mod reboot;
mod receipts;
mod repair;

mod cut;
mod scrub;
mod scrubber;
mod snapshot;
mod sound;
mod space;
mod submissions;

use std::{path::Path, time::Duration};

use bytes::Bytes;
use relay_core::quota::Meter;
use relay_proto::{
    envelope::{Header, Priority},
    ids::{Digest, MessageId, UnitId},
    keys::KeyId,
    reason::Reason,
    receipt::Event as Stated,
    timestamp::Timestamp,
    v1::{self, AuditRecord},
};
use tempfile::TempDir;

use super::{journal::SimDisk, records::AckRecord, space::ReserveSettings, *};
use sound::assert_sound;

/// Where a store of a test lives.
struct Place {
    backend: Backend,
    dir: Option<TempDir>,
}

impl Place {
    fn memory(seed: u64) -> Self {
        let place = Self::on(SimDisk::new(seed));
        place.create();
        place
    }

    fn on(disk: SimDisk) -> Self {
        let sync_time = Duration::from_millis(1);
        let reserve = ReserveSettings::NONE;
        Self { backend: Backend::Memory { disk, sync_time, reserve }, dir: None }
    }

    fn embedded() -> Self {
        let place = Self::in_dir(tempfile::tempdir().unwrap());
        place.create();
        place
    }

    fn in_dir(dir: TempDir) -> Self {
        let backend = Backend::Embedded {
            dir: dir.path().to_owned(),
            segment_bytes: 64 << 10,
            cache_bytes: 1 << 20,
            reserve: ReserveSettings::NONE,
        };
        Self { backend, dir: Some(dir) }
    }

    fn create(&self) {
        super::create(&self.backend, &us(), [7; 16], at(0)).unwrap();
    }

    fn path(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    fn disk(&self) -> &SimDisk {
        match &self.backend {
            Backend::Memory { disk, .. } => disk,
            Backend::Embedded { .. } => panic!("not simulated"),
        }
    }

    fn try_open(&self) -> Result<Store, StoreError> {
        let origin = us().log_origin(1);
        OpenStore { backend: self.backend.clone(), unit: us(), origin }.open()
    }

    fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    /// The place after a power cut, which takes some of what was not synced; a real directory shows
    /// only what a killed process leaves.
    fn cut(&self, seed: u64) -> Self {
        if self.dir.is_some() {
            return self.killed();
        }
        let disk = self.disk().fork();
        disk.power_cut(seed);
        Self::on(disk)
    }

    /// The place as a process finds it that starts after this one was killed.
    fn killed(&self) -> Self {
        let Some(dir) = &self.dir else {
            let disk = self.disk().fork();
            disk.kill();
            return Self::on(disk);
        };
        let copy = tempfile::tempdir().unwrap();
        // In this order the copy of the journal is the newest, as it always is on a disk.
        for name in ["lock", "index.mark", "index", "store.id", "journal"] {
            copy_all(&dir.path().join(name), &copy.path().join(name));
        }
        Self::in_dir(copy)
    }
}

fn copy_all(from: &Path, to: &Path) {
    let Ok(meta) = std::fs::metadata(from) else { return };
    if !meta.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy_all(&entry.path(), &to.join(entry.file_name()));
    }
}

/// Runs each scenario on every variant.
macro_rules! on_each {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(super::Place::memory(1)).await;
            })*
        }
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::embedded()).await;
            })*
        }
    };
}
use on_each;

fn us() -> UnitId {
    unit("xa.ncu")
}

fn them() -> UnitId {
    unit("xb.ncu")
}

fn unit(name: &str) -> UnitId {
    name.parse().unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn priority(n: u64) -> Priority {
    Priority::ALL[(n % 3) as usize]
}

fn payload(n: u64) -> Bytes {
    Bytes::from(vec![n as u8 | 1; 40 + (n as usize % 7) * 150])
}

/// The id of the nth message.
fn id(n: u64) -> MessageId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&(n ^ 0x5555).to_be_bytes());
    MessageId::new(at(n), random)
}

/// A header; the store believes its caller that it was verified. `version` makes other headers of
/// the same id.
fn header(n: u64, version: u64, from: &UnitId, to: &[UnitId]) -> Header {
    let bytes = Bytes::from(format!("header {n} {version} of {from}"));
    Header {
        digest: Digest::of(&bytes),
        message_id: id(n),
        from: from.clone(),
        to: to.to_vec(),
        profile: "budapest-247".to_owned(),
        priority: priority(n),
        created_at: at(n),
        expires_at: at(n + 3_600_000),
        payload_digest: Digest::of(&payload(n)),
        attachments: None,
        max_hops: 1,
        key_id: KeyId::from_bytes(&[9; KeyId::LEN]).unwrap(),
        signed: v1::Signed { bytes, ..Default::default() },
    }
}

fn statement(what: &str, n: u64) -> Bytes {
    Bytes::from(format!("{what} {n}"))
}

fn submission_to(n: u64, to: &[UnitId]) -> NewSubmission {
    NewSubmission {
        header: header(n, 0, &us(), to),
        payload: payload(n),
        about: About { kind: 1, case_id: Bytes::from_static(&[3; 16]), ..About::default() },
        request_key: *Digest::of(&n.to_be_bytes()).as_bytes(),
        content: Digest::of(b"draft"),
        statement: statement("submission", n),
        queue_max: QueueMax { messages: 1000, bytes: 1 << 30 },
        audit: audited("SendMessage"),
        approval: None,
        now: at(n),
    }
}

fn audited(call: &str) -> AuditRecord {
    AuditRecord { account: "cms".to_owned(), call: call.to_owned(), ..AuditRecord::default() }
}

fn submission(n: u64) -> NewSubmission {
    submission_to(n, &[them()])
}

fn arrival(n: u64, version: u64) -> Verdict {
    Verdict::Accept(Box::new(NewArrival {
        header: header(n, version, &them(), &[us()]),
        payload: payload(n),
        about: About { kind: 2, ..About::default() },
        own: us(),
        peer: them(),
        number: n,
        consignment: statement("consignment", n * 10 + version),
        rejections: vec![(Reason::Conflict, statement("conflict", n * 10 + version))],
        clock_unverified: false,
        carried: priority(n),
        meter: Meter::unlimited(),
        recovered: false,
        now: at(n),
    }))
}

fn refusal(n: u64, version: u64) -> Verdict {
    Verdict::Refuse(Box::new(NewRefusal {
        header: header(n, version, &them(), &[us()]),
        reason: Reason::KindNotAllowed,
        peer: them(),
        number: n,
        rejection: statement("rejection", n * 10 + version),
        meter: Meter::unlimited(),
        now: at(n),
    }))
}

/// A receipt of the peer about our nth message.
fn receipt(n: u64, event: Stated) -> NewReceipt {
    NewReceipt {
        digest: header(n, 0, &us(), &[]).digest,
        recipient: Some(them()),
        event,
        reason: if event.is_positive() { String::new() } else { "EXPIRED".to_owned() },
        statement: Bytes::from(format!("{} {n}", event.name())),
        index: n,
        path: vec![Bytes::from_static(&[4; 32])],
        actor: String::new(),
        flags: vec![],
    }
}

fn group(size: u64, have: u64, receipts: Vec<NewReceipt>) -> ReceiptsToRecord {
    ReceiptsToRecord {
        peer: them(),
        origin: them().log_origin(1),
        note: format!("note {size}"),
        size,
        root: Digest::of(&size.to_be_bytes()),
        receipts,
        have,
        meter: Meter::unlimited(),
        now: at(size),
    }
}

fn ack(n: u64, request: u64, capacity: u32) -> NewAck {
    NewAck {
        digest: header(n, 0, &them(), &[]).digest,
        ack: AckRecord { capacity, by: "desk".to_owned(), at_ms: 5, principal: "cms".to_owned() },
        statement: statement("handover", request * 10 + u64::from(capacity)),
        request_key: *Digest::of(&(request + 1_000_000).to_be_bytes()).as_bytes(),
        content: Digest::of(b"ack"),
        audit: audited("AcknowledgeMessage"),
        now: at(n),
    }
}

/// Digest of our nth message, and of the peer's.
fn ours(n: u64) -> Digest {
    header(n, 0, &us(), &[]).digest
}

fn theirs(n: u64) -> Digest {
    header(n, 0, &them(), &[]).digest
}

async fn alarm(store: &Store, reason: Reason, peer: UnitId, text: &str) -> Result<(), StoreError> {
    let (peer, detail) = (peer.to_string(), text.to_owned());
    let new = NewAlarm { reason, peer, detail, evidence: Bytes::new(), now: at(1) };
    store.alarm(new, Meter::unlimited()).await
}

/// Waits for what other threads do.
async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("done within a minute");
}

async fn submit(store: &Store, new: NewSubmission) -> SubmissionAnswer {
    store.accept_submissions(vec![new]).await.unwrap().remove(0)
}

async fn arrive(store: &Store, verdict: Verdict) -> ArrivalAnswer {
    store.accept_arrivals(Priority::Routine, vec![verdict]).await.unwrap().remove(0)
}

fn owed(store: &Store) -> Vec<(u64, Bytes)> {
    let owed = store.waiting_receipts(&them(), 10_000).unwrap();
    owed.into_iter().map(|(number, receipt)| (number, receipt.statement)).collect()
}

fn seq(store: &Store) -> u64 {
    store.log_head().seq
}

const START: u64 = 1_772_438_400_000;
