//! Entries whose time passed: each gets a RelayFailure of our own, and an alarm.
//!
//! Only a trusted clock ends an entry. Timers run on the monotonic clock; a step of the wall clock
//! is read anew, it never expires anything by itself.

use std::{sync::Arc, time::Duration};

use relay_core::{
    outbox::Input,
    policy::{is_past, may_expire},
};
use relay_proto::{
    envelope::Header, ids::UnitId, reason::Reason, receipt::Event, timestamp::Timestamp,
};
use tracing::warn;

use super::{Context, alarms::unreadable, own};
use crate::{
    store::{NewExpiry, StoreError, records::EntryRecord},
    telemetry::Counter,
};

/// Looks for expired entries until the node stops.
pub(super) async fn run(ctx: Arc<Context>) {
    let stop = ctx.parts.tasks.stop_token();
    loop {
        // A look every second is cheap, and needs no trust in how long a wait by the wall clock
        // would be.
        let wait = match pass(&ctx).await {
            Ok(true) => continue,
            Ok(false) => LOOK_EVERY,
            Err(error) => {
                // A disk that is full gets room again; a store that stopped ends the process.
                warn!(%error, "messages cannot be ended now, tried again in a minute");
                LOOK_AGAIN
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Ends what has expired, a batch at a time. Returns whether there may be more.
async fn pass(ctx: &Context) -> Result<bool, StoreError> {
    let clock = ctx.time().view();
    let entries = ctx.parts.store.expiring(BATCH)?;
    let mut expired = Vec::new();
    for entry in &entries {
        let expires_at = Timestamp::from_millis(entry.expires_at_ms);
        if !may_expire(expires_at, clock) {
            if is_past(expires_at, clock) {
                ctx.witnesses.ask();
            }
            break;
        }
        expired.extend(failure(ctx, entry).await?);
    }
    if expired.is_empty() {
        return Ok(false);
    }
    let count = expired.len();
    let ended = ctx.parts.store.expire(expired).await?;
    warn!(messages = ended.len(), "messages expired without receipt of their recipients");
    ctx.parts.counters.add_many(Counter::Expired, ended.len() as u64);
    // Whoever has them in flight would send them as long as the session lasts, and for each that
    // ended nothing else would have its place.
    for entry in ended {
        if let Ok(hop) = entry.next_hop.parse::<UnitId>() {
            ctx.peers.input(&hop, Input::Settled(vec![entry.number]));
        }
    }
    Ok(count == BATCH)
}

/// The statement that ends an entry. One whose header rotted is told and stands.
async fn failure(ctx: &Context, entry: &EntryRecord) -> Result<Option<NewExpiry>, StoreError> {
    let Some(record) = ctx.parts.store.message(&entry.digest())? else { return Ok(None) };
    let Ok(recipient) = entry.recipient.parse::<UnitId>() else { return Ok(None) };
    let header = match ctx.parts.store.header(&record) {
        Ok(header) => Header::stored(&header).ok(),
        Err(error) => {
            unreadable(ctx, &record, &error).await?;
            None
        }
    };
    let Some(header) = header else { return Ok(None) };
    let now = ctx.now();
    let mut statement = ctx.statement(&header, Event::RelayFailure, now);
    statement.recipient = Some(&recipient);
    statement.reason = Some(Reason::Expired);
    let Ok(failure) = own(&statement) else { return Ok(None) };
    let failure = failure.bytes().clone();
    Ok(Some(NewExpiry { digest: header.digest, recipient, failure, now }))
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const BATCH: usize = 256;
