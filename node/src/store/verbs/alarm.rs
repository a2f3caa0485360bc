//! Alarms: what an operator must look at. How many one peer may cause is counted by its meter. An
//! alarm stands until an operator clears it, or until what it asks for is done; whoever raises the
//! same one after that raises it anew.

use std::ops::Bound::{Excluded, Unbounded};

use bytes::Bytes;
use relay_core::quota::{Alarm, Meter};
use relay_proto::{envelope::Priority, ids::UnitId, reason::Reason, timestamp::Timestamp};

use crate::store::{
    PeerRequest, Store, StoreError,
    event::{AlarmCleared, Fact},
    index::Tree,
    records::{AlarmRecord, RequestRecord},
    txn::Txn,
    view::{View, decode},
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

    /// The newest alarms that stand, the newest first.
    pub fn alarms(&self, max: usize) -> Result<Vec<AlarmRecord>, StoreError> {
        let (mut found, mut before) = (Vec::new(), u64::MAX);
        for _ in 0..PAGES_MAX {
            let page = self.all_alarms(before, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            before = *last;
            found.extend(page.into_iter().map(|(_, alarm)| alarm).filter(AlarmRecord::stands));
            if found.len() >= max {
                break;
            }
        }
        found.truncate(max);
        Ok(found)
    }

    /// Alarms that were raised before this sequence, the newest first, those that ended as well.
    pub fn all_alarms(
        &self,
        before: u64,
        max: usize,
    ) -> Result<Vec<(u64, AlarmRecord)>, StoreError> {
        self.read(|view| raised_before(&view, before, max))
    }

    /// Ends an alarm by an operator's word; the same again changes nothing. One that ended already
    /// stays as it is.
    pub async fn clear_alarm(
        &self,
        clear: ClearAlarm,
        now: Timestamp,
    ) -> Result<AlarmRecord, StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            let ClearAlarm { seq, by, why, request } = clear;
            let known: Option<RequestRecord> = txn.view().record(Tree::Requests, &request.key)?;
            if known.is_some_and(|known| known.content != request.content.as_bytes().as_slice()) {
                return Err(StoreError::Refused(Reason::RequestIdConflict));
            }
            let alarm: Option<AlarmRecord> = txn.view().record(Tree::Alarms, &seq.to_be_bytes())?;
            let alarm = alarm.ok_or(StoreError::Refused(Reason::NotFound))?;
            if !alarm.stands() {
                return Ok(alarm);
            }
            let alarm = ended(alarm, &by, &why, now);
            let fact = AlarmCleared {
                seq,
                alarm: Some(alarm.clone()),
                request_key: Bytes::copy_from_slice(&request.key),
                request: Some(RequestRecord {
                    content: Bytes::copy_from_slice(request.content.as_bytes()),
                    digest: Bytes::new(),
                    at_ms: now.as_millis(),
                }),
            };
            txn.push(now, Fact::AlarmCleared(fact), Bytes::new());
            Ok(alarm)
        })
        .await
    }

    /// Ends the alarms about a unit whose cause is gone.
    pub async fn end_alarms(
        &self,
        peer: &UnitId,
        reasons: &'static [Reason],
        why: &'static str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let is_one = |alarm: &AlarmRecord| is_about(alarm, peer.as_str(), reasons);
        if !self.alarms(ALARMS_LOOK_MAX)?.iter().any(is_one) {
            return Ok(());
        }
        let peer = peer.to_string();
        self.commit(Priority::Urgent, move |txn| end(txn, &peer, reasons, (BY_ITSELF, why), now))
            .await
    }
}

/// An operator's word that an alarm is done with.
#[derive(Debug, Clone)]
pub struct ClearAlarm {
    /// The sequence of the event that raised it.
    pub seq: u64,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// For safe repetition.
    pub request: PeerRequest,
}

/// Ends all alarms about a unit with one of these reasons, within a commit that does what they ask
/// for.
pub(super) fn end(
    txn: &mut Txn<'_>,
    peer: &str,
    reasons: &[Reason],
    (by, why): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let raised = raised_before(&txn.view(), u64::MAX, PAGE * PAGES_MAX)?;
    for (seq, alarm) in raised {
        if alarm.stands() && is_about(&alarm, peer, reasons) {
            let alarm = Some(ended(alarm, by, why, now));
            let fact = AlarmCleared { seq, alarm, ..AlarmCleared::default() };
            txn.push(now, Fact::AlarmCleared(fact), Bytes::new());
        }
    }
    Ok(())
}

fn ended(alarm: AlarmRecord, by: &str, why: &str, now: Timestamp) -> AlarmRecord {
    let (cleared_by, cleared_why) = (by.to_owned(), why.to_owned());
    AlarmRecord { cleared_by, cleared_why, cleared_at_ms: now.as_millis(), ..alarm }
}

fn is_about(alarm: &AlarmRecord, peer: &str, reasons: &[Reason]) -> bool {
    alarm.peer == peer && reasons.iter().any(|reason| reason.label() == alarm.reason)
}

fn raised_before(
    view: &View<'_>,
    before: u64,
    max: usize,
) -> Result<Vec<(u64, AlarmRecord)>, StoreError> {
    let before = before.to_be_bytes();
    let pairs = view.range(Tree::Alarms, Unbounded, Excluded(&before), max, true)?;
    let each = pairs.iter().map(|(key, value)| {
        let seq = <[u8; 8]>::try_from(key.as_slice());
        let seq = seq.map_err(|_| StoreError::IndexDamaged("alarms"))?;
        Ok((u64::from_be_bytes(seq), decode(Tree::Alarms, value)?))
    });
    each.collect()
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
        ..AlarmRecord::default()
    };
    txn.push(new.now, Fact::Alarmed(alarm), Bytes::new());
}

/// How far back an equal alarm is looked for.
const ALARMS_LOOK_MAX: usize = 256;
/// Alarms that are read at once, and how often: those that stand are sought among so many.
const PAGE: usize = 256;
const PAGES_MAX: usize = 16;
/// Who ends an alarm whose cause is gone.
const BY_ITSELF: &str = "relay-node";
