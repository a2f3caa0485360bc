//! What a message of ours has from those that it answers, is about or passes on, and whether it may
//! say that.
//!
//! The same is asked by the node that takes it, through the store; a message that would be refused
//! there is not sent.

use relay_core::{
    case::Obligation,
    exchange::{End, Known, Objection, Said, Scheme, Uses, expected, fulfils},
    profile::Profile,
};
use relay_proto::{
    ids::{Digest, MessageId, UnitId},
    payload::{Payload, inherit, is_casework, kind_of_draft, open_clear},
    reason::Reason,
    timestamp::Timestamp,
    v1::{self, payload::Body},
};

use super::{Context, Relay, submit::SubmitError};
use crate::store::{
    Among, Between, StoreError,
    records::{EntryRecord, EntryState, MessageRecord},
};

/// Why a message of ours may not be sent to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFit {
    /// For which recipient.
    pub unit: String,
    /// Why.
    pub reason: Reason,
    /// The scheme of the marking that is looser than it may be.
    pub scheme: Option<Scheme>,
}

impl std::fmt::Display for NotFit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meaning = self.reason.meaning().trim_end_matches('.');
        match self.scheme {
            Some(scheme) => write!(f, "{meaning}: handling.{scheme}, towards {}", self.unit),
            None => write!(f, "{meaning}, towards {}", self.unit),
        }
    }
}

/// What is expected back of a message outside of cases.
pub struct Expectation {
    /// That message.
    pub message: MessageRecord,
    /// The other unit.
    pub peer: UnitId,
    /// Our unit owes it.
    pub ours: bool,
    /// What, by when.
    pub obligation: Obligation,
}

impl Relay {
    /// What is expected after a place in their order, out of at most so many messages; and the
    /// place to go on from, if there are more.
    pub fn expectations(
        &self,
        after: &[u8],
        max: usize,
    ) -> Result<(Vec<Expectation>, Option<Vec<u8>>), StoreError> {
        let open = self.ctx.parts.store.open_exchanges(after, max)?;
        let next = open.last().filter(|_| open.len() == max).map(|(_, key)| key.clone());
        let mut found = Vec::new();
        for ((digest, peer), _) in open {
            found.extend(self.ctx.expectation(&digest, peer)?);
        }
        Ok((found, next))
    }

    /// What the markings of a received message allow; none: this unit sent it.
    pub fn uses(&self, record: &MessageRecord) -> Result<Option<Uses>, StoreError> {
        let Some(known) = record.known().filter(|_| !record.is_out()) else { return Ok(None) };
        let about = self.ctx.parts.store.about(&record.digest(), ABOUT_MAX)?;
        let decisions: Vec<_> = about.iter().filter_map(MessageRecord::known).collect();
        Ok(Some(Uses::of(&known, &decisions)))
    }
}

impl Context {
    fn expectation(
        &self,
        digest: &Digest,
        peer: UnitId,
    ) -> Result<Option<Expectation>, StoreError> {
        let store = &self.parts.store;
        let Some(message) = store.message(digest)? else { return Ok(None) };
        let Some(known) = message.known() else { return Ok(None) };
        let ours = !message.is_out();
        if ours && self.is_answered(&known, &peer)? {
            return Ok(None);
        }
        if !ours && !self.may_have(digest, &peer)? {
            return Ok(None);
        }
        let profile = self.profile(&message.profile);
        let replies = profile.map(|profile| profile.targets.replies.clone()).unwrap_or_default();
        let obligation = expected(&known.said, message.priority(), known.sent_at, &replies);
        Ok(obligation.map(|obligation| Expectation { message, peer, ours, obligation }))
    }

