//! The local directory's records: cards that the operator added, and whom he trusts.

use bytes::Bytes;
use relay_proto::{
    envelope::Priority,
    ids::{Digest, UnitId},
    reason::Reason,
    timestamp::Timestamp,
};
use tracing::warn;

use super::alarm::{Ending, Raised};
use crate::store::{
    Store, StoreError,
    event::{CardKept, Fact, PeerRemoved, RollbackAccepted},
    index::Tree,
    records::{PeerRecord, RequestRecord, key},
    view::decode,
};

/// A request that has its effect once.
#[derive(Debug, Clone)]
pub struct PeerRequest {
    /// Key of caller, verb and request id.
    pub key: [u8; 32],
    /// Digest of the request's content.
    pub content: Digest,
}

impl Store {
    /// Keeps a peer as it is now. `check` sees what is stored and may refuse.
    pub async fn change_peer(
        &self,
        unit: UnitId,
        now: Timestamp,
        check: impl FnOnce(Option<PeerRecord>) -> Result<PeerRecord, Reason> + Send + 'static,
    ) -> Result<PeerRecord, StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            let before = txn.view().record(Tree::Peers, unit.as_str().as_bytes())?;
            let after = check(before.clone()).map_err(StoreError::Refused)?;
            if before.as_ref() == Some(&after) {
                return Ok(after);
            }
            txn.wake(unit.as_str());
            txn.push(now, Fact::PeerChanged(after.clone()), Bytes::new());
            Ok(after)
        })
        .await
    }

    /// As [`Store::change_peer`], and once for each request: the same again changes nothing.
    /// Refused with REQUEST_ID_CONFLICT when the request id stands for other content.
    ///
    /// Then ends the alarms that asked for it, in commits of their own, for no number of them may
    /// keep an operator from accepting. Those that a crash or a full disk leaves end when the same
    /// request comes again.
    pub async fn accept_rollback(
        &self,
        unit: UnitId,
        request: PeerRequest,
        now: Timestamp,
        check: impl FnOnce(Option<PeerRecord>) -> Result<PeerRecord, Reason> + Send + 'static,
    ) -> Result<(), StoreError> {
        let peer = unit.to_string();
        let accept = self.commit(Priority::Urgent, move |txn| {
            let known: Option<RequestRecord> = txn.view().record(Tree::Requests, &request.key)?;
            let before: Option<PeerRecord> =
                txn.view().record(Tree::Peers, unit.as_str().as_bytes())?;
            if let Some(known) = known {
                let by = before.map(|peer| peer.rollback_by).unwrap_or_default();
                return match known.content == request.content.as_bytes().as_slice() {
                    true => Ok((by, Raised::Until(known.at_ms))),
                    false => Err(StoreError::Refused(Reason::RequestIdConflict)),
                };
            }
            let fact = RollbackAccepted {
                peer: Some(check(before).map_err(StoreError::Refused)?),
                request_key: Bytes::copy_from_slice(&request.key),
                request: Some(RequestRecord {
                    content: Bytes::copy_from_slice(request.content.as_bytes()),
                    digest: Bytes::new(),
                    at_ms: now.as_millis(),
                }),
            };
            let by = fact.peer.as_ref().map(|peer| peer.rollback_by.clone()).unwrap_or_default();
            txn.wake(unit.as_str());
            let seq = txn.push(now, Fact::RollbackAccepted(fact), Bytes::new());
            Ok((by, Raised::Through(seq)))
        });
        let (by, raised) = accept.await?;
        let (reasons, why) = (vec![Reason::PeerRolledBack], "the rollback was accepted".to_owned());
        let ending = Ending { peer, reasons, raised, by, why };
        if let Err(error) = self.end_paged(ending, now, || false).await {
            // It is accepted all the same.
            warn!(%error, "alarms of a rollback that was accepted stand");
        }
        Ok(())
    }

    /// Keeps a card of our own unit for the evidence of what was stated under it. Repeatable.
    pub async fn keep_card(
        &self,
        unit: UnitId,
        card: Bytes,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.commit(Priority::Routine, move |txn| {
            if txn.view().get(Tree::Cards, &key::card(unit.as_str(), &card))?.is_none() {
                let fact = CardKept { unit: unit.to_string(), card };
                txn.push(now, Fact::CardKept(fact), Bytes::new());
            }
            Ok(())
        })
        .await
    }

    /// All cards of a unit that were ever counted on, also when it was removed: the signed cards,
    /// encoded, in no order.
    pub fn cards(&self, unit: &UnitId) -> Result<Vec<Bytes>, StoreError> {
        self.read(|view| {
            let pairs = view.prefix(Tree::Cards, &key::cards(unit.as_str()), CARDS_MAX)?;
            Ok(pairs.into_iter().map(|(_, card)| Bytes::from(card)).collect())
        })
    }

    /// Forgets a peer. Messages, receipts and cards that were counted on stay.
    pub async fn remove_peer(&self, unit: UnitId, now: Timestamp) -> Result<(), StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            let known = txn.view().get(Tree::Peers, unit.as_str().as_bytes())?;
            if known.is_none() {
                return Err(StoreError::Refused(Reason::NotFound));
            }
            let fact = PeerRemoved { unit: unit.to_string() };
            txn.push(now, Fact::PeerRemoved(fact), Bytes::new());
            Ok(())
        })
        .await
    }

    /// All peers, by unit.
    pub fn peers(&self) -> Result<Vec<PeerRecord>, StoreError> {
        self.read(|view| {
            let pairs = view.prefix(Tree::Peers, &[], PEERS_MAX)?;
            pairs.iter().map(|(_, value)| decode(Tree::Peers, value)).collect()
        })
    }
}

/// A card a week for ten years.
const CARDS_MAX: usize = 520;

/// More units than any network has.
const PEERS_MAX: usize = 1024;
