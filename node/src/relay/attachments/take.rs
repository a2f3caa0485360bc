//! Taking the attachments that a peer offers: its header is verified before anything of it is
//! believed, and nothing is written that its message would be refused for.

use std::sync::Arc;

use relay_core::policy::{self, Arrival, Judgement};
use relay_proto::{
    attachment::{Item, Offered},
    envelope::{Header, HeaderError, Priority},
    ids::UnitId,
    payload::{Attachment, Payload},
    reason::Reason,
    v1::{self, AttachmentState},
};
use tokio::sync::mpsc;
use tracing::info;

use crate::{
    link::IncomingAttachment,
    relay::Context,
    store::{Begun, BlobError, Owner, Part},
    tasks::TaskKind,
    telemetry::Counter,
};

/// Serves the offers of one session until it ends.
pub async fn run(ctx: Arc<Context>, unit: UnitId, mut offers: mpsc::Receiver<IncomingAttachment>) {
    while let Some(incoming) = offers.recv().await {
        let (ctx, unit) = (Arc::clone(&ctx), unit.clone());
        let tasks = ctx.parts.tasks.clone();
        // QUIC bounds how many there are at once.
        tasks.spawn("session-attachment", TaskKind::Session, async move {
            take(&ctx, &unit, incoming).await;
        });
    }
}

/// What is answered without a byte of it.
struct Answer(AttachmentState, Option<Reason>);

async fn take(ctx: &Context, unit: &UnitId, mut incoming: IncomingAttachment) {
    let (item, priority) = match judge(ctx, unit, &incoming.offer).await {
        Ok(wanted) => wanted,
        Err(answer) => return end(ctx, unit, incoming, answer).await,
    };
    let blobs = ctx.parts.store.blobs();
    let part = match blobs.begin(Owner::peer(unit), item, priority).await {
        Ok(Begun::Whole) => {
            return end(ctx, unit, incoming, Answer(AttachmentState::Whole, None)).await;
        }
        Ok(Begun::Part(part)) => *part,
        Err(error) => return end(ctx, unit, incoming, of_error(&error)).await,
    };
    let offset = part.offset();
    if !incoming.wanted(offset).await {
        return;
    }
    let answer = match receive(part, &mut incoming).await {
        // The rest comes on another stream: what is here stays.
        None => return,
        Some(Ok(())) => {
            ctx.parts.counters.add(Counter::AttachmentTaken);
            ctx.parts.counters.add_many(Counter::AttachmentResumed, offset);
            if let Some(left_out) = ctx.quotas.meter(unit).line() {
                let sha256 = item.sha256;
                info!(peer = %unit, %sha256, offset, left_out, "attachment taken");
            }
            Answer(AttachmentState::Whole, None)
        }
        Some(Err(error)) => of_error(&error),
    };
    end(ctx, unit, incoming, answer).await;
}

/// All bytes that are left; nothing when the stream ends before.
async fn receive(
    mut part: Part,
    incoming: &mut IncomingAttachment,
) -> Option<Result<(), BlobError>> {
    while part.left() > 0 {
        let chunk = incoming.chunk().await?;
        part = match part.write(chunk).await {
            Ok(part) => part,
            Err(error) => return Some(Err(error)),
        };
    }
    Some(part.finish().await)
}

