//! What a disk gives back: the journal, the index's records, the configuration.

use std::{
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;
use prost::Message;
use relay_node::{
    config,
    store::{
        event::Event,
        journal::{EventFrame, Io, Journal, JournalSettings, SimDisk},
        records::{
            AckRecord, AlarmRecord, BackoffRecord, CheckpointRecord, EntryRecord, LostLeaves,
            MessageRecord, NumbersRecord, OwedRecord, PeerRecord, ReceiptRecord, RefusedRecord,
            RequestRecord,
        },
    },
};
use tempfile::TempDir;

/// A folder whose files are written anew for each input.
static FOLDER: LazyLock<Mutex<TempDir>> = LazyLock::new(|| {
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder for configurations");
    let profiles = folder.path().join("profiles");
    std::fs::create_dir(&profiles).expect("a folder of our own");
    std::fs::write(profiles.join("budapest-247.toml"), PROFILE).expect("a file in memory");
    Mutex::new(folder)
});

/// The profile that the shipped configuration names.
const PROFILE: &str = include_str!("../../../config/profiles/budapest-247.toml");

/// A configuration.
pub fn config(bytes: &[u8]) -> bool {
    inspected("relay.toml", bytes, None)
}

/// A profile, named by a configuration that is in order.
pub fn profile(bytes: &[u8]) -> bool {
    inspected("of-profile.toml", NODE.as_bytes(), Some(bytes))
}

fn inspected(name: &str, settings: &[u8], profile: Option<&[u8]>) -> bool {
    let folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    let path = folder.path().join(name);
    std::fs::write(&path, settings).expect("a file in memory");
    if let Some(profile) = profile {
        std::fs::write(folder.path().join("profile.toml"), profile).expect("a file in memory");
    }
    match config::load(&path) {
        Ok(settings) => {
            assert!(!settings.profiles.is_empty() || profile.is_none());
            true
        }
        Err(report) => {
            assert!(!report.faults.is_empty(), "a refusal says why");
            assert!(report.to_string().lines().count() > 0);
            false
        }
    }
}

/// What `init` writes, the least that is needed.
const NODE: &str = r#"
profiles = ["profile.toml"]
[node]
unit = "xa.ncu"
name = "a"
dir = "data"
anchor_dir = "anchor"
[keys]
dir = "keys"
card = "xa.ncu.relaycard"
[api]
socket = "api.sock"
"#;

/// A value of the index, or an event of the journal: the first byte says which.
pub fn record(bytes: &[u8]) -> bool {
    let Some((which, rest)) = bytes.split_first() else { return false };
    match which % 14 {
        0 => again::<MessageRecord>(rest).is_some_and(|record| {
            let _ = (record.digest(), record.message_id());
            true
        }),
        1 => again::<EntryRecord>(rest).is_some(),
        2 => again::<ReceiptRecord>(rest).is_some(),
        3 => again::<OwedRecord>(rest).is_some(),
        4 => again::<RequestRecord>(rest).is_some(),
        5 => again::<PeerRecord>(rest).is_some(),
        6 => again::<LostLeaves>(rest).is_some(),
        7 => again::<BackoffRecord>(rest).is_some(),
        8 => again::<CheckpointRecord>(rest).is_some(),
        9 => again::<AckRecord>(rest).is_some(),
        10 => again::<RefusedRecord>(rest).is_some(),
        11 => again::<AlarmRecord>(rest).is_some(),
        12 => again::<NumbersRecord>(rest).is_some(),
        _ => again::<Event>(rest).is_some_and(|event| {
            let _ = event.erases();
            true
        }),
    }
}

/// Read, written and read again, it is the same.
fn again<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let read = M::decode(bytes).ok()?;
    assert_eq!(M::decode(read.encode_to_vec().as_slice()).as_ref(), Ok(&read));
    Some(read)
}

fn settings() -> JournalSettings {
    JournalSettings { dir: "j".into(), segment_bytes: 8 << 10 }
}

/// Three segments: the last one has room left.
static DISK: LazyLock<SimDisk> = LazyLock::new(|| {
    let disk = SimDisk::new(1);
    let mut journal = Journal::create(settings(), Arc::new(disk.clone())).expect("a new journal");
    for n in 0..30usize {
        let (meta, body) =
            (format!("meta of event {n}").into(), Bytes::from(vec![1; 97 * (n % 5)]));
        journal.append(&[EventFrame { meta, body }]).expect("room");
    }
    journal.close().expect("an orderly end");
    disk
});

/// A journal whose files were changed behind its back. The input is a list of edits: which file,
/// where, and up to 255 bytes to write there; or a stretch whose checksum is made to fit again, so
/// that what lies behind the checksums is reached.
pub fn journal(bytes: &[u8]) -> bool {
    let disk = DISK.fork();
    let names = disk.list(Path::new("j")).expect("the journal's files");
    let mut rest = bytes;
    while let Some(([kind, high, low, length], tail)) = rest.split_first_chunk::<4>() {
        let offset = usize::from(u16::from_be_bytes([*high, *low]));
        let name = names.get(usize::from(*kind) % names.len()).expect("modulo");
        let path = Path::new("j").join(name);
        let mut content = disk.content(&path).expect("it was listed");
        let reseals = *kind >= 128;
        let taken = if reseals { 0 } else { usize::from(*length).min(tail.len()) };
        let (new, after) = tail.split_at(taken);
        rest = after;
        if reseals {
            reseal(&mut content, offset, usize::from(*length) * 8);
        } else if let Some(place) = content.get_mut(offset..offset + new.len()) {
            place.copy_from_slice(new);
        }
        let file = disk.open(&path).expect("it was listed");
        file.write_at(0, &content).expect("a disk without faults");
    }
    let opened = Journal::open(settings(), Arc::new(disk.clone()), &[]);
    let Ok((mut journal, recovered)) = opened else { return false };
    let reader = journal.reader();
    assert_eq!(reader.durable_seq(), recovered.last_seq);
    let events = reader.scan(1, usize::MAX, usize::MAX);
    for (seq, position, event) in events.iter().flatten() {
        assert_eq!(reader.read(*position).as_ref().ok(), Some(event), "the same by its place");
        assert_eq!(*seq, event.seq);
    }
    for segment in 1..=reader.last_segment() {
        let _ = reader.verify_segment(segment);
    }
    let frame = EventFrame { meta: Bytes::from_static(b"after"), body: Bytes::new() };
    let done = journal.append(&[frame]).expect("what opened goes on");
    assert_eq!(done.first_seq, recovered.last_seq + 1);
    events.is_ok()
}

/// Writes the checksum that a block of the journal would have: over the segment's id and the block.
fn reseal(content: &mut [u8], offset: usize, length: usize) {
    // The mark has zeros in the place of the id.
    let id: [u8; 16] = match content.get(..28) {
        Some(head) if head.starts_with(b"rlysegmt") => {
            head.last_chunk().copied().unwrap_or_default()
        }
        _ => [0; 16],
    };
    let Some(block) = content.get_mut(offset..offset + length) else { return };
    let Some((fields, sum)) = block.split_last_chunk_mut::<4>() else { return };
    let mut crc = !0u32;
    for byte in id.iter().chain(fields.iter()) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    *sum = (!crc).to_le_bytes();
}