    /// Whether an answer of ours is on its way; once it is there nothing is open any more.
    fn is_answered(&self, known: &Known, peer: &UnitId) -> Result<bool, StoreError> {
        for reply in self.parts.store.about(&known.digest, ABOUT_MAX)? {
            let said = reply.known().filter(|_| reply.is_out());
            if said.is_some_and(|reply| fulfils(&reply.said, &known.said))
                && self.may_have(&reply.digest(), peer)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a message of ours is with a peer, or may get there.
    fn may_have(&self, digest: &Digest, peer: &UnitId) -> Result<bool, StoreError> {
        let entries = self.parts.store.entries(digest)?;
        let entry = entries.iter().find(|entry| entry.recipient == peer.as_str());
        let lost = |entry: &EntryRecord| {
            matches!(entry.state(), EntryState::Refused | EntryState::Expired)
        };
        Ok(entry.is_some_and(|entry| !lost(entry)))
    }
}

/// Messages about one that are looked at.
const ABOUT_MAX: usize = 1024;

impl Context {
    /// A draft with what it has from the messages that it names: markings, the id of the alert that
    /// it updates, what is known of its origin.
    pub(super) fn inheriting(
        &self,
        draft: &v1::Draft,
        profile: &Profile,
        to: &[UnitId],
    ) -> Result<v1::Draft, SubmitError> {
        let mut draft = draft.clone();
        let kind = kind_of_draft(&draft);
        let Some(payload) = &mut draft.payload else { return Ok(draft) };
        let mut from = Vec::new();
        if !is_casework(kind) {
            for id in named(payload) {
                let Some(original) = self.exchanged(to, &id)? else { continue };
                if let (
                    Some(Body::AlertUpdate(alert)),
                    Some(Body::Alert(of) | Body::AlertUpdate(of)),
                ) = (&mut payload.body, &original.body)
                    && alert.alert_id.is_empty()
                {
                    alert.alert_id.clone_from(&of.alert_id);
                }
                from.extend(original.handling);
            }
        }
        if let Some(origin) = &mut payload.origin {
            from.push(self.origin(origin)?);
        }
        if !from.is_empty() {
            let handling = payload.handling.get_or_insert_default();
            inherit(handling, &profile.handling_default, &from);
        }
        Ok(draft)
    }

    /// Whether a completed message may be sent to all of its recipients, and where it stands.
    pub(super) fn among(
        &self,
        payload: &Payload,
        to: &[UnitId],
        now: Timestamp,
    ) -> Result<Among, SubmitError> {
        let said = Said::of(payload);
        let mut among = Among::default();
        for to in to {
            let new =
                Between { said: &said, from: self.unit(), to, sent_at: now, end: End::Sending };
            match self.parts.store.judge_exchange(&new)? {
                Ok(one) => among.extend(one),
                Err(objection) => return Err(not_fit(to.as_str(), objection)),
            }
        }
        Ok(among)
    }

    /// What was exchanged with one of these units under this id.
    fn exchanged(&self, to: &[UnitId], id: &MessageId) -> Result<Option<v1::Payload>, StoreError> {
        for peer in to {
            if let Some(record) = self.parts.store.exchanged((self.unit(), peer), id)? {
                return self.payload(&record);
            }
        }
        Ok(None)
    }

    /// Fills what a draft does not say of its origin; its markings.
    fn origin(&self, origin: &mut v1::Origin) -> Result<v1::Handling, SubmitError> {
        let store = &self.parts.store;
        let id = MessageId::from_bytes(&origin.message_id).ok();
        let digests = match (&id, origin.unit.parse::<UnitId>()) {
            (None, _) => Vec::new(),
            (Some(id), Ok(unit)) => store.by_sender(&unit, id)?.into_iter().collect(),
            (Some(id), Err(_)) => store.by_id(id)?,
        };
        let records = digests.iter().map(|digest| store.message(digest));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let unknown = not_fit(
            &origin.unit,
            Objection::Refused { reason: Reason::UnknownReference, scheme: None },
        );
        let record =
            records.into_iter().flatten().find(|record| !record.is_out()).ok_or(unknown)?;
        let original = self.payload(&record)?.unwrap_or_default();
        let handling = original.handling.unwrap_or_default();
        origin.unit = record.from.clone();
        if origin.header_digest.is_empty() {
            origin.header_digest = record.digest.clone();
        }
        origin.handling.get_or_insert_with(|| handling.clone());
        if let (0, Some(Body::Alert(alert) | Body::AlertUpdate(alert))) =
            (origin.onward, &original.body)
        {
            origin.onward = alert.dissemination.as_ref().map_or(0, |to| to.onward);
        }
        Ok(handling)
    }

    /// The payload of a message that is held; none once it was erased.
    fn payload(&self, record: &MessageRecord) -> Result<Option<v1::Payload>, StoreError> {
        let payload = self.parts.store.content(record)?.payload;
        let opened = payload.map(|clear| open_clear(&clear)).transpose();
        opened.map_err(|_| StoreError::Damaged { seq: record.seq })
    }
}

fn not_fit(unit: &str, objection: Objection) -> SubmitError {
    let (reason, scheme) = match objection {
        Objection::Refused { reason, scheme } => (reason, scheme),
        Objection::Awaited => (objection.reason(), None),
    };
    SubmitError::Exchange(Box::new(NotFit { unit: unit.to_owned(), reason, scheme }))
}

/// The messages that a draft answers or is about.
fn named(payload: &v1::Payload) -> Vec<MessageId> {
    let object = match &payload.body {
        Some(Body::HandlingRelease(release)) => Some(&release.object),
        Some(Body::HandlingReport(report)) => Some(&report.object),
        _ => None,
    };
    let ids = [Some(&payload.in_reply_to), object].into_iter().flatten();
    ids.filter_map(|id| MessageId::from_bytes(id).ok()).collect()
}
