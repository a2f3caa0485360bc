//! Alarms: what an operator must look at. How many one peer may cause is counted by its meter. An
//! alarm stands until an operator clears it, or until what it asks for is done; whoever raises the
//! same one after that raises it anew.

use std::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;
use relay_core::quota::{Alarm, Meter};
use relay_proto::{envelope::Priority, ids::UnitId, reason::Reason, timestamp::Timestamp};

use crate::store::{
    PeerRequest, Store, StoreError,
    event::{AlarmCleared, Fact},
    index::Tree,
    records::{AlarmRecord, RequestRecord, key},
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

    /// Keeps an alarm, unless the same one stands: what comes again and again is told once.
    pub async fn alarm_once(&self, new: NewAlarm, meter: Meter) -> Result<(), StoreError> {
        let same = key::standing_about(&new.peer, Some(new.reason.label()), Some(&new.detail));
        let known = self.read(|view| standing(&view, &same, 1, false))?;
        if known.is_empty() { self.alarm(new, meter).await } else { Ok(()) }
    }

    /// The newest alarms that stand, the newest first.
    pub fn alarms(&self, max: usize) -> Result<Vec<AlarmRecord>, StoreError> {
        self.read(|view| {
            let seqs = standing(&view, key::STANDING, max, true)?;
            seqs.into_iter().map(|seq| alarm_of(&view, seq)).collect()
        })
    }

    /// The same of one unit; of very many the newest among some of them.
    pub fn alarms_about(&self, unit: &UnitId, max: usize) -> Result<Vec<AlarmRecord>, StoreError> {
        self.read(|view| {
            let about = key::standing_about(unit.as_str(), None, None);
            let mut seqs = standing(&view, &about, ABOUT_MAX, false)?;
            seqs.sort_unstable_by(|one, other| other.cmp(one));
            seqs.into_iter().take(max).map(|seq| alarm_of(&view, seq)).collect()
        })
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

    /// Ends the alarms about a unit that a cause raised which is gone. If it comes back meanwhile,
    /// they stand, or it is told anew.
    pub async fn end_alarms<C>(
        &self,
        peer: &UnitId,
        gone: Gone<C>,
        now: Timestamp,
    ) -> Result<(), StoreError>
    where
        C: Fn() -> Option<String> + Clone + Send + 'static,
    {
        let Gone { reason, why, through, cause } = gone;
        let ending = Ending {
            peer: peer.to_string(),
            reasons: vec![reason],
            raised: Raised::Through(through),
            by: BY_ITSELF.to_owned(),
            why: why.to_owned(),
        };
        let about = key::standing_about(peer.as_str(), Some(reason.label()), None);
        if self.read(|view| standing(&view, &about, 1, false))?.is_empty() {
            return Ok(());
        }
        let is_back = cause.clone();
        self.end_paged(ending, now, move || is_back().is_some()).await?;
        // Whoever told of it meanwhile found the old one standing.
        let Some(detail) = cause() else { return Ok(()) };
        let (peer, evidence) = (peer.to_string(), Bytes::new());
        self.alarm_once(NewAlarm { reason, peer, detail, evidence, now }, Meter::unlimited()).await
    }

    /// Ends alarms, a bounded number in a commit: a peer may have raised more than fit into one.
    /// Stops when their cause is back.
    pub(super) async fn end_paged(
        &self,
        ending: Ending,
        now: Timestamp,
        is_back: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Result<(), StoreError> {
        loop {
            let (page, is_back) = (ending.clone(), is_back.clone());
            let done = self.commit(Priority::Urgent, move |txn| match is_back() {
                true => Ok(true),
                false => page.run(txn, now, ENDED_MAX),
            });
            if done.await? {
                return Ok(());
            }
        }
    }
}

/// A cause of alarms that is gone.
#[derive(Debug, Clone)]
pub struct Gone<C> {
    /// What it raised.
    pub reason: Reason,
    /// What ended it.
    pub why: &'static str,
    /// The last sequence when it ended: what was raised later is about something else.
    pub through: u64,
    /// What it says now, if it is there again.
    pub cause: C,
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

/// Which alarms about a unit end, by whom and why.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub peer: String,
    pub reasons: Vec<Reason>,
    pub raised: Raised,
    pub by: String,
    pub why: String,
}

/// When the alarms were raised that end together; later ones are about something else.
#[derive(Debug, Clone, Copy)]
pub(super) enum Raised {
    /// Up to this sequence.
    Through(u64),
    /// Up to this instant of our clock, where the sequence is not known any more.
    Until(u64),
}

impl Ending {
    /// Ends at most so many, within a commit; says whether these were all.
    pub(super) fn run(
        &self,
        txn: &mut Txn<'_>,
        now: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        let mut left = max;
        for reason in &self.reasons {
            let about = key::standing_about(&self.peer, Some(reason.label()), None);
            for seq in standing(&txn.view(), &about, usize::MAX, false)? {
                if matches!(self.raised, Raised::Through(last) if seq > last) {
                    continue;
                }
                let alarm = alarm_of(&txn.view(), seq)?;
                if matches!(self.raised, Raised::Until(last) if alarm.at_ms > last) {
                    continue;
                }
                let Some(fewer) = left.checked_sub(1) else { return Ok(false) };
                left = fewer;
                let alarm = Some(ended(alarm, &self.by, &self.why, now));
                let fact = AlarmCleared { seq, alarm, ..AlarmCleared::default() };
                txn.push(now, Fact::AlarmCleared(fact), Bytes::new());
            }
        }
        Ok(true)
    }
}

fn ended(alarm: AlarmRecord, by: &str, why: &str, now: Timestamp) -> AlarmRecord {
    let (cleared_by, cleared_why) = (by.to_owned(), why.to_owned());
    AlarmRecord { cleared_by, cleared_why, cleared_at_ms: now.as_millis(), ..alarm }
}

/// Sequences of alarms that stand, by the keys that begin so.
fn standing(
    view: &View<'_>,
    prefix: &[u8],
    max: usize,
    newest_first: bool,
) -> Result<Vec<u64>, StoreError> {
    let end = key::after_prefix(prefix);
    let end = end.as_deref().map_or(Unbounded, Excluded);
    let pairs = view.range(Tree::Standing, Included(prefix), end, max, newest_first)?;
    let seqs = pairs.iter().map(|(key, _)| key.last_chunk().copied().map(u64::from_be_bytes));
    seqs.collect::<Option<_>>().ok_or(StoreError::IndexDamaged("standing-alarms"))
}

fn alarm_of(view: &View<'_>, seq: u64) -> Result<AlarmRecord, StoreError> {
    let alarm = view.record(Tree::Alarms, &seq.to_be_bytes())?;
    alarm.ok_or(StoreError::IndexDamaged("alarms"))
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

/// Alarms of one unit that are looked at: its quota lets it raise more within months.
const ABOUT_MAX: usize = 4096;

/// Alarms that one commit ends: each of them may have two notes of the greatest length.
pub(super) const ENDED_MAX: usize = 128;

/// Who ends an alarm whose cause is gone.
const BY_ITSELF: &str = "relay-node";
