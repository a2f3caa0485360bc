//! Messages outside of cases: what is held of those that a new one answers, is about or passes on,
//! and what is expected back.
//!
//! An arrival is judged on the writer, so what it was judged by cannot have changed when it is
//! stored; what is sent is judged before it is signed.

use std::{collections::BTreeSet, ops::Bound};

use bytes::Bytes;
use relay_core::exchange::{
    self, End, Exchange, Held, Known, Objection, Passing, Said, Says, closes, fulfils,
};
use relay_proto::{
    envelope::Header,
    ids::{Digest, MessageId, UnitId},
    payload::is_casework,
    timestamp::Timestamp,
    v1,
};

use super::submission::About;
use crate::store::{
    Store, StoreError,
    index::Tree,
    records::{EntryState, MessageRecord, SaidRecord, digest_of, key},
    view::View,
};

/// Where a message stands among those that are held.
#[derive(Debug, Clone, Default)]
pub struct Among {
    /// Header digests of those that it answers or is about.
    about: BTreeSet<Digest>,
    /// Keys of what is not expected any more.
    closes: BTreeSet<Vec<u8>>,
}

/// A message between two units, one of which is ours.
#[derive(Debug, Clone, Copy)]
pub struct Between<'a> {
    /// What it says.
    pub said: &'a Said,
    /// Its sender.
    pub from: &'a UnitId,
    /// The recipient for whom it is judged.
    pub to: &'a UnitId,
    /// When it was signed.
    pub sent_at: Timestamp,
    /// Where it is judged.
    pub end: End,
}

impl Store {
    /// Judges a message that is to be sent, for one of its recipients.
    pub fn judge_exchange(
        &self,
        new: &Between<'_>,
    ) -> Result<Result<Among, Objection>, StoreError> {
        self.read(|view| judge(&view, new))
    }

    /// The record of a message that was exchanged between two units.
    pub fn exchanged(
        &self,
        (one, other): (&UnitId, &UnitId),
        id: &MessageId,
    ) -> Result<Option<MessageRecord>, StoreError> {
        self.read(|view| exchanged(&view, one, other, id))
    }

    /// The messages that answer a message or are about it, at most so many.
    pub fn about(&self, digest: &Digest, max: usize) -> Result<Vec<MessageRecord>, StoreError> {
        self.read(|view| listed(&view, &key::about(digest.as_bytes()), max))
    }

    /// The messages after a place to which something is expected back, with whom, at most so many;
    /// and the place to go on from.
    pub fn open_exchanges(
        &self,
        after: &[u8],
        max: usize,
    ) -> Result<Vec<(Open, Vec<u8>)>, StoreError> {
        let lower = if after.is_empty() { key::OPEN } else { after };
        let lower = if after.is_empty() { Bound::Included(lower) } else { Bound::Excluded(lower) };
        let end = key::after_prefix(key::OPEN);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let pairs = self.read(|view| view.range(Tree::Exchanges, lower, upper, max, false))?;
        let damaged = || StoreError::IndexDamaged("exchanges");
        let each = pairs.into_iter().map(|(key, _)| {
            let (digest, peer) = opened(&key).ok_or_else(damaged)?;
            Ok(((digest, peer.parse().map_err(|_| damaged())?), key))
        });
        each.collect()
    }
}

/// A message to which something is expected back, and the other unit.
pub type Open = (Digest, UnitId);

/// What an arrival is judged to be; the case's messages are judged elsewhere.
pub(super) fn arrived(
    view: &View<'_>,
    header: &Header,
    own: &UnitId,
    said: &Said,
) -> Result<Result<Among, Objection>, StoreError> {
    let (from, sent_at) = (&header.from, header.created_at);
    judge(view, &Between { said, from, to: own, sent_at, end: End::Taking })
}

/// What is kept of a message.
pub(super) fn record(about: &About) -> Option<SaidRecord> {
    let said = about.said.as_ref()?;
    let bytes = |digest: &Digest| Bytes::copy_from_slice(digest.as_bytes());
    Some(SaidRecord {
        about: about.among.about.iter().map(bytes).collect(),
        closes: about.among.closes.iter().cloned().map(Bytes::from).collect(),
        expects: exchange::expects(said),
        ..SaidRecord::of(said)
    })
}

