//! Receipts on their way home: sent in groups under one checkpoint, again on every new session
//! until the peer says that it has them. In a backlog those about EMERGENCY go ahead, one group for
//! each that goes in turn.
//!
//! While the peer has not confirmed the last group, more gather for the next one: each group costs
//! both sides a commit, a signature and its verification. What was sent and not confirmed goes
//! again when the peer shows by a copy of its message that it lacks it; a peer that does not
//! confirm it then gets one group in [`AGAIN_WAIT`], however many copies it sends.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use relay_proto::{
    envelope::Priority,
    ids::{Digest, LogOrigin, UnitId},
    limits,
    tlog::SignedCheckpoint,
    v1,
};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, warn};

use super::{Context, outbound::sleep, peers::Live};
use crate::{
    link::{Lane, SessionId},
    store::records::ReceiptRecord,
    tlog::TlogError,
};

/// Serves one peer's receipts until the node stops.
pub(super) async fn run(
    ctx: Arc<Context>,
    unit: UnitId,
    mut session: watch::Receiver<Option<Live>>,
) {
    let stop = ctx.parts.tasks.stop_token();
    let bells = ctx.parts.store.bells(&unit);
    let mut sent = Sent::default();
    loop {
        let live = session.borrow_and_update().clone();
        let mut wait = None;
        if let Some(live) = &live {
            if sent.session != Some(live.id) {
                sent = Sent::at_session_start(&ctx, &unit, live);
            }
            let heard = live.has.load(Ordering::Acquire);
            wait = sent.wait(heard);
            // Asked for again while the last group may still be confirmed: after it.
            if wait.is_none() && bells.take_rewind() {
                let confirmed = ctx.parts.store.receipts_confirmed(&unit).unwrap_or(0);
                // Further back on a session whose peer has less than it confirmed.
                sent.up_to = sent.up_to.min(confirmed.max(heard));
            }
            let group = match wait {
                Some(_) => Ok(false),
                None => send_group(&ctx, &unit, live, &mut sent).await,
            };
            match group {
                Ok(true) => continue,
                Ok(false) => {}
                Err(TlogError::Held(hold)) => {
                    if let Some(left_out) = ctx.quotas.meter(&unit).line() {
                        warn!(%hold, peer = %unit, left_out, "receipts wait");
                    }
                    let mut holds = ctx.parts.tlog.holds();
                    let free = holds.wait_for(|now| now.as_ref() != Some(&hold));
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        changed = session.changed() => if changed.is_err() { return },
                        _ = free => {}
                    }
                    continue;
                }
                Err(error) => {
                    // Messages are taken and receipts wait, visibly: their senders keep their
                    // copies.
                    if let Some(left_out) = ctx.quotas.meter(&unit).line() {
                        warn!(%error, peer = %unit, left_out, "receipts wait");
                    }
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(SIGNER_WAIT) => continue,
                    }
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = session.changed() => if changed.is_err() { return },
            () = bells.receipts.notified() => {}
            () = sleep(wait) => {}
        }
    }
}

/// Where sending stands on this session.
#[derive(Default)]
struct Sent {
    session: Option<SessionId>,
    /// Numbers up to this one were sent.
    up_to: u64,
    /// The same at its highest: what goes up to here goes again.
    highest: u64,
    /// Size of our log that the peer holds, as far as we know.
    held: u64,
    /// A group was sent: the first one says where what is owed begins.
    begun: bool,
    /// Up to this number a backlog was looked through for EMERGENCY.
    looked: u64,
    /// The last group went ahead of its turn: the next one is in turn, whatever waits.
    ahead: bool,
    /// The last group in turn, until it is confirmed.
    awaited: Option<Awaited>,
}

/// A group that is not confirmed.
struct Awaited {
    last: u64,
    since: Instant,
    /// It was sent on this session before.
    again: bool,
}

