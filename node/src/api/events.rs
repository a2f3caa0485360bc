//! Events of the unit: durable facts, in order, from a cursor; nothing skipped, nothing before it
//! is durable.
//!
//! One fact may be several events: their cursors count within it, so that a watch resumes between
//! them.

use relay_proto::{
    envelope::Priority,
    ids::{Digest, MessageId},
    reason::Reason,
    receipt::{Event, Statement},
    v1::{self, StatementFlag, UnitEventKind as Kind},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

use super::{
    Service,
    access::Caller,
    cases,
    convert::{case_id, instant},
    cursor::Cursor,
    status::Problem,
};
use crate::{
    config::Role,
    directory::Trust,
    store::{
        event::{Fact, Leaf, PeerRemoved, ReceiptsRecorded},
        records::{EntryRecord, MessageRecord, RefusedRecord, TermRecord, digest_of},
    },
};

impl Service {
    /// The cursor of a request.
    pub(super) fn cursor(&self, text: &str) -> Result<Cursor, Problem> {
        Cursor::of_request(text, self.relay().store().log_head().seq)
    }

    /// Events after a cursor, at most `max`, and the cursor to go on from.
    pub(super) fn events(
        &self,
        caller: &Caller,
        from: Cursor,
        max: usize,
    ) -> Result<(Vec<v1::UnitEvent>, Cursor), Problem> {
        let (mut events, mut cursor) = (Vec::new(), from);
        for _ in 0..ROUNDS_MAX {
            let facts =
                self.relay().store().events_after(cursor.seq.saturating_sub(1), FACTS_MAX)?;
            if facts.is_empty() {
                break;
            }
            for (seq, fact) in facts {
                let seen = if seq == cursor.seq { cursor.seen } else { 0 };
                let of_fact = fact.fact.as_ref().map(|what| self.events_of(what));
                let of_fact = of_fact.transpose()?.unwrap_or_default();
                for (n, mut event) in (1..).zip(of_fact).skip_while(|(n, _)| *n <= seen) {
                    if events.len() >= max {
                        return Ok((events, cursor));
                    }
                    cursor = Cursor { seq, seen: n };
                    if !self.sees_event(caller, &event)? {
                        continue;
                    }
                    event.cursor = cursor.to_string();
                    event.time = instant(fact.at_ms);
                    events.push(event);
                }
                cursor = Cursor::after(seq);
            }
            if events.len() >= max {
                break;
            }
        }
        Ok((events, cursor))
    }

    /// Sends events until the caller is gone or the node stops.
    pub(super) async fn watch(
        self,
        caller: Caller,
        mut cursor: Cursor,
        sender: mpsc::Sender<Result<v1::UnitEvent, Status>>,
        _stream: OwnedSemaphorePermit,
    ) {
        let mut durable = self.relay().store().durable();
        let end = loop {
            // Marked as seen before reading: what becomes durable meanwhile wakes the next round.
            durable.borrow_and_update();
            // Whose each message is has to be looked up, for whoever does not read all.
            let at_hand = caller.has(Role::ReadAll) && self.relay().store().is_recent(cursor.seq);
            let page = match at_hand {
                true => self.events(&caller, cursor, WATCH_PAGE),
                false => {
                    let caller = caller.clone();
                    self.blocking(move |service| service.events(&caller, cursor, WATCH_PAGE)).await
                }
            };
            let (events, next) = match page {
                Ok(page) => page,
                Err(problem) => break problem,
            };
            let moved = next != cursor;
            cursor = next;
            for event in events {
                tokio::select! {
                    biased;
                    () = self.shared.stop.cancelled() => break,
                    sent = sender.send(Ok(event)) => if sent.is_err() { return },
                }
            }
            if self.shared.stop.is_cancelled() {
                break Problem::new(Reason::Stopping);
            }
            if moved {
                continue;
            }
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => break Problem::new(Reason::Stopping),
                () = sender.closed() => return,
                _ = self.relay().store().ended() => break Problem::new(Reason::StoreStopped),
                changed = durable.changed() => {
                    if changed.is_err() {
                        break Problem::new(Reason::StoreStopped);
                    }
                }
            }
        };
        // Not waited for: a caller that reads nothing must not hold up the stop.
        let _ = sender.try_send(Err(end.into()));
    }

    /// Whether a caller may know of an event: of those about no message only he who reads all.
    fn sees_event(&self, caller: &Caller, event: &v1::UnitEvent) -> Result<bool, Problem> {
        if caller.has(Role::ReadAll) {
            return Ok(true);
        }
        if event.header_digest.is_empty() {
            return Ok(false);
        }
        let record = self.relay().store().message(&digest_of(&event.header_digest))?;
        record.map_or(Ok(false), |record| self.sees(caller, &record))
    }

    fn events_of(&self, fact: &Fact) -> Result<Vec<v1::UnitEvent>, Problem> {
        let one = |event: Option<v1::UnitEvent>| Ok(event.into_iter().collect());
        match fact {
            Fact::Submitted(fact) => one(fact.record.as_ref().map(sent)),
            Fact::Arrived(fact) => one(fact.record.as_ref().map(|record| v1::UnitEvent {
                peer: record.from.clone(),
                receipt_event: v1::Event::ContentConsignment.into(),
                recovered: fact.leaf.as_ref().and_then(statement_of).is_some_and(|s| recovered(&s)),
                ..about(Kind::MessageReceived, record)
            })),
            Fact::Refused(fact) => {
                let leaf = fact.leaf.as_ref();
                one(fact.record.as_ref().map(|record| refused(record, &fact.digest, leaf)))
            }
            Fact::ReceiptsRecorded(fact) => self.received(fact),
            Fact::Acknowledged(fact) => one(match &fact.leaf {
                Some(leaf) => self.issued(leaf, Kind::ReceiptIssued)?,
                None => None,
            }),
            Fact::EntryExpired(fact) => one(match &fact.leaf {
                Some(leaf) => self.issued(leaf, Kind::DeliveryExpired)?,
                None => None,
            }),
            Fact::PeerChanged(record) => {
                let refusal = Trust::from_number(record.trust).refusal();
                let why = refusal.map(Reason::label).unwrap_or_default();
                one(Some(of_peer(Kind::PeerChanged, &record.unit, why)))
            }
            Fact::RollbackAccepted(fact) => {
                let unit = fact.peer.as_ref().map(|peer| peer.unit.as_str());
                one(unit.map(|unit| of_peer(Kind::PeerChanged, unit, "")))
            }
            Fact::PeerRemoved(PeerRemoved { unit }) => {
                one(Some(of_peer(Kind::PeerChanged, unit, Reason::UnknownRecipient.label())))
            }
            Fact::Alarmed(record) => {
                one(Some(of_peer(Kind::Contradiction, &record.peer, &record.reason)))
            }
            Fact::TermTold(term) => one(Some(self.term(term)?)),
            // The node's own housekeeping.
            Fact::HaveRecorded(_)
            | Fact::EntryDeferred(_)
            | Fact::BackoffSaved(_)
            | Fact::IndexMark(_)
            | Fact::Anchor(_)
            | Fact::TailCut(_)
            | Fact::Snapshotted(_)
            | Fact::Scrubbed(_)
            | Fact::CardKept(_)
            | Fact::AlarmCleared(_)
            | Fact::Erased(_)
            | Fact::Created(_)
            | Fact::OwedAgain(_)
            | Fact::LogClaimed(_)
            | Fact::LogSucceeded(_)
            | Fact::LeafMoved(_)
            | Fact::MessageRecovered(_)
            | Fact::TermNotified(_)
            | Fact::ApprovalAsked(_)
            | Fact::ApprovalDropped(_)
            | Fact::Audited(_) => Ok(Vec::new()),
        }
    }

    fn received(&self, fact: &ReceiptsRecorded) -> Result<Vec<v1::UnitEvent>, Problem> {
        let mut events = Vec::with_capacity(fact.receipts.len());
        for recorded in &fact.receipts {
            let Some(receipt) = &recorded.receipt else { continue };
            let Ok(statement) = Statement::from_bytes(&receipt.statement) else { continue };
            // What it ended is at hand; else the message says how urgent it is.
            let lane = recorded.entry.as_ref().map(EntryRecord::lane);
            let mut event = self.of_statement(&statement, Kind::ReceiptReceived, lane)?;
            event.peer.clone_from(&fact.peer);
            // A receipt that failed a check settles nothing and must not be read as one that does.
            if !receipt.counts() {
                event.kind = Kind::Contradiction.into();
                event.reason = receipt.flags.first().cloned().unwrap_or_default();
            }
            events.push(event);
        }
        Ok(events)
    }

    fn term(&self, term: &TermRecord) -> Result<v1::UnitEvent, Problem> {
        let digest = digest_of(&term.digest);
        let request = self.relay().store().message(&digest)?;
        let event = request.map_or_else(|| named(None, &digest), |it| about(Kind::Term, &it));
        let unit = self.relay().node().unit();
        let obligation = cases::told(term, unit, event.short_id.clone());
        Ok(v1::UnitEvent {
            kind: Kind::Term.into(),
            peer: term.peer.clone(),
            obligation: Some(obligation),
            case_id: case_id(&term.case_id),
            ..event
        })
    }

    fn issued(&self, leaf: &Leaf, kind: Kind) -> Result<Option<v1::UnitEvent>, Problem> {
        let Some(statement) = statement_of(leaf) else { return Ok(None) };
        let mut event = self.of_statement(&statement, kind, None)?;
        let other = match statement.event {
            Event::RelayFailure => statement.recipient.as_ref(),
            _ => Some(&statement.sender),
        };
        event.peer = other.map(ToString::to_string).unwrap_or_default();
        Ok(Some(event))
    }

    fn of_statement(
        &self,
        statement: &Statement,
        kind: Kind,
        priority: Option<Priority>,
    ) -> Result<v1::UnitEvent, Problem> {
        let digest = &statement.header_digest;
        let priority = match priority {
            None => self.relay().store().message(digest)?.map(|record| record.priority()),
            known => known,
        };
        let priority = priority.map_or(v1::Priority::Unspecified, Priority::to_wire);
        Ok(v1::UnitEvent {
            kind: kind.into(),
            receipt_event: statement.event.to_wire().into(),
            reason: statement.reason.clone().unwrap_or_default(),
            recovered: recovered(statement),
            priority: priority.into(),
            ..named(Some(statement.message_id), &statement.header_digest)
        })
    }
}

