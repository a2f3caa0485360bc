//! Bringing the attachments of one message to a peer, one after the other.

use std::time::Duration;

use bytes::Bytes;
use relay_proto::{attachment::Item, ids::UnitId, limits, reason::Reason, v1};
use tracing::{debug, info};

use crate::{
    link::{AttachmentSender, BringError, Bringing},
    relay::{Context, alarms::alarm_once},
    store::{BlobError, Content, StoreError, records::MessageRecord},
};

/// What became of the attachments of a message.
#[derive(Debug)]
pub enum Brought {
    /// The message may follow.
    All,
    /// The peer puts it off.
    Later(Reason),
    /// The peer calls an offer, or the bytes that came, faulty.
    Fault(Reason),
    /// One is damaged here: the message cannot be sent for now.
    Damaged,
    /// The session ended.
    Ended,
}

/// Offers all that a message lists; sends what the peer lacks.
pub async fn bring(
    ctx: &Context,
    unit: &UnitId,
    sender: &AttachmentSender,
    record: &MessageRecord,
    content: &Content,
) -> Result<Brought, StoreError> {
    let Some(payload) = &content.payload else { return Ok(Brought::All) };
    let salt = payload.slice(..limits::PAYLOAD_SALT_BYTES.min(payload.len()));
    let list = record
        .attachments
        .iter()
        .map(|one| v1::ListedAttachment { sha256: one.sha256.clone(), size: one.size });
    let list: Vec<v1::ListedAttachment> = list.collect();
    for (index, one) in (0..).zip(&record.attachments) {
        let offer = v1::AttachmentOffer {
            header: Some(content.header.clone()),
            salt: salt.clone(),
            list: list.clone(),
            index,
        };
        let answer = match sender.offer(offer, record.priority()).await {
            Err(error) => return Ok(given_up(error)),
            Ok((bringing, answer)) => match answer.state() {
                v1::AttachmentState::Send => {
                    match send(ctx, bringing, one.item(), answer.offset).await {
                        Ok(answer) => answer,
                        Err(Stopped::Link(error)) => return Ok(given_up(error)),
                        Err(Stopped::Blob(error)) => return damaged(ctx, one.item(), error).await,
                    }
                }
                _ => answer,
            },
        };
        let reason = || answer.reason.parse().unwrap_or(Reason::Busy);
        match answer.state() {
            v1::AttachmentState::Whole => {}
            // The message itself gets the verdict, or the receipts that it has.
            v1::AttachmentState::Refused => return Ok(Brought::All),
            v1::AttachmentState::Later => return Ok(Brought::Later(reason())),
            _ => {
                if let Some(left_out) = ctx.quotas.meter(unit).line() {
                    let (reason, sha256) = (reason().label(), one.item().sha256);
                    info!(peer = %unit, %sha256, reason, left_out, "attachment called faulty");
                }
                return Ok(Brought::Fault(reason()));
            }
        }
    }
    debug!(peer = %unit, message = %record.digest(), "attachments are there");
    Ok(Brought::All)
}

enum Stopped {
    Link(BringError),
    Blob(BlobError),
}

async fn send(
    ctx: &Context,
    mut bringing: Bringing,
    item: Item,
    mut offset: u64,
) -> Result<v1::AttachmentAnswer, Stopped> {
    let whole = ctx.parts.store.blobs().open(item).await.map_err(Stopped::Blob)?;
    while offset < item.size {
        let piece: Bytes = whole.piece(offset).await.map_err(Stopped::Blob)?;
        offset += piece.len() as u64;
        match bringing.chunk(piece).await {
            Ok(()) => {}
            // It says why.
            Err(BringError::Stopped) => return bringing.answer().await.map_err(Stopped::Link),
            Err(error) => return Err(Stopped::Link(error)),
        }
    }
    bringing.finish().await.map_err(Stopped::Link)
}

fn given_up(error: BringError) -> Brought {
    match error {
        BringError::Ended | BringError::Stopped => Brought::Ended,
        BringError::Slow => Brought::Later(Reason::PeerUnreachable),
    }
}

async fn damaged(ctx: &Context, item: Item, error: BlobError) -> Result<Brought, StoreError> {
    match error {
        BlobError::Store(error) => return Err(error),
        BlobError::Damaged(_) | BlobError::Missing(_) => {}
        // The disk, for now.
        error => return Ok(Brought::Later(error.reason())),
    }
    let detail = format!("attachment {} cannot be read: {error}", item.sha256);
    alarm_once(ctx, Reason::StoreDamaged, ctx.unit(), detail).await?;
    Ok(Brought::Damaged)
}

/// How long an attachment that could not be brought waits.
pub const LATER: Duration = Duration::from_secs(30);