impl Sent {
    fn at_session_start(ctx: &Context, unit: &UnitId, live: &Live) -> Self {
        let heads = live.hello.heads.unwrap_or_default();
        // Only a note with our own valid signature counts as a claim about our log.
        let log = ctx.parts.directory.own().log(ctx.parts.tlog.origin());
        let held = log.and_then(|log| {
            let note = live.hello.held_checkpoint.as_str();
            // It may be of a log that ended.
            let key = |of: &LogOrigin| (*of == log.origin).then_some(log.key.key);
            SignedCheckpoint::open(note, key).ok()
        });
        let held = held.map_or(0, |held| held.checkpoint().size);
        // The peer's word, also where it confirmed more: its store was set back. What is of a log
        // that ended cannot be proven under the open one.
        let from = ctx.parts.store.counter("receipts-from", unit).unwrap_or(0);
        let up_to = heads.receipts_have.max(from);
        Self { session: Some(live.id), up_to, held, ..Self::default() }
    }

    /// How much longer the last group's confirmation is waited for.
    fn wait(&mut self, heard: u64) -> Option<Duration> {
        let Awaited { last, since, again } = *self.awaited.as_ref()?;
        let max = if again { AGAIN_WAIT } else { CONFIRM_WAIT };
        let left = max.checked_sub(since.elapsed()).filter(|_| heard < last);
        if left.is_none() {
            self.awaited = None;
            if again && heard < last {
                // Nobody waits for the rest of what goes again: it comes when it is asked for anew,
                // or on the next session.
                self.up_to = self.highest;
            }
        }
        left
    }

    /// This group in turn is on its way.
    fn went(&mut self, last: u64) {
        let again = self.up_to < self.highest;
        self.awaited = Some(Awaited { last, since: Instant::now(), again });
        (self.up_to, self.highest) = (last, self.highest.max(last));
    }
}

/// Sends the next group. Returns whether there was one.
async fn send_group(
    ctx: &Context,
    unit: &UnitId,
    live: &Live,
    sent: &mut Sent,
) -> Result<bool, TlogError> {
    let store = &ctx.parts.store;
    let confirmed = store.receipts_confirmed(unit)?;
    let had = confirmed.max(sent.highest);
    if sent.up_to < had && !ctx.quotas.meter(unit).again() {
        // It had that again too often. What it has not is not called settled: it comes on a later
        // session.
        (sent.up_to, sent.begun) = (had, true);
    }
    let in_turn = store.owed_receipts(unit, sent.up_to, GROUP_MAX)?;
    let (Some((first, _)), Some((last, _))) = (in_turn.first(), in_turn.last()) else {
        return Ok(false);
    };
    let owed_after = if sent.begun { 0 } else { first.saturating_sub(1) };
    let mut ahead = Vec::new();
    if in_turn.len() >= GROUP_MAX && !sent.ahead {
        // A backlog. What goes ahead goes again in its turn: the peer confirms by number.
        let from = sent.looked.max(*last);
        (ahead, sent.looked) = store.owed_ahead(unit, from, Priority::Emergency, GROUP_MAX)?;
    }
    sent.ahead = !ahead.is_empty();
    let owed = if sent.ahead { ahead } else { in_turn };
    let (group, size) = group(ctx, sent.held, owed_after, owed).await?;
    let (count, last) = (group.receipts.len(), group.receipts.last().map_or(0, |one| one.number));
    debug!(peer = %unit, count, last, size, ahead = sent.ahead, "receipts sent");
    if live.sender.send(Lane::Control, v1::frame::Kind::Receipts(group)).await.is_err() {
        // The session ended; the next one begins where the peer says.
        sent.session = None;
        return Ok(false);
    }
    match sent.ahead {
        // What did not fit any more is looked for again.
        true => sent.looked = sent.looked.min(last),
        false => sent.went(last),
    }
    (sent.held, sent.begun) = (size, true);
    Ok(true)
}

