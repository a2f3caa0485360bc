//! Cases: the messages that are kept of each, and whether one more may join.
//!
//! Both questions are asked on the writer, so what was judged cannot have changed when it is
//! stored.

use std::ops::Bound;

use bytes::Bytes;
use relay_core::case::{self, Admission, Delivery, MESSAGES_MAX, Move, Rules, Side};
use relay_proto::{
    envelope::Header,
    ids::{CaseId, Digest, UnitId},
    payload::Place,
    reason::Reason,
};

use crate::store::{
    Store, StoreError,
    index::Tree,
    records::{
        CaseRow, EntryState, MoveRecord,
        case::{etag, messages},
        key,
    },
    view::{View, decode},
};

/// What a message says in its case, and by which rules it is judged.
#[derive(Debug, Clone)]
pub struct InCase {
    /// What it says.
    pub says: Move,
    /// Which messages it is after.
    pub place: Place,
    /// The profile's.
    pub rules: Rules,
    /// The case as its caller saw it ([`etag`]); empty: whatever it is by now.
    pub seen: String,
}

impl Store {
    /// The messages of a case with a peer, in the order in which they were stored here.
    pub fn case_rows(&self, case: &CaseId, peer: &UnitId) -> Result<Vec<CaseRow>, StoreError> {
        self.read(|view| rows(&view, case.as_bytes(), peer))
    }

    /// The cases after a place in their order, at most so many: each by its id and peer, and the
    /// place to go on from.
    pub fn cases(&self, after: &[u8], max: usize) -> Result<Vec<(Listed, Vec<u8>)>, StoreError> {
        self.read(|view| {
            let (mut found, mut from) = (Vec::new(), after.to_vec());
            while found.len() < max {
                let lower = Bound::Included(from.as_slice());
                let next = view.range(Tree::Cases, lower, Bound::Unbounded, 1, false)?;
                let Some((key, _)) = next.first() else { break };
                let case = split(key).ok_or(StoreError::IndexDamaged("cases"))?;
                from = key::after_prefix(&key::case(case.0.as_bytes(), case.1.as_str()))
                    .ok_or(StoreError::IndexDamaged("cases"))?;
                found.push((case, from.clone()));
            }
            Ok(found)
        })
    }

    /// With whom there are messages of a case.
    pub fn case_peers(&self, case: &CaseId) -> Result<Vec<UnitId>, StoreError> {
        let listed = self.cases(case.as_bytes(), PEERS_MAX)?;
        let same = listed.into_iter().take_while(|((id, _), _)| id == case);
        Ok(same.map(|((_, peer), _)| peer).collect())
    }
}

/// A case and its peer.
pub type Listed = (CaseId, UnitId);

fn split(key: &[u8]) -> Option<Listed> {
    let (case, rest) = key.split_at_checked(CASE_BYTES)?;
    let peer = rest.iter().position(|byte| *byte == 0).and_then(|end| rest.get(..end))?;
    Some((CaseId::from_bytes(case).ok()?, std::str::from_utf8(peer).ok()?.parse().ok()?))
}

/// What is kept of a message in its case.
pub(super) fn row(header: &Header, case: &InCase, out: bool) -> CaseRow {
    let bytes = |digest: Option<Digest>| {
        digest.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default()
    };
    CaseRow {
        digest: Bytes::copy_from_slice(header.digest.as_bytes()),
        out,
        sent_at_ms: header.created_at.as_millis(),
        follows: bytes(case.place.follows),
        based_on: bytes(case.place.based_on),
        says: Some(MoveRecord::of(&case.says)),
    }
}

/// Whether our side said something else meanwhile in the place that a message was made for.
pub(super) fn has_moved(
    view: &View<'_>,
    case_id: &[u8],
    peer: &UnitId,
    case: &InCase,
) -> Result<bool, StoreError> {
    let rows = rows(view, case_id, peer)?;
    if !case.seen.is_empty() && case.seen != etag(&rows) {
        return Ok(true);
    }
    let begins = matches!(&case.says, Move::Request(request) if request.revision == 1);
    let follows = case.place.follows.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default();
    let is_taken = |row: &CaseRow| match begins {
        true => row.is_first(),
        false => row.out && !row.is_first() && row.follows == follows,
    };
    Ok(rows.iter().any(is_taken))
}

/// Why a message of a peer may not join its case; nothing: it may.
pub(super) fn refusal(
    view: &View<'_>,
    header: &Header,
    case_id: &[u8],
    case: &InCase,
) -> Result<Option<Reason>, StoreError> {
    let rows = rows(view, case_id, &header.from)?;
    let first = rows.iter().find(|row| row.is_first());
    let first = first.map(|row| view.message(&row.digest())).transpose()?.flatten();
    if first.is_some_and(|record| record.profile != header.profile) {
        // A case has the rules of its request.
        return Ok(Some(Reason::IllegalTransition));
    }
    let held = messages(&rows);
    // The other side than the one that we are on.
    let ours = rows.iter().find(|row| row.out);
    let ours = ours.and_then(|row| held.iter().find(|message| message.digest == row.digest()));
    let from = match ours.map(|message| message.from) {
        Some(Side::Requesting) => Side::Requested,
        Some(Side::Requested) => Side::Requesting,
        None if rows.iter().any(CaseRow::is_first) => Side::Requesting,
        None => case.says.kind().by(),
    };
    let message = row(header, case, false).message(from);
    let message = message.ok_or(StoreError::Refused(Reason::Internal))?;
    Ok(match case::admit(held, &message, Delivery::Delivered, &case.rules) {
        Admission::Made(_) | Admission::Waits => None,
        Admission::Refused(refusal) => Some(refusal.reason),
    })
}

fn rows(view: &View<'_>, case_id: &[u8], peer: &UnitId) -> Result<Vec<CaseRow>, StoreError> {
    let prefix = key::case(case_id, peer.as_str());
    let pairs = view.prefix(Tree::Cases, &prefix, ROWS_MAX)?;
    let mut rows = Vec::with_capacity(pairs.len());
    for (_, value) in &pairs {
        let row: CaseRow = decode(Tree::Cases, value)?;
        // What of ours was refused or expired is no part of the case: the other side has never had
        // it. Of a request that says where the case stands.
        let is_ours = row.out && !row.is_first();
        let entry = if is_ours { view.entry(&row.digest(), peer.as_str())? } else { None };
        let state = entry.and_then(|entry| EntryState::try_from(entry.state).ok());
        if !matches!(state, Some(EntryState::Refused | EntryState::Expired)) {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// A UUID's.
const CASE_BYTES: usize = 16;

/// Units with which one matter is shared.
const PEERS_MAX: usize = 256;

/// More than a case may have, dead ones among them.
const ROWS_MAX: usize = 8 * MESSAGES_MAX;