/// What is not owed to a unit any more once a message of ours was delivered there.
pub(super) fn closed(
    view: &View<'_>,
    digest: &Digest,
    recipient: &str,
) -> Result<Vec<Bytes>, StoreError> {
    let said = view.message(digest)?.and_then(|record| record.said);
    let mut keys = said.map(|said| said.closes).unwrap_or_default();
    keys.retain(|key| opened(key).is_some_and(|(_, peer)| peer == recipient));
    Ok(keys)
}

impl Among {
    /// Of a message to several units.
    pub fn extend(&mut self, other: Self) {
        self.about.extend(other.about);
        self.closes.extend(other.closes);
    }
}

fn judge(view: &View<'_>, new: &Between<'_>) -> Result<Result<Among, Objection>, StoreError> {
    let Between { said, from, to, sent_at, end } = *new;
    let held = match is_casework(said.kind) {
        true => Held::default(),
        false => held(view, new)?,
    };
    let mut verdict = Ok(());
    if !is_casework(said.kind) {
        verdict = exchange::judge(&Exchange { new: said, from, to, sent_at, end }, &held);
    }
    if verdict.is_ok() {
        let (original, release) = named_origin(view, new)?;
        let alike = if end == End::Sending { alike(view, new)? } else { Vec::new() };
        verdict = exchange::pass_on(&Passing {
            new: said,
            from,
            to,
            end,
            original: original.as_ref(),
            alike: &alike,
            release: release.as_ref(),
        });
    }
    Ok(verdict.map(|()| among(new, &held)))
}

fn among(new: &Between<'_>, held: &Held) -> Among {
    let peer = if new.end == End::Sending { new.to } else { new.from };
    let about = [&held.answered, &held.object].into_iter().flatten();
    let answered = held.answered.iter().filter(|known| fulfils(new.said, &known.said));
    let earlier = held.alerts.iter().filter(|known| closes(new.said, &known.said));
    let key = |known: &Known| key::open(known.digest.as_bytes(), peer.as_str());
    Among {
        about: about.map(|known| known.digest).collect(),
        closes: answered.chain(earlier).map(key).collect(),
    }
}

fn held(view: &View<'_>, new: &Between<'_>) -> Result<Held, StoreError> {
    let Between { said, from, to, .. } = *new;
    let find = |id: Option<MessageId>| -> Result<Option<Known>, StoreError> {
        let Some(id) = id else { return Ok(None) };
        Ok(match exchanged(view, from, to, &id)? {
            Some(record) if is_live(view, new, &record)? => record.known(),
            _ => None,
        })
    };
    let answered = find(said.in_reply_to)?;
    let alert_id = match &said.says {
        Says::Cancel { .. } => answered.as_ref().and_then(|known| known.said.alert_id()),
        _ => said.alert_id(),
    };
    let mut alerts = Vec::new();
    for own in [true, false] {
        let Some(id) = alert_id else { break };
        let prefix = key::alert_of(id.as_bytes(), own, from.as_str());
        for record in newest(view, &prefix, REVISIONS_MAX)? {
            let is_between = record.to.iter().any(|unit| unit == to.as_str());
            if is_between && is_live(view, new, &record)? {
                alerts.extend(record.known());
            }
        }
    }
    let offer = match answered.as_ref().map(|known| known.said.kind) {
        Some(v1::Kind::ConditionalOffer) => answered.clone(),
        Some(v1::Kind::ConditionReply) => {
            find(answered.as_ref().and_then(|known| known.said.in_reply_to))?
        }
        _ => None,
    };
    let answers = match &offer {
        Some(offer) => {
            let about = listed(view, &key::about(offer.digest.as_bytes()), ANSWERS_MAX)?;
            let each = about.into_iter().filter_map(|record| record.known());
            let theirs =
                |known: &Known| known.said.kind == v1::Kind::ConditionReply && known.from == *to;
            each.filter(theirs).collect()
        }
        None => Vec::new(),
    };
    Ok(Held { answered, object: find(said.object())?, alerts, offer, answers })
}

/// The message that is passed on, and the release that allows it.
fn named_origin(
    view: &View<'_>,
    new: &Between<'_>,
) -> Result<(Option<Known>, Option<Known>), StoreError> {
    let Some(origin) = &new.said.origin else { return Ok((None, None)) };
    let find = |id: &MessageId| -> Result<Option<Known>, StoreError> {
        Ok(by_sender(view, &origin.unit, id)?.and_then(|record| record.known()))
    };
    let release = origin.release.as_ref().map(find).transpose()?.flatten();
    Ok((find(&origin.id)?, release))
}