/// A group of the first of these receipts, as many as a frame takes, and the size of its log.
async fn group(
    ctx: &Context,
    held: u64,
    owed_after: u64,
    owed: Vec<(u64, ReceiptRecord)>,
) -> Result<(v1::ReceiptGroup, u64), TlogError> {
    let checkpoint = ctx.parts.tlog.checkpoint().await?;
    let from = if held > checkpoint.size { 0 } else { held };
    let consistency = match from > 0 && from < checkpoint.size {
        true => ctx.parts.tlog.consistency(from, checkpoint.size)?,
        false => Vec::new(),
    };
    let mut group = v1::ReceiptGroup {
        checkpoint: checkpoint.note.to_string(),
        consistency_from: if consistency.is_empty() { 0 } else { from },
        consistency: hashes(&consistency),
        receipts: Vec::with_capacity(owed.len()),
        owed_after,
    };
    let mut room = Room::beside(&group);
    for (number, record) in owed {
        let receipt = numbered(ctx, number, record, checkpoint.size)?;
        // One always fits.
        if !room.take(&receipt) && !group.receipts.is_empty() {
            break;
        }
        group.receipts.push(receipt);
    }
    Ok((group, checkpoint.size))
}

/// What is left of a control frame: bytes and fields are both limited.
#[derive(Debug)]
struct Room {
    bytes: usize,
    fields: usize,
}

impl Room {
    /// Beside a group that has no receipts yet.
    fn beside(group: &v1::ReceiptGroup) -> Self {
        let bytes = group.encoded_len() + FRAME_HEAD;
        let fields = group.consistency.len() + GROUP_FIELDS;
        Self {
            bytes: limits::CONTROL_BYTES_MAX.saturating_sub(bytes),
            fields: limits::FIELDS_MAX.saturating_sub(fields),
        }
    }

    /// Takes what a receipt needs; false when it is not there any more.
    fn take(&mut self, receipt: &v1::NumberedReceipt) -> bool {
        let bytes = self.bytes.checked_sub(receipt.encoded_len() + ELEMENT_HEAD);
        let fields = self.fields.checked_sub(receipt.path.len() + RECEIPT_FIELDS);
        let (Some(bytes), Some(fields)) = (bytes, fields) else { return false };
        (self.bytes, self.fields) = (bytes, fields);
        true
    }
}

fn numbered(
    ctx: &Context,
    number: u64,
    record: ReceiptRecord,
    size: u64,
) -> Result<v1::NumberedReceipt, TlogError> {
    let path = ctx.parts.tlog.inclusion(record.index, size)?;
    Ok(v1::NumberedReceipt {
        number,
        statement: record.statement,
        index: record.index,
        path: hashes(&path),
        actor: record.actor,
    })
}

/// Hashes for the wire.
pub(super) fn hashes(path: &[Digest]) -> Vec<Bytes> {
    path.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}

/// Receipts of a group; those with long paths and names are fewer, as `Room` counts.
const GROUP_MAX: usize =
    if limits::RECEIPTS_PER_GROUP_MAX < 128 { limits::RECEIPTS_PER_GROUP_MAX } else { 128 };

/// How long a group's confirmation is waited for: a peer may have to ask for a proof first.
const CONFIRM_WAIT: Duration = Duration::from_millis(250);

/// The same of a group that goes again. Nothing else is sent meanwhile: longer than any honest peer
/// needs, so that one that asks without end gets little.
const AGAIN_WAIT: Duration = Duration::from_secs(2);

/// Tags and lengths of the frame and its group.
const FRAME_HEAD: usize = 16;

/// Tag and length of one receipt of a group.
const ELEMENT_HEAD: usize = 4;

/// The frame's alternative, and the group's fields apart from its lists.
const GROUP_FIELDS: usize = 4;

/// A receipt as an element, and its fields apart from the path.
const RECEIPT_FIELDS: usize = 5;

