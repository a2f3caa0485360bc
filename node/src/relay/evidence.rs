//! Evidence bundles: header, receipts with proofs, cards; the payload only on demand.
//!
//! Invariant: a unit's cards in a bundle name all that its receipts there use, as far as any card
//! that was counted on does: no newer card takes a receipt back.

mod cards;

use std::collections::BTreeMap;

use bytes::Bytes;
use relay_proto::{
    ids::{Digest, UnitId},
    keys::KeyId,
    reason::Reason,
    receipt::Statement,
    v1,
};

use self::cards::{Shown, choose};
use super::{Relay, owed::hashes};
use crate::{
    store::{StoreError, records::ReceiptRecord},
    tlog::TlogError,
};

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// No such message.
    #[error("no such message")]
    NotFound,
    /// The log gives no proof.
    #[error(transparent)]
    Tlog(#[from] TlogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EvidenceError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotFound => Reason::NotFound,
            Self::Tlog(error) => error.reason(),
            Self::Store(error) => error.reason(),
        }
    }
}

impl Relay {
    /// Everything that this node can show about a message.
    pub async fn evidence(
        &self,
        digest: &Digest,
        include_payload: bool,
    ) -> Result<v1::EvidenceBundle, EvidenceError> {
        let parts = &self.ctx.parts;
        let record = parts.store.message(digest)?.ok_or(EvidenceError::NotFound)?;
        let (header, payload) = match include_payload {
            true => {
                let content = parts.store.content(&record)?;
                (content.header, content.payload.unwrap_or_default())
            }
            false => (parts.store.header(&record)?, Bytes::new()),
        };
        let mut receipts = Vec::new();
        let mut units: BTreeMap<UnitId, Shown> = BTreeMap::new();
        if let Ok(from) = record.from.parse::<UnitId>() {
            units.entry(from).or_default().key = KeyId::from_bytes(&record.key_id).ok();
        }
        for stored in parts.store.receipts(digest)? {
            // A contradiction is kept and alarmed; in a bundle it would let a peer spoil what it
            // had confirmed before.
            if stored.flags.iter().any(|flag| flag == Reason::Contradiction.label()) {
                continue;
            }
            let statement = Statement::from_bytes(&stored.statement);
            let receipt = self.receipt(stored).await?;
            if let Ok(statement) = statement {
                let shown = units.entry(statement.issuer).or_default();
                shown.nodes.insert(statement.node);
                shown.notes.insert(receipt.checkpoint.clone());
            }
            receipts.push(receipt);
        }
        let mut cards = Vec::new();
        for (unit, shown) in &units {
            let chosen = choose(parts.directory.cards(unit)?, shown);
            cards.extend(chosen.iter().map(|card| card.signed().clone()));
        }
        Ok(v1::EvidenceBundle {
            header: Some(header),
            payload,
            receipts,
            cards,
            directory: Bytes::new(),
            exported_at_ms: self.ctx.now().as_millis(),
        })
    }

    /// A receipt with its proof: as it was received, or made now for one of our own.
    async fn receipt(&self, stored: ReceiptRecord) -> Result<v1::Receipt, EvidenceError> {
        let parts = &self.ctx.parts;
        let (path, checkpoint) = match stored.checkpoint_size {
            0 if stored.origin != parts.tlog.origin().to_string() => {
                let (path, note) = parts.tlog.ended(&stored.origin, stored.index)?;
                (hashes(&path), note)
            }
            0 => {
                let own = parts.tlog.checkpoint().await?;
                let path = parts.tlog.inclusion(stored.index, own.size)?;
                (hashes(&path), own.note.to_string())
            }
            size => {
                let held = parts.store.checkpoint(&stored.origin, size)?;
                (stored.path, held.ok_or(StoreError::IndexDamaged("checkpoints"))?.note)
            }
        };
        Ok(v1::Receipt {
            statement: stored.statement,
            index: stored.index,
            path,
            checkpoint,
            actor: stored.actor,
        })
    }
}
