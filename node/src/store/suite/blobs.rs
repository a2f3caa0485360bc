//! Attachments: nothing is here that was not compared, what is durable is not asked for again, and
//! what a message lists stays until it is erased.

use relay_proto::attachment::Item;

use super::*;
use crate::store::blobs::Whole;

on_each![bytes_become_whole_by_their_digest, an_owner_spoils_no_others];

/// Bytes that differ from place to place.
fn bytes(seed: u8, size: usize) -> Bytes {
    (0..size).map(|at| (at / 251) as u8 ^ (at as u8) ^ seed).collect::<Vec<u8>>().into()
}

fn item(bytes: &Bytes) -> Item {
    Item { sha256: Digest::of(bytes), size: bytes.len() as u64 }
}

async fn begin(store: &Store, owner: &Owner, item: Item) -> Result<Option<Part>, BlobError> {
    Ok(match store.blobs().begin(owner.clone(), item, Priority::Routine).await? {
        Begun::Whole => None,
        Begun::Part(part) => Some(*part),
    })
}

/// Brings what is left of it, in pieces.
async fn bring(store: &Store, owner: &Owner, all: &Bytes) -> Result<(), BlobError> {
    let Some(mut part) = begin(store, owner, item(all)).await? else { return Ok(()) };
    while part.left() > 0 {
        let from = part.offset() as usize;
        part = part.write(all.slice(from..all.len().min(from + PIECE))).await?;
    }
    part.finish().await
}

async fn read(whole: &Whole) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let piece = whole.piece(all.len() as u64).await.unwrap();
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

fn reason(result: Result<impl Sized, BlobError>) -> Reason {
    result.err().expect("refused").reason()
}

/// A cut leaves what is durable and the rest follows; other bytes, more bytes and another size of
/// the same digest are refused, and nothing of them stays.
async fn bytes_become_whole_by_their_digest(place: Place) {
    let (store, local) = (place.open(), Owner::local());
    let all = bytes(1, 5 * PIECE + 7);
    let blobs = store.blobs();
    assert_eq!(blobs.durable(local.clone(), item(&all)).await.unwrap(), 0);
    let part = begin(&store, &local, item(&all)).await.unwrap().unwrap();
    assert_eq!(reason(begin(&store, &local, item(&all)).await), Reason::Busy);
    drop(part.write(all.slice(..2 * PIECE)).await.unwrap());
    assert!(!blobs.holds(&item(&all)).unwrap());
    let had = blobs.durable(local.clone(), item(&all)).await.unwrap();
    assert_eq!(had, 2 * PIECE as u64);
    let part = begin(&store, &local, item(&all)).await.unwrap().unwrap();
    assert_eq!(part.offset(), had);
    drop(part);
    bring(&store, &local, &all).await.unwrap();
    assert_eq!(blobs.durable(local.clone(), item(&all)).await.unwrap(), all.len() as u64);
    assert_eq!(read(&blobs.open(item(&all)).await.unwrap()).await, all);
    assert_eq!(blobs.missing(vec![item(&all), item(&bytes(2, 9))]).await.unwrap(), Some(1));

    let claim = Item { size: 3, ..item(&all) };
    assert_eq!(reason(begin(&store, &local, claim).await), Reason::AttachmentMismatch);
    for wrong in [bytes(4, 100), bytes(3, 101)] {
        let wanted = item(&bytes(3, 100));
        let part = begin(&store, &local, wanted).await.unwrap().unwrap();
        let brought = match part.write(wrong).await {
            Ok(part) => part.finish().await,
            Err(error) => Err(error),
        };
        assert_eq!(reason(brought), Reason::AttachmentMismatch);
        assert_eq!(blobs.durable(local.clone(), wanted).await.unwrap(), 0);
    }
    let lost = blobs.open(item(&bytes(3, 100))).await;
    assert_eq!(reason(lost), Reason::AttachmentMissing);
}

/// Two that bring the same attachment write two parts: wrong bytes of the one cost the other
/// nothing.
async fn an_owner_spoils_no_others(place: Place) {
    let (store, all) = (place.open(), bytes(1, 3 * PIECE));
    let (one, other) = (Owner::peer(&them()), Owner::peer(&unit("xc.ncu")));
    let part = begin(&store, &one, item(&all)).await.unwrap().unwrap();
    let wrong = part.write(bytes(9, 3 * PIECE)).await.unwrap();
    let part = begin(&store, &other, item(&all)).await.unwrap().unwrap();
    let part = part.write(all.slice(..PIECE)).await.unwrap();
    assert_eq!(reason(wrong.finish().await), Reason::AttachmentMismatch);
    drop(part);
    let part = begin(&store, &other, item(&all)).await.unwrap().unwrap();
    assert_eq!(part.offset(), PIECE as u64);
    part.write(all.slice(PIECE..)).await.unwrap().finish().await.unwrap();
    // Whoever comes second finds it whole.
    assert!(begin(&store, &one, item(&all)).await.unwrap().is_none());
}

/// Whenever the machine stops: what was answered as whole is whole, and what was not can be brought
/// again to its end, whatever the power cut left of it.
#[tokio::test(start_paused = true)]
async fn a_power_cut_at_every_operation() {
    let all = bytes(1, 9 * PIECE);
    let mut stops = 0;
    for nth in 1.. {
        let place = Place::memory(nth);
        let store = place.open();
        place.disk().crash_at_nth_op(nth);
        let brought = bring(&store, &Owner::local(), &all).await;
        if !place.disk().crashed() {
            break;
        }
        stops += 1;
        let cut = place.cut(nth ^ 0x5a);
        let store = cut.open();
        let blobs = store.blobs();
        if brought.is_ok() {
            assert!(blobs.holds(&item(&all)).unwrap(), "operation {nth}");
        }
        // Of bytes that were not synced some may be wrong: told at the end, and begun anew.
        if !blobs.holds(&item(&all)).unwrap() {
            match bring(&store, &Owner::local(), &all).await {
                Err(BlobError::Mismatch) => bring(&store, &Owner::local(), &all).await.unwrap(),
                brought => brought.unwrap(),
            }
        }
        let whole = blobs.open(item(&all)).await.unwrap();
        assert_eq!(read(&whole).await, all, "operation {nth}");
        store.close().await;
    }
    assert!(stops > 10, "{stops}");
}

