//! From an event to the index: puts and deletes of values computed from that event alone.
//!
//! No increments, no reading: replaying an event twice, or from any earlier mark, gives the same
//! index.

use bytes::Bytes;
use prost::Message;
use relay_proto::{ids::UnitId, timestamp::Timestamp, v1::AuditRecord};

mod units;

use crate::store::{
    event::{
        Acknowledged, AlarmCleared, Arrived, EntryChanged, Event, Fact, Leaf, OwedAgain,
        ReceiptsRecorded, Refused, Submitted,
    },
    index::{Op, Tree},
    journal::Position,
    records::{
        AlarmRecord, ApprovalRecord, CaseRow, EntryRecord, MessageRecord, OwedRecord,
        ReceiptRecord, RequestRecord, SaidRecord, ScrubRecord, digest_of, key, priority_number,
    },
};

/// What one event changes in the index.
pub fn project(event: &Event, seq: u64, position: Position) -> Vec<Op> {
    let mut ops = Ops { list: Vec::with_capacity(12), seq, position, at_ms: event.at_ms };
    match &event.fact {
        Some(Fact::Submitted(fact)) => ops.submitted(fact),
        Some(Fact::Arrived(fact)) => ops.arrived(fact),
        Some(Fact::Refused(fact)) => ops.refused(fact),
        Some(Fact::ReceiptsRecorded(fact)) => ops.receipts(fact),
        Some(Fact::HaveRecorded(fact)) => {
            // The rows stay: a peer whose store is set back wants them again.
            ops.number("receipts-confirmed", &fact.peer, fact.up_to);
        }
        Some(Fact::Acknowledged(fact)) => ops.acknowledged(fact),
        Some(Fact::EntryDeferred(fact) | Fact::EntryExpired(fact)) => ops.entry_changed(fact),
        Some(Fact::BackoffSaved(fact)) => {
            let key = fact.peer.clone().into_bytes();
            match &fact.backoff {
                Some(backoff) => ops.put(Tree::Backoff, key, backoff),
                None => ops.delete(Tree::Backoff, key),
            }
        }
        Some(Fact::PeerChanged(peer)) => ops.peer(peer),
        Some(Fact::RollbackAccepted(fact)) => {
            fact.peer.iter().for_each(|peer| ops.peer(peer));
            ops.request(&fact.request_key, fact.request.as_ref());
        }
        Some(Fact::MessageRecovered(record)) => {
            ops.put(Tree::Messages, record.digest.to_vec(), record);
        }
        Some(Fact::TermTold(term) | Fact::TermNotified(term)) => {
            ops.put(Tree::Terms, key::term(term), term)
        }
        Some(Fact::Audited(record)) => ops.audited(Some(record)),
        Some(Fact::ApprovalAsked(fact)) => {
            ops.list.extend(fact.approval.as_ref().map(|it| asked(it, seq, position)));
            ops.audited(fact.audit.as_ref());
        }
        Some(Fact::ApprovalDropped(fact)) => {
            ops.approval(fact.approval.as_ref());
            ops.audited(fact.audit.as_ref());
        }
        Some(Fact::CardKept(fact)) => ops.card(&fact.unit, &fact.card),
        Some(Fact::PeerRemoved(fact)) => ops.delete(Tree::Peers, fact.unit.clone().into_bytes()),
        Some(Fact::Alarmed(alarm)) => ops.alarm(alarm, seq),
        Some(Fact::AlarmCleared(fact)) => ops.alarm_cleared(fact),
        Some(Fact::Anchor(anchor)) => ops.put(Tree::Meta, key::anchor(&anchor.origin), anchor),
        Some(Fact::LogClaimed(claim)) => {
            // A peer's word without a checkpoint of this log.
            let is_word = claim.root.is_empty();
            let key = if is_word { key::later } else { key::claim };
            ops.put(Tree::Meta, key(&claim.origin, &claim.peer), claim);
        }
        Some(Fact::LogSucceeded(fact)) => ops.succeeded(fact),
        Some(Fact::LeafMoved(fact)) => ops.moved(fact),
        Some(Fact::Erased(erased)) => {
            let message = digest_of(&erased.digest);
            for sha256 in &erased.attachments {
                // The row stays: what was ordered and not finished is found by it.
                ops.put_bytes(Tree::Attachments, key::attachment(sha256, &message), Vec::new());
            }
            ops.put(Tree::Erased, message.as_bytes().to_vec(), erased);
        }
        Some(Fact::OwedAgain(fact)) => ops.owed_again(fact),
        Some(Fact::Created(created)) => ops.put(Tree::Meta, b"created".to_vec(), created),
        Some(Fact::Scrubbed(round)) => ops.scrubbed(round),
        Some(Fact::IndexMark(_) | Fact::TailCut(_) | Fact::Snapshotted(_)) | None => {}
    }
    ops.list
}

