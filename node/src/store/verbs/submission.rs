//! Taking a message from a case system: envelope, outbox entries and SubmissionAcceptance as one
//! event.

use bytes::Bytes;
use prost::Message;
use relay_core::{
    case::{Move, Rules},
    exchange::Said,
    route,
};
use relay_proto::{
    attachment::Item,
    envelope::{Header, Priority},
    ids::{Digest, UnitId},
    payload::{Attachment, Payload, Place},
    timestamp::Timestamp,
    v1::AuditRecord,
};

use super::{
    approval,
    case::{self, InCase},
    exchange::{self, Among},
    outbox::{QueueMax, is_queue_full},
};
use crate::store::{
    NewLeaf, Store, StoreError,
    event::{Fact, Submitted},
    index::Tree,
    records::{
        ApprovalRecord, EntryRecord, EntryState, ListedRecord, MessageRecord, RequestRecord,
        digest_of, key, priority_number,
    },
    txn::Txn,
};

/// What a payload says of its message that lists show and search.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Message kind, as on the wire.
    pub kind: u32,
    /// The case.
    pub case_id: Bytes,
    /// A drill: nothing of it may reach a provider.
    pub exercise: bool,
    /// The attachments that it lists.
    pub attachments: Vec<Item>,
    /// What it says in its case, if its kind makes one go on.
    pub case: Option<InCase>,
    /// What others are judged by.
    pub said: Option<Said>,
    /// Where it stands among others; of what arrives the store finds that.
    pub among: Among,
}

impl About {
    /// Out of a payload that was checked; `rules` are its profile's.
    pub fn of(payload: &Payload, priority: Priority, rules: Rules) -> Self {
        let place = Place { follows: payload.follows, based_on: payload.based_on };
        let says = Move::of(payload, priority);
        Self {
            case: says.map(|says| InCase { says, place, rules, seen: String::new() }),
            kind: i32::from(payload.kind()).unsigned_abs(),
            case_id: Bytes::copy_from_slice(payload.case_id.as_bytes()),
            exercise: payload.exercise,
            attachments: payload.attachments.iter().map(Attachment::item).collect(),
            said: Some(Said::of(payload)),
            among: Among::default(),
        }
    }

    /// Where a message of ours stands among others.
    #[must_use]
    pub fn among(self, among: Among) -> Self {
        Self { among, ..self }
    }

    /// Of a caller who saw the case as this etag tells; empty: whatever it is by now.
    #[must_use]
    pub fn seen(mut self, etag: &str) -> Self {
        if let Some(case) = &mut self.case {
            etag.clone_into(&mut case.seen);
        }
        self
    }
}

/// A signed message that is to be stored and queued.
#[derive(Debug, Clone)]
pub struct NewSubmission {
    /// The header, signed.
    pub header: Header,
    /// The payload as it travels.
    pub payload: Bytes,
    /// What the payload says.
    pub about: About,
    /// Key of caller, verb and request id.
    pub request_key: [u8; 32],
    /// Digest of the checked content.
    pub content: Digest,
    /// SubmissionAcceptance, as statement bytes.
    pub statement: Bytes,
    /// Most of one lane that may wait for one peer.
    pub queue_max: QueueMax,
    /// Who sends it, for the audit log.
    pub audit: AuditRecord,
    /// What waited for a second officer, as it is once this is stored.
    pub approval: Option<ApprovalRecord>,
    /// Now.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionAnswer {
    /// Stored; this is its digest.
    Stored(Digest),
    /// The same request with the same content was stored before.
    Repeated(Digest),
    /// The request id stands for other content, or the message id is taken.
    Conflict,
    /// This recipient's queue is full: of messages, or of bytes.
    QueueFull(UnitId),
    /// The disk has no room for it.
    StorageFull,
    /// Its case went on: it has to be made again, after what came before.
    CaseChanged,
}

impl Store {
    /// Stores messages, all in one commit; each has its own answer.
    pub async fn accept_submissions(
        &self,
        submissions: Vec<NewSubmission>,
    ) -> Result<Vec<SubmissionAnswer>, StoreError> {
        let most_urgent = submissions.iter().map(|new| new.header.priority).max();
        self.commit(most_urgent.unwrap_or(Priority::Routine), move |txn| {
            submissions.into_iter().map(|submission| accept(txn, submission)).collect()
        })
        .await
    }

    /// The answer that is stored for a request, if there is one.
    pub fn request(&self, request_key: &[u8; 32]) -> Result<Option<RequestRecord>, StoreError> {
        self.read(|view| view.record(Tree::Requests, request_key))
    }
}