/// How long a signer that gives no signature is left alone.
const SIGNER_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use relay_proto::scan::{self, schema};

    use super::*;

    fn receipt(statement: usize, path: usize, actor: usize) -> v1::NumberedReceipt {
        v1::NumberedReceipt {
            number: u64::MAX,
            statement: Bytes::from(vec![7; statement]),
            index: u64::MAX,
            path: vec![Bytes::from_static(&[9; 32]); path],
            actor: "x".repeat(actor),
        }
    }

    /// As many as fit go into the group; it is taken by a peer's limits, and with one more it would
    /// not be.
    fn fill(note: usize, one: &v1::NumberedReceipt) -> usize {
        let mut group = v1::ReceiptGroup {
            checkpoint: "n".repeat(note),
            consistency_from: u64::MAX,
            consistency: vec![Bytes::from_static(&[9; 32]); limits::CONSISTENCY_HASHES_MAX],
            receipts: Vec::new(),
            owed_after: u64::MAX,
        };
        let mut room = Room::beside(&group);
        while room.take(one) {
            group.receipts.push(one.clone());
        }
        let opens = |group: &v1::ReceiptGroup| {
            let kind = Some(v1::frame::Kind::Receipts(group.clone()));
            let bytes = Bytes::from(v1::Frame { kind }.encode_to_vec());
            scan::decode::<v1::Frame>(&bytes, &schema::FRAME, limits::CONTROL_BYTES_MAX).is_ok()
        };
        assert!(opens(&group), "too much for a frame");
        let count = group.receipts.len();
        // What the estimate leaves unused is less than two receipts.
        group.receipts.extend([one.clone(), one.clone()]);
        assert!(!opens(&group), "room was left");
        count
    }

    /// Statements, paths and names are counted by their bytes, paths by their fields as well. The
    /// largest of all still go, a few dozen in a frame.
    #[test]
    fn groups_are_split_by_bytes() {
        let largest = receipt(
            limits::STATEMENT_BYTES_MAX,
            limits::PATH_HASHES_MAX,
            4 * limits::ACTOR_CHARS_MAX,
        );
        let large = fill(limits::NOTE_BYTES_MAX, &largest);
        assert!((40..60).contains(&large), "{large}");
        assert!(large < GROUP_MAX);
        // Short statements under long paths: the fields end first.
        let fields = fill(200, &receipt(20, limits::PATH_HASHES_MAX, 1));
        assert!((100..GROUP_MAX).contains(&fields), "{fields}");
        // What is usual goes in full groups.
        assert!(fill(200, &receipt(300, 20, 20)) > GROUP_MAX);
    }

    /// The next group waits until the last one is confirmed, and no longer than a moment; without
    /// one under way it does not wait.
    #[tokio::test(start_paused = true)]
    async fn a_group_waits_for_the_last_ones_confirmation() {
        let mut sent = Sent::default();
        assert_eq!(sent.wait(0), None);
        sent.went(7);
        assert_eq!(sent.wait(6), Some(CONFIRM_WAIT));
        assert_eq!(sent.wait(7), None);
        assert_eq!(sent.wait(6), None, "it was confirmed");
        sent.went(9);
        tokio::time::advance(CONFIRM_WAIT + Duration::from_millis(1)).await;
        assert_eq!(sent.wait(7), None);
    }

    /// Of what goes again each group is waited for longer. The next one follows when it is
    /// confirmed; when it is not, the rest does not go again.
    #[tokio::test(start_paused = true)]
    async fn what_goes_again_is_not_sent_into_silence() {
        let mut sent = Sent::default();
        sent.went(100);
        sent.went(200);
        assert_eq!(sent.wait(200), None);
        sent.up_to = 0;
        sent.went(100);
        assert_eq!(sent.wait(0), Some(AGAIN_WAIT));
        assert_eq!((sent.wait(100), sent.up_to), (None, 100));
        sent.went(150);
        tokio::time::advance(AGAIN_WAIT + Duration::from_millis(1)).await;
        assert_eq!((sent.wait(100), sent.up_to), (None, 200));
        sent.went(300);
        assert_eq!(sent.wait(100), Some(CONFIRM_WAIT), "it goes for the first time");
    }
}