/// The change of one event that tells where it lies in the journal.
pub fn placed(event: &Event, seq: u64, position: Position) -> Option<Op> {
    let record = match &event.fact {
        Some(Fact::Submitted(fact)) => fact.record.as_ref()?,
        Some(Fact::Arrived(fact)) => fact.record.as_ref()?,
        Some(Fact::ApprovalAsked(fact)) => {
            return fact.approval.as_ref().map(|it| asked(it, seq, position));
        }
        _ => return None,
    };
    Some(message(record, seq, position))
}

/// The record of a message with its place.
fn message(record: &MessageRecord, seq: u64, position: Position) -> Op {
    let mut record = record.clone();
    record.seq = seq;
    record.position = Bytes::copy_from_slice(&position.to_bytes());
    let key = record.digest().as_bytes().to_vec();
    Op { tree: Tree::Messages, key, value: Some(record.encode_to_vec()), fresh: true }
}

/// The record of what waits for a second officer, with its place.
fn asked(record: &ApprovalRecord, seq: u64, position: Position) -> Op {
    let mut record = record.clone();
    record.seq = seq;
    record.position = Bytes::copy_from_slice(&position.to_bytes());
    let (tree, key) = (Tree::Approvals, record.id.to_vec());
    Op { tree, key, value: Some(record.encode_to_vec()), fresh: false }
}

struct Ops {
    list: Vec<Op>,
    seq: u64,
    position: Position,
    at_ms: u64,
}

impl Ops {
    fn put(&mut self, tree: Tree, key: Vec<u8>, value: &impl Message) {
        self.put_bytes(tree, key, value.encode_to_vec());
    }

    fn put_bytes(&mut self, tree: Tree, key: Vec<u8>, value: Vec<u8>) {
        self.list.push(Op { tree, key, value: Some(value), fresh: false });
    }

    fn put_fresh(&mut self, tree: Tree, key: Vec<u8>, value: Vec<u8>) {
        self.list.push(Op { tree, key, value: Some(value), fresh: true });
    }

    fn delete(&mut self, tree: Tree, key: Vec<u8>) {
        self.list.push(Op { tree, key, value: None, fresh: false });
    }

    fn number(&mut self, name: &str, peer: &str, value: u64) {
        self.put_bytes(Tree::Counters, key::counter(name, peer), value.to_be_bytes().to_vec());
    }

    fn owed_again(&mut self, fact: &OwedAgain) {
        for (number, receipt_key) in (fact.first_number..).zip(&fact.receipt_keys) {
            let (receipt_key, priority) = (receipt_key.clone(), fact.priority);
            let owed = OwedRecord { receipt_key, priority };
            let again = owed.receipt_key.to_vec();
            self.put_bytes(Tree::OwedAgain, again, number.to_be_bytes().to_vec());
            let key = key::numbered(&fact.peer, number);
            self.put_fresh(Tree::Owed, key, owed.encode_to_vec());
            self.number("receipts-made", &fact.peer, number);
        }
    }

    fn submitted(&mut self, fact: &Submitted) {
        if let Some(record) = &fact.record {
            self.message(record);
            if let (Some(row), Some(peer)) = (&fact.case, record.to.first()) {
                self.case(record, peer, row);
            }
        }
        for entry in &fact.entries {
            self.entry(entry, true);
            self.number("transfers-made", &entry.next_hop, entry.number);
        }
        self.request(&fact.request_key, fact.request.as_ref());
        self.leaf(fact.leaf.as_ref(), 0);
        self.audited(fact.audit.as_deref());
        self.approval(fact.approval.as_deref());
        if let Some(record) = &fact.record {
            self.said(record);
        }
    }

    fn arrived(&mut self, fact: &Arrived) {
        if let Some(record) = &fact.record {
            self.message(record);
            if record.direction == MessageRecord::IN {
                // Nobody took it yet; an acknowledgement deletes this.
                let bytes = record.wire_bytes.to_be_bytes();
                let value = [&record.digest[..], &bytes, record.from.as_bytes()].concat();
                self.put_fresh(Tree::Unacknowledged, unacknowledged_key(record), value);
            }
            self.transfer(&fact.peer, fact.number, &record.digest);
            if let Some(row) = &fact.case {
                self.case(record, &record.from, row);
            }
            self.said(record);
        }
        if let Some(numbers) = &fact.numbers {
            self.put(Tree::Counters, key::counter("transfers-in", &fact.peer), numbers);
        }
        self.leaf(fact.leaf.as_ref(), 0);
    }

