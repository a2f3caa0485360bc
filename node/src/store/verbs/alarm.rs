//! Alarms: what an operator must look at. How many one peer may cause is counted by its meter.

use bytes::Bytes;
use relay_core::quota::{Alarm, Meter};
use relay_proto::{envelope::Priority, reason::Reason, timestamp::Timestamp};

use crate::store::{
    Store, StoreError, event::Fact, index::Tree, records::AlarmRecord, txn::Txn, view::decode,
};

/// Something that an operator must look at.
#[derive(Debug, Clone)]
pub struct NewAlarm {
    /// What it is.
    pub reason: Reason,
    /// The unit concerned.
    pub peer: String,
    /// What happened; digests and numbers only.
    pub detail: String,
    /// Two notes of one log with two roots of one size; empty when it is about anything else.
    pub evidence: Bytes,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Keeps an alarm, or only counts it when its peer caused too many.
    pub async fn alarm(&self, new: NewAlarm, meter: Meter) -> Result<(), StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            raise(txn, &meter, new);
            Ok(())
        })
        .await
    }

    /// Keeps an alarm that is not among the newest already: what comes again and again is told
    /// once.
    pub async fn alarm_once(&self, new: NewAlarm, meter: Meter) -> Result<(), StoreError> {
        let known = self.alarms(ALARMS_LOOK_MAX)?.into_iter().any(|known| {
            known.reason == new.reason.label()
                && known.peer == new.peer
                && known.detail == new.detail
        });
        if known { Ok(()) } else { self.alarm(new, meter).await }
    }

    /// The newest alarms, the newest first.
    pub fn alarms(&self, max: usize) -> Result<Vec<AlarmRecord>, StoreError> {
        use std::ops::Bound::Unbounded;
        self.read(|view| {
            let pairs = view.range(Tree::Alarms, Unbounded, Unbounded, max, true)?;
            pairs.iter().map(|(_, value)| decode(Tree::Alarms, value)).collect()
        })
    }
}

/// Keeps an alarm within its peer's quota. A fork has a quota of its own.
pub(super) fn raise(txn: &mut Txn<'_>, meter: &Meter, new: NewAlarm) {
    // The first line of a note names its log.
    let log = new.evidence.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if !new.evidence.is_empty() && meter.fork(log) {
        return push(txn, &new, new.reason, new.detail.clone());
    }
    match meter.alarm() {
        Alarm::Keep { left_out } => {
            if left_out > 0 {
                let detail = format!("{left_out} alarms about this peer were left out before this");
                push(
                    txn,
                    &NewAlarm { evidence: Bytes::new(), ..new.clone() },
                    Reason::Quota,
                    detail,
                );
            }
            push(txn, &new, new.reason, new.detail.clone());
        }
        Alarm::Last => {
            let detail = format!(
                "alarms about this peer are over their quota: for the rest of the hour they are \
                 counted only, {} the first of them",
                new.reason
            );
            push(txn, &NewAlarm { evidence: Bytes::new(), ..new }, Reason::Quota, detail);
        }
        Alarm::LeaveOut => {}
    }
}

fn push(txn: &mut Txn<'_>, new: &NewAlarm, reason: Reason, detail: String) {
    let alarm = AlarmRecord {
        reason: reason.label().to_owned(),
        peer: new.peer.clone(),
        detail,
        at_ms: new.now.as_millis(),
        evidence: new.evidence.clone(),
    };
    txn.push(new.now, Fact::Alarmed(alarm), Bytes::new());
}

/// How far back an equal alarm is looked for.
const ALARMS_LOOK_MAX: usize = 256;