/// Which attachment, and how urgent its message is; or what to answer.
async fn judge(
    ctx: &Context,
    unit: &UnitId,
    offer: &v1::AttachmentOffer,
) -> Result<(Item, Priority), Answer> {
    let fault = |reason| Answer(AttachmentState::Fault, Some(reason));
    let refused = |reason| Answer(AttachmentState::Refused, Some(reason));
    let later = |reason| Answer(AttachmentState::Later, Some(reason));
    let signed = offer.header.as_ref().ok_or_else(|| fault(Reason::Malformed))?;
    let header = {
        // One more signature: in turn with those of messages.
        let _pass = ctx.gate.enter(unit, Priority::Routine).await;
        let snapshot = ctx.parts.directory.snapshot();
        let find = |id| snapshot.signing_key(id).map(|(unit, key)| (unit.clone(), key.key));
        Header::open(signed, find).map_err(|error| match error {
            HeaderError::Signed(error) => fault(error.reason()),
            HeaderError::Rule(reason) => fault(reason),
        })?
    };
    let snapshot = ctx.parts.directory.snapshot();
    let key = match snapshot.signing_key(header.key_id) {
        Some((_, key)) => key.check_at(header.created_at),
        None => Err(Reason::UnknownKey),
    };
    let profile = ctx.profile(&header.profile).map(Arc::as_ref);
    let (clock, own) = (ctx.time().view(), ctx.unit());
    let arrival = Arrival { header: &header, session: unit, own, profile, key, clock };
    // It may come again because our log lost its receipt: the message says so.
    let may_be_again = ctx.log_began().is_some_and(|at| header.created_at <= at);
    match policy::judge(&arrival) {
        Judgement::Accept { .. } => {}
        Judgement::Refuse(Reason::Expired) if may_be_again => {}
        Judgement::Refuse(reason) => return Err(refused(reason)),
        Judgement::Fault(reason) => return Err(fault(reason)),
        Judgement::Defer(reason) => return Err(later(reason)),
    }
    let Offered { item, items } = Offered::check(offer, &header).map_err(fault)?;
    let fits = profile.is_some_and(|profile| {
        items.len() <= profile.attachments_max
            && items.iter().all(|one| (1..=profile.attachment_bytes_max).contains(&one.size))
    });
    if !fits {
        return Err(refused(Reason::TooLarge));
    }
    let store = &ctx.parts.store;
    let known = store.message(&header.digest).map(|known| known.is_some());
    let refused_before = store.refused(&header.digest).map(|known| known.is_some());
    match (known, refused_before) {
        (Ok(false), Ok(false)) => {}
        // It has its verdict.
        (Ok(_), Ok(_)) => return Err(Answer(AttachmentState::Refused, None)),
        (Err(error), _) | (_, Err(error)) => return Err(later(error.reason())),
    }
    let limits = &ctx.parts.limits;
    if header.priority != Priority::Emergency
        && ctx.inbox.is_full(unit, limits.inbox_messages_max, limits.inbox_bytes_max)
    {
        return Err(later(Reason::QueueFull));
    }
    // The last room is for messages: what a peer calls urgent does not fill it with files.
    Ok((item, header.priority.min(Priority::Urgent)))
}

/// Whether all that a message lists is durable here. What has its verdict is answered all the same:
/// its attachments may have been erased since.
pub fn are_here(ctx: &Context, header: &Header, content: &Payload) -> bool {
    let store = &ctx.parts.store;
    let blobs = store.blobs();
    let mut items = content.attachments.iter().map(Attachment::item);
    items.all(|item| blobs.holds(&item).unwrap_or(false))
        || store.message(&header.digest).is_ok_and(|known| known.is_some())
        || store.refused(&header.digest).is_ok_and(|known| known.is_some())
}

fn of_error(error: &BlobError) -> Answer {
    match error {
        BlobError::Mismatch => Answer(AttachmentState::Fault, Some(error.reason())),
        _ => Answer(AttachmentState::Later, Some(error.reason())),
    }
}

async fn end(ctx: &Context, unit: &UnitId, incoming: IncomingAttachment, answer: Answer) {
    let Answer(state, reason) = answer;
    if state == AttachmentState::Fault {
        ctx.parts.counters.add(Counter::VerifyFailure);
    }
    let label = reason.map(Reason::label).unwrap_or_default();
    if let Some(_) = reason
        && let Some(left_out) = ctx.quotas.meter(unit).line()
    {
        info!(peer = %unit, ?state, reason = label, left_out, "attachment not taken");
    }
    incoming.end(state, label.to_owned()).await;
}