    fn refused(&mut self, fact: &Refused) {
        if let Some(record) = &fact.record {
            self.put(Tree::Refused, fact.digest.to_vec(), record);
        }
        self.transfer(&fact.peer, fact.number, &fact.digest);
        if let Some(numbers) = &fact.numbers {
            self.put(Tree::Counters, key::counter("transfers-in", &fact.peer), numbers);
        }
        self.leaf(fact.leaf.as_ref(), 0);
    }

    fn receipts(&mut self, fact: &ReceiptsRecorded) {
        if let Some(checkpoint) = &fact.checkpoint {
            self.put(Tree::Checkpoints, key::checkpoint(&fact.origin, checkpoint.size), checkpoint);
        }
        for (nth, recorded) in (0..).zip(&fact.receipts) {
            let digest = digest_of(&recorded.digest);
            if let Some(receipt) = &recorded.receipt {
                let receipt_key = key::receipt(&digest, self.seq, nth);
                self.put(Tree::Receipts, receipt_key, receipt);
                let statement = key::statement(&digest, &receipt.statement);
                self.put_bytes(Tree::Statements, statement, Vec::new());
            }
            if let Some(entry) = &recorded.entry {
                self.entry(entry, false);
            }
            for closed in &recorded.closes {
                self.delete(Tree::Exchanges, closed.to_vec());
            }
        }
        self.number("receipts-have", &fact.peer, fact.have);
    }

    fn acknowledged(&mut self, fact: &Acknowledged) {
        let digest = digest_of(&fact.digest);
        if let Some(ack) = &fact.ack {
            self.put(Tree::Acks, key::ack(&digest, ack.capacity), ack);
        }
        if !fact.unacknowledged_key.is_empty() {
            self.delete(Tree::Unacknowledged, fact.unacknowledged_key.to_vec());
        }
        self.request(&fact.request_key, fact.request.as_ref());
        self.leaf(fact.leaf.as_ref(), 0);
        self.audited(fact.audit.as_ref());
    }

    fn approval(&mut self, record: Option<&ApprovalRecord>) {
        if let Some(record) = record {
            self.put(Tree::Approvals, key::decided(&record.id), record);
        }
    }

    fn audited(&mut self, record: Option<&AuditRecord>) {
        if let Some(record) = record {
            self.put(Tree::Audit, record.number.to_be_bytes().to_vec(), record);
        }
    }

    fn entry_changed(&mut self, fact: &EntryChanged) {
        if let Some(entry) = &fact.entry {
            self.entry(entry, false);
        }
        self.leaf(fact.leaf.as_ref(), 0);
    }

    fn message(&mut self, record: &MessageRecord) {
        let digest = digest_of(&record.digest);
        self.list.push(message(record, self.seq, self.position));
        if let (Ok(from), Some(id)) = (record.from.parse::<UnitId>(), record.message_id()) {
            let key = key::by_id(&from, &id);
            self.put_bytes(Tree::ById, key, digest.as_bytes().to_vec());
        }
        for one in &record.attachments {
            let key = key::attachment(&one.sha256, &digest);
            self.put_bytes(Tree::Attachments, key, one.size.to_be_bytes().to_vec());
        }
        self.put_bytes(Tree::Timeline, self.seq.to_be_bytes().to_vec(), digest.as_bytes().to_vec());
    }

    fn case(&mut self, record: &MessageRecord, peer: &str, row: &CaseRow) {
        let key = key::case_message(&record.case_id, peer, self.seq);
        self.put_fresh(Tree::Cases, key, row.encode_to_vec());
    }

    /// What others are found by, and what is expected back.
    fn said(&mut self, record: &MessageRecord) {
        let Some(said) = &record.said else { return };
        let own = record.is_out() && said.origin.is_none();
        let mut keys: Vec<_> = said.about.iter().map(|digest| key::about(digest)).collect();
        if said.says == SaidRecord::ALERT {
            keys.push(key::alert_of(&said.id, own, &record.from));
        }
        let files = said.files.chunks_exact(SaidRecord::SHORT_BYTES);
        keys.extend(files.map(|short| key::file(short, own)));
        for prefix in keys {
            let key = key::nth(prefix, self.seq);
            self.put_fresh(Tree::Exchanges, key, record.digest.to_vec());
        }
        let peers =
            if record.is_out() { &record.to[..] } else { std::slice::from_ref(&record.from) };
        for peer in peers.iter().filter(|_| said.expects) {
            self.put_bytes(Tree::Exchanges, key::open(&record.digest, peer), Vec::new());
        }
        // What our own message answers is owed until that is delivered.
        if !record.is_out() || said.says == SaidRecord::ALERT || said.says == SaidRecord::CANCEL {
            for closed in &said.closes {
                self.delete(Tree::Exchanges, closed.to_vec());
            }
        }
    }