/// What other units sent of the same alert or with the same files; nothing where ours was first.
fn alike(view: &View<'_>, new: &Between<'_>) -> Result<Vec<Known>, StoreError> {
    let mut found: Vec<Known> = Vec::new();
    let id = new.said.alert_id();
    let alerts = id.iter().map(|id| [true, false].map(|own| key::alert(id.as_bytes(), own)));
    let files = new.said.files.iter();
    let files = files.map(|file| [true, false].map(|own| key::file(file.as_bytes(), own)));
    for [ours, others] in alerts.chain(files) {
        if !view.prefix(Tree::Exchanges, &ours, 1)?.is_empty() {
            continue;
        }
        // What came after the message that is passed on does not bind whoever passes that on: else
        // another unit could keep it here.
        let stated = new.said.origin.as_ref().map(|origin| origin.digest);
        let each = listed(view, &others, ALIKE_MAX)?.into_iter();
        let each = each.take_while(|one| Some(one.digest()) != stated).filter(|one| !one.is_out());
        found.extend(each.filter_map(|record| record.known()));
    }
    // What is passed on of ours is ours.
    found.retain(|known| known.said.origin.as_ref().is_none_or(|origin| origin.unit != *new.from));
    Ok(found)
}

fn exchanged(
    view: &View<'_>,
    one: &UnitId,
    other: &UnitId,
    id: &MessageId,
) -> Result<Option<MessageRecord>, StoreError> {
    for (from, to) in [(one, other), (other, one)] {
        let record = by_sender(view, from, id)?;
        let is_it = |record: &MessageRecord| record.to.iter().any(|unit| unit == to.as_str());
        if let Some(record) = record.filter(is_it) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

fn by_sender(
    view: &View<'_>,
    from: &UnitId,
    id: &MessageId,
) -> Result<Option<MessageRecord>, StoreError> {
    let digest = view.get(Tree::ById, &key::by_id(from, id))?;
    digest.map(|digest| view.message(&digest_of(&digest))).transpose().map(Option::flatten)
}

/// Whether the recipient of a message of ours has it, or may still get it. Only at the sender's
/// end: what was given up there may have arrived all the same.
fn is_live(view: &View<'_>, new: &Between<'_>, record: &MessageRecord) -> Result<bool, StoreError> {
    if new.end == End::Taking || !record.is_out() {
        return Ok(true);
    }
    let entry = view.entry(&record.digest(), new.to.as_str())?;
    let state = entry.map(|entry| entry.state());
    Ok(!matches!(state, Some(EntryState::Refused | EntryState::Expired)))
}

fn listed(view: &View<'_>, prefix: &[u8], max: usize) -> Result<Vec<MessageRecord>, StoreError> {
    let mut records = Vec::new();
    for (_, digest) in view.prefix(Tree::Exchanges, prefix, max)? {
        records.extend(view.message(&digest_of(&digest))?);
    }
    Ok(records)
}

/// The same, those that were stored last first.
fn newest(view: &View<'_>, prefix: &[u8], max: usize) -> Result<Vec<MessageRecord>, StoreError> {
    let end = key::after_prefix(prefix);
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut records = Vec::new();
    for (_, digest) in view.range(Tree::Exchanges, Bound::Included(prefix), upper, max, true)? {
        records.extend(view.message(&digest_of(&digest))?);
    }
    Ok(records)
}

/// The message and the peer of a key of what is expected.
fn opened(key: &[u8]) -> Option<(Digest, &str)> {
    let (digest, peer) = key.strip_prefix(key::OPEN)?.split_at_checked(DIGEST_BYTES)?;
    Some((digest_of(digest), std::str::from_utf8(peer).ok()?))
}

const DIGEST_BYTES: usize = 32;

/// Revisions of one alert of one sender that are looked at, the newest: the writer reads them.
const REVISIONS_MAX: usize = 64;

/// Answers to one offer that are looked at.
const ANSWERS_MAX: usize = 256;

/// Messages of other units with one file that are looked at.
const ALIKE_MAX: usize = 64;
