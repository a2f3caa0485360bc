//! What opening a store found, and is to be kept: why its index was not believed, what was cut off.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;
use relay_proto::{ids::UnitId, reason::Reason, timestamp::Timestamp};
use tracing::warn;

use crate::store::{
    StoreError,
    engine::Engine,
    event::{Event, Fact, TailCut},
    journal::Recovered,
    queue::Job,
    records::AlarmRecord,
};

/// Why the stored index is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Doubt {
    #[error("{0}")]
    Damaged(String),
    #[error("it holds less than was proven durable")]
    LostPages,
    #[error("the machine stopped under it, and what was not synced may be lost in part")]
    MachineStopped,
    #[error("it reaches {reach}, beyond the journal")]
    Ahead {
        /// How far it reaches.
        reach: u64,
    },
}

/// What opening found is kept as facts of their own, first in the next batch: the cut-off tail of
/// an interrupted write, and that the journal was set back.
pub(super) fn record_findings(
    engine: &mut Engine,
    recovered: &Recovered,
    doubt: Option<&Doubt>,
    unit: &UnitId,
) -> Result<(), StoreError> {
    let mut facts = Vec::new();
    if let Some(cut) = recovered.tail_cut {
        warn!(?cut, "tail of an unfinished write cut off");
        facts.push(Fact::TailCut(TailCut {
            segment: cut.segment,
            offset: cut.offset,
            bytes: cut.bytes,
            hash: Bytes::copy_from_slice(&cut.hash),
        }));
    }
    if let Some(Doubt::Ahead { reach }) = doubt {
        let end = recovered.last_seq;
        facts.push(Fact::Alarmed(AlarmRecord {
            reason: Reason::JournalBehind.label().to_owned(),
            peer: unit.to_string(),
            detail: format!(
                "the index reached {reach}, the journal ends at {end}: the journal was set back, \
                 or its newest files are gone. Stop the node and put those back if they are left; \
                 else what peers hold shows what was signed (LOG_HELD), and what they sent comes \
                 again: see README.md, \"Backups\""
            ),
            ..Default::default()
        }));
    }
    if facts.is_empty() {
        return Ok(());
    }
    // No clock is known here: the last event's time is the latest that is certain.
    let last = engine.shared().reader.scan(recovered.last_seq, 1, 0)?;
    let last = last.first().and_then(|(_, _, stored)| Event::decode(stored.meta.clone()).ok());
    let at = Timestamp::from_millis(last.map_or(0, |event| event.at_ms));
    // For the operator alone; nothing is decided by it.
    let noticed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let noticed = u64::try_from(noticed.as_millis()).unwrap_or(u64::MAX);
    let job: Job = Box::new(move |txn| {
        for mut fact in facts {
            if let Fact::Alarmed(alarm) = &mut fact {
                alarm.at_ms = noticed.max(at.as_millis());
            }
            txn.push(at, fact, Bytes::new());
        }
        Box::new(|_| {})
    });
    engine.commit(vec![job])
}