fn listing(n: u64, items: &[Item]) -> Verdict {
    let Verdict::Accept(mut new) = arrival(n, 0) else { unreachable!() };
    new.about.attachments = items.to_vec();
    Verdict::Accept(new)
}

/// Parts and whole ones that nobody lists go when nobody used them; listed ones stay, also through
/// a restart, until all messages that list them were erased.
#[tokio::test]
async fn what_a_message_lists_stays() {
    let place = Place::embedded();
    let (store, local) = (place.open(), Owner::local());
    let [listed, shared, unlisted, part] = [1, 2, 3, 4].map(|seed| bytes(seed, 1000));
    for all in [&listed, &shared, &unlisted] {
        bring(&store, &local, all).await.unwrap();
    }
    drop(begin(&store, &local, item(&part)).await.unwrap().unwrap());
    arrive(&store, listing(1, &[item(&listed), item(&shared)])).await;
    arrive(&store, listing(2, &[item(&shared)])).await;
    assert_eq!(store.blobs().sweep(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(store.blobs().sweep(Duration::ZERO).await.unwrap(), 2);
    assert_eq!(store.blobs().durable(local.clone(), item(&part)).await.unwrap(), 0);
    store.close().await;

    let store = place.open();
    let holds = |all: &Bytes| store.blobs().holds(&item(all)).unwrap();
    assert_eq!(store.blobs().sweep(Duration::ZERO).await.unwrap(), 0);
    assert!(holds(&listed) && holds(&shared) && !holds(&unlisted));
    assert!(store.erase(theirs(1), "order".into(), "officer".into(), at(9)).await.unwrap());
    assert!(!holds(&listed) && holds(&shared));
    assert_eq!(store.message(&theirs(2)).unwrap().unwrap().attachments.len(), 1);
    assert_sound(&store);
    // An order that was cut off before the file went is finished by the next start.
    std::fs::write(
        place.path().join("attachments/whole").join(item(&listed).sha256.to_string()),
        &listed,
    )
    .unwrap();
    store.close().await;
    let store = place.open();
    assert_eq!(store.blobs().sweep(Duration::from_secs(3600)).await.unwrap(), 1);
    assert!(!store.blobs().holds(&item(&listed)).unwrap());
    store.close().await;
}

/// A full disk refuses before a byte is written, and takes it when there is room.
#[tokio::test(start_paused = true)]
async fn a_full_disk_takes_none() {
    let place = Place::memory(1);
    let store = place.open();
    let all = bytes(1, 4 * PIECE);
    place.disk().set_room(Some(2 * PIECE as u64));
    assert_eq!(reason(begin(&store, &Owner::local(), item(&all)).await), Reason::StorageFull);
    assert_eq!(store.blobs().durable(Owner::local(), item(&all)).await.unwrap(), 0);
    place.disk().set_room(None);
    bring(&store, &Owner::local(), &all).await.unwrap();
}

/// The oldest part of an owner makes room for a new one; what somebody writes does not.
#[tokio::test]
async fn parts_of_an_owner_are_bounded() {
    let place = Place::embedded();
    let (store, local) = (place.open(), Owner::local());
    let mut held = Vec::new();
    for seed in 0..16 {
        held.push(begin(&store, &local, item(&bytes(seed, 500))).await.unwrap().unwrap());
    }
    let more = item(&bytes(99, 500));
    assert_eq!(reason(begin(&store, &local, more).await), Reason::Quota);
    // A peer has bounds of its own.
    assert!(begin(&store, &Owner::peer(&them()), more).await.unwrap().is_some());
    held.remove(0);
    assert!(begin(&store, &local, more).await.unwrap().is_some());
    let dir = place.path().join("attachments/parts/local");
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 16);
}

/// Rot in an attachment is found by the scrub, named and told; it is not given to anybody.
#[tokio::test]
async fn a_rotted_attachment_is_named() {
    let place = Place::embedded();
    let store = place.open();
    let all = bytes(1, 3 * PIECE);
    bring(&store, &Owner::local(), &all).await.unwrap();
    arrive(&store, listing(1, &[item(&all)])).await;
    let round = |store: Store| {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || store.scrub_round(at(50), runtime).unwrap())
    };
    let sound = round(store.clone()).await.unwrap();
    assert!(sound.complete && sound.left_out == 0 && sound.bytes > all.len() as u64);
    let path = place.path().join("attachments/whole").join(item(&all).sha256.to_string());
    let mut rotted = all.to_vec();
    rotted[PIECE] ^= 1;
    std::fs::write(&path, rotted).unwrap();
    assert_eq!(round(store.clone()).await.unwrap().left_out, 1);
    let told = store.alarms(10).unwrap();
    let named = |alarm: &&records::AlarmRecord| {
        alarm.reason == "STORE_DAMAGED" && alarm.detail.contains(&item(&all).sha256.to_string())
    };
    assert_eq!(told.iter().filter(named).count(), 1, "{told:?}");
    assert_eq!(reason(store.blobs().open(item(&all)).await), Reason::StoreDamaged);
    store.close().await;
}

/// Sent in pieces of this; a part is synced now and then between them.
const PIECE: usize = 256 << 10;
