//! Receipts on their way home: sent in groups under one checkpoint, again on every new session
//! until the peer says that it has them.

use std::sync::Arc;

use bytes::Bytes;
use relay_proto::{
    ids::{Digest, UnitId},
    limits,
    tlog::SignedCheckpoint,
    v1,
};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{Context, peers::Live};
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
        if let Some(live) = &live {
            if sent.session != Some(live.id) {
                sent = Sent::at_session_start(&ctx, live);
            }
            if bells.take_rewind() {
                sent.up_to = ctx.parts.store.counter("receipts-confirmed", &unit).unwrap_or(0);
            }
            match send_group(&ctx, &unit, live, &mut sent).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(TlogError::Held(hold)) => {
                    warn!(%hold, peer = %unit, "receipts wait");
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
                    warn!(%error, peer = %unit, "receipts wait");
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
        }
    }
}

/// Where sending stands on this session.
#[derive(Default)]
struct Sent {
    session: Option<SessionId>,
    /// Numbers up to this one were sent.
    up_to: u64,
    /// Size of our log that the peer holds, as far as we know.
    held: u64,
}

impl Sent {
    fn at_session_start(ctx: &Context, live: &Live) -> Self {
        let heads = live.hello.heads.unwrap_or_default();
        // Only a note with our own valid signature counts as a claim about our log.
        let log = ctx.parts.directory.own().log(ctx.parts.tlog.origin());
        let held = log.and_then(|log| {
            let note = live.hello.held_checkpoint.as_str();
            SignedCheckpoint::open(note, |_| Some(log.key.key)).ok()
        });
        let held = held.map_or(0, |held| held.checkpoint().size);
        Self { session: Some(live.id), up_to: heads.receipts_have, held }
    }
}

/// Sends the next group. Returns whether there was one.
async fn send_group(
    ctx: &Context,
    unit: &UnitId,
    live: &Live,
    sent: &mut Sent,
) -> Result<bool, TlogError> {
    let owed = ctx.parts.store.owed_receipts(unit, sent.up_to, GROUP_MAX)?;
    let Some((last, _)) = owed.last() else { return Ok(false) };
    let last = *last;
    let checkpoint = ctx.parts.tlog.checkpoint().await?;
    let from = if sent.held > checkpoint.size { 0 } else { sent.held };
    let consistency = match from > 0 && from < checkpoint.size {
        true => ctx.parts.tlog.consistency(from, checkpoint.size)?,
        false => Vec::new(),
    };
    let mut receipts = Vec::with_capacity(owed.len());
    for (number, record) in owed {
        receipts.push(numbered(ctx, number, record, checkpoint.size)?);
    }
    let count = receipts.len();
    let group = v1::ReceiptGroup {
        checkpoint: checkpoint.note.to_string(),
        consistency_from: if consistency.is_empty() { 0 } else { from },
        consistency: hashes(&consistency),
        receipts,
    };
    debug!(peer = %unit, count, last, size = checkpoint.size, "receipts sent");
    if live.sender.send(Lane::Control, v1::frame::Kind::Receipts(group)).await.is_ok() {
        sent.up_to = last;
        sent.held = checkpoint.size;
        return Ok(true);
    }
    // The session ended; the next one begins where the peer says.
    sent.session = None;
    Ok(false)
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

/// Receipts of a group: with proofs of 20 hashes each some 150 KiB, within a control frame.
const GROUP_MAX: usize =
    if limits::RECEIPTS_PER_GROUP_MAX < 128 { limits::RECEIPTS_PER_GROUP_MAX } else { 128 };

/// How long a signer that gives no signature is left alone.
const SIGNER_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