fn sent(record: &MessageRecord) -> v1::UnitEvent {
    let peer = match record.to.as_slice() {
        [only] => only.clone(),
        _ => String::new(),
    };
    let receipt_event = v1::Event::SubmissionAcceptance.into();
    v1::UnitEvent { peer, receipt_event, ..about(Kind::MessageSent, record) }
}

fn about(kind: Kind, record: &MessageRecord) -> v1::UnitEvent {
    v1::UnitEvent {
        kind: kind.into(),
        priority: record.priority().to_wire().into(),
        message_kind: i32::try_from(record.kind).unwrap_or_default(),
        case_id: case_id(&record.case_id),
        ..named(record.message_id(), &record.digest())
    }
}

fn refused(record: &RefusedRecord, digest: &[u8], leaf: Option<&Leaf>) -> v1::UnitEvent {
    let id = MessageId::from_bytes(&record.message_id).ok();
    let event = leaf.map_or(v1::Event::Unspecified, |_| v1::Event::RelayRejection);
    v1::UnitEvent {
        kind: Kind::MessageRefused.into(),
        peer: record.from.clone(),
        reason: record.reason.clone(),
        receipt_event: event.into(),
        ..named(id, &digest_of(digest))
    }
}

fn of_peer(kind: Kind, unit: &str, reason: &str) -> v1::UnitEvent {
    v1::UnitEvent {
        kind: kind.into(),
        peer: unit.to_owned(),
        reason: reason.to_owned(),
        ..Default::default()
    }
}

fn named(id: Option<MessageId>, digest: &Digest) -> v1::UnitEvent {
    v1::UnitEvent {
        message_id: id.map(|id| id.to_string()).unwrap_or_default(),
        short_id: id.map(|id| id.short().to_string()).unwrap_or_default(),
        header_digest: bytes::Bytes::copy_from_slice(digest.as_bytes()),
        ..Default::default()
    }
}

fn statement_of(leaf: &Leaf) -> Option<Statement> {
    Statement::from_bytes(&leaf.statement).ok()
}

fn recovered(statement: &Statement) -> bool {
    statement.has(StatementFlag::Recovered)
}

/// Facts that are read at once, and how often for one page: most facts of a busy node are
/// housekeeping.
const FACTS_MAX: usize = 256;
const ROUNDS_MAX: usize = 16;

/// Events that a watch holds.
const WATCH_PAGE: usize = 256;