fn accept(txn: &mut Txn<'_>, new: NewSubmission) -> Result<SubmissionAnswer, StoreError> {
    let before: Option<RequestRecord> = txn.view().record(Tree::Requests, &new.request_key)?;
    if let Some(before) = before {
        return Ok(match before.content == new.content.as_bytes().as_slice() {
            true => SubmissionAnswer::Repeated(digest_of(&before.digest)),
            false => SubmissionAnswer::Conflict,
        });
    }
    let header = &new.header;
    if known(txn, header)?.is_some() {
        // One message a sender and id, whoever asks under whatever request.
        return Ok(SubmissionAnswer::Conflict);
    }
    if let Some(approval) = &new.approval
        && !approval::waits(txn, &approval.id)?
    {
        // Dropped in the meantime.
        return Ok(SubmissionAnswer::Conflict);
    }
    if !txn.room().takes_submission(header.priority) {
        return Ok(SubmissionAnswer::StorageFull);
    }
    if let (Some(case), Some(peer)) = (&new.about.case, header.to.first())
        && case::has_moved(&txn.view(), &new.about.case_id, peer, case)?
    {
        return Ok(SubmissionAnswer::CaseChanged);
    }
    let entries = match entries(txn, &new)? {
        Ok(entries) => entries,
        Err(full) => return Ok(SubmissionAnswer::QueueFull(full)),
    };
    let leaf = txn.leaf(NewLeaf {
        statement: new.statement.clone(),
        digest: header.digest,
        owed_to: None,
        priority: header.priority,
        actor: String::new(),
    })?;
    for entry in &entries {
        txn.wake(&entry.next_hop);
    }
    let digest = header.digest;
    let mut record = record(header, &new.payload, &new.about, new.now);
    record.direction = MessageRecord::OUT;
    record.account.clone_from(new.approval.as_ref().map_or(&new.audit.account, |it| &it.account));
    let audit = txn.audit(new.audit)?;
    let fact = Fact::Submitted(Submitted {
        header: header.signed.encode_to_vec().into(),
        record: Some(record),
        entries,
        request_key: Bytes::copy_from_slice(&new.request_key),
        request: Some(RequestRecord {
            content: Bytes::copy_from_slice(new.content.as_bytes()),
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            at_ms: new.now.as_millis(),
        }),
        leaf: Some(leaf),
        case: new.about.case.as_ref().map(|case| case::row(header, case, true)),
        audit: Some(Box::new(audit)),
        approval: new.approval.map(Box::new),
    });
    txn.push(new.now, fact, new.payload);
    Ok(SubmissionAnswer::Stored(digest))
}

/// One for each recipient; or the one whose queue is full.
fn entries(
    txn: &mut Txn<'_>,
    new: &NewSubmission,
) -> Result<Result<Vec<EntryRecord>, UnitId>, StoreError> {
    let header = &new.header;
    let wire_bytes = wire_bytes(header, &new.payload);
    let mut entries: Vec<EntryRecord> = Vec::with_capacity(header.to.len());
    for recipient in &header.to {
        let hop = route::next_hop(recipient);
        let made = txn.view().counter("transfers-made", hop.unit().as_str())?;
        // Several recipients behind one hop each have a number of their own.
        let same_hop = entries.iter().filter(|entry| entry.next_hop == hop.unit().as_str()).count();
        let number = made + 1 + same_hop as u64;
        let lane = (hop.unit().as_str(), header.priority);
        if is_queue_full(txn, lane, wire_bytes, &new.queue_max)? {
            for entry in &entries {
                txn.note_ended(&entry.next_hop, header.priority, wire_bytes);
            }
            return Ok(Err(recipient.clone()));
        }
        entries.push(entry(new, recipient, hop.unit(), number, wire_bytes));
    }
    Ok(Ok(entries))
}

fn entry(
    new: &NewSubmission,
    recipient: &UnitId,
    hop: &UnitId,
    number: u64,
    wire_bytes: u32,
) -> EntryRecord {
    EntryRecord {
        digest: Bytes::copy_from_slice(new.header.digest.as_bytes()),
        recipient: recipient.to_string(),
        next_hop: hop.to_string(),
        priority: priority_number(new.header.priority),
        number,
        state: EntryState::Queued.into(),
        queued_at_ms: new.now.as_millis(),
        expires_at_ms: new.header.expires_at.as_millis(),
        wire_bytes,
        ..Default::default()
    }
}

/// The record of a message, without direction and place in the journal.
pub(super) fn record(
    header: &Header,
    payload: &Bytes,
    about: &About,
    now: Timestamp,
) -> MessageRecord {
    MessageRecord {
        message_id: Bytes::copy_from_slice(header.message_id.as_bytes()),
        from: header.from.to_string(),
        to: header.to.iter().map(UnitId::to_string).collect(),
        profile: header.profile.clone(),
        priority: priority_number(header.priority),
        kind: about.kind,
        created_at_ms: header.created_at.as_millis(),
        expires_at_ms: header.expires_at.as_millis(),
        stored_at_ms: now.as_millis(),
        wire_bytes: wire_bytes(header, payload),
        digest: Bytes::copy_from_slice(header.digest.as_bytes()),
        key_id: Bytes::copy_from_slice(header.key_id.as_bytes()),
        case_id: about.case_id.clone(),
        exercise: about.exercise,
        attachments: about.attachments.iter().map(ListedRecord::of).collect(),
        said: exchange::record(about),
        ..Default::default()
    }
}

/// Size of an envelope on the wire.
pub fn wire_bytes(header: &Header, payload: &Bytes) -> u32 {
    let size = header.signed.bytes.len() + payload.len() + ENVELOPE_FRAME;
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// The header digest that is stored for a sender and message id.
pub(super) fn known(txn: &Txn<'_>, header: &Header) -> Result<Option<Digest>, StoreError> {
    let stored = txn.view().get(Tree::ById, &key::by_id(&header.from, &header.message_id))?;
    Ok(stored.map(|digest| digest_of(&digest)))
}

/// Signature, key id and tags around header and payload.
const ENVELOPE_FRAME: usize = 128;