    fn entry(&mut self, entry: &EntryRecord, fresh: bool) {
        let digest = entry.digest();
        let at = Timestamp::from_millis(entry.expires_at_ms);
        let due = key::due(&entry.next_hop, entry.lane(), entry.number);
        let expiry = key::expiry(at, &digest, &entry.recipient);
        let entry_key = key::entry(&digest, &entry.recipient);
        if entry.is_open() {
            // What was delivered once never fails any more.
            let value = Some([&entry.wire_bytes.to_be_bytes()[..], &entry_key].concat());
            self.list.push(Op { tree: Tree::Due, key: due, value, fresh });
            if !entry.recovered {
                let value = Some(entry_key.clone());
                self.list.push(Op { tree: Tree::Expiry, key: expiry, value, fresh });
            }
        } else {
            self.delete(Tree::Due, due);
            self.delete(Tree::Expiry, expiry);
        }
        self.put(Tree::Outbox, entry_key, entry);
    }

    fn transfer(&mut self, peer: &str, number: u64, digest: &Bytes) {
        if number == 0 {
            return;
        }
        let value = [&number.to_be_bytes()[..], digest].concat();
        self.put_bytes(Tree::Transfers, key::transfer(peer, number), value);
    }

    /// An alarm, and whether it stands.
    fn alarm(&mut self, alarm: &AlarmRecord, seq: u64) {
        self.put(Tree::Alarms, seq.to_be_bytes().to_vec(), alarm);
        let named = key::standing_named(&alarm.peer, &alarm.reason, &alarm.detail, seq);
        for key in [key::standing(seq), named] {
            match alarm.stands() {
                true => self.put_bytes(Tree::Standing, key, Vec::new()),
                false => self.delete(Tree::Standing, key),
            }
        }
    }

    fn alarm_cleared(&mut self, fact: &AlarmCleared) {
        if let Some(alarm) = &fact.alarm {
            self.alarm(alarm, fact.seq);
        }
        self.request(&fact.request_key, fact.request.as_ref());
    }

    fn scrubbed(&mut self, round: &ScrubRecord) {
        if !round.complete {
            return self.put(Tree::Meta, key::SCRUB_PART.to_vec(), round);
        }
        self.put(Tree::Meta, key::SCRUB_LAST.to_vec(), round);
        self.delete(Tree::Meta, key::SCRUB_PART.to_vec());
    }

    fn request(&mut self, request_key: &Bytes, request: Option<&RequestRecord>) {
        if let Some(request) = request {
            self.put(Tree::Requests, request_key.to_vec(), request);
        }
    }

    fn leaf(&mut self, leaf: Option<&Leaf>, nth: u32) {
        let Some(leaf) = leaf else { return };
        let digest = digest_of(&leaf.digest);
        let receipt_key = key::receipt(&digest, self.seq, nth);
        let receipt = ReceiptRecord {
            statement: leaf.statement.clone(),
            index: leaf.index,
            origin: leaf.origin.clone(),
            actor: leaf.actor.clone(),
            stored_at_ms: self.at_ms,
            owed_number: leaf.owed_number,
            ..Default::default()
        };
        self.put(Tree::Receipts, receipt_key.clone(), &receipt);
        self.grown(&leaf.origin, leaf.index, &leaf.hashes);
        if !leaf.owed_to.is_empty() {
            let owed = OwedRecord { receipt_key: receipt_key.into(), priority: leaf.priority };
            let key = key::numbered(&leaf.owed_to, leaf.owed_number);
            self.put_fresh(Tree::Owed, key, owed.encode_to_vec());
            self.number("receipts-made", &leaf.owed_to, leaf.owed_number);
        }
    }
}

/// Lane (the most urgent first), then age: the order in which a desk takes messages.
pub fn unacknowledged_key(record: &MessageRecord) -> Vec<u8> {
    let urgency = u8::MAX - u8::try_from(priority_number(record.lane())).unwrap_or(0);
    [&[urgency][..], &record.stored_at_ms.to_be_bytes(), &record.digest].concat()
}
