//! The unit's log as an object of the store: what peers claim of it.

use bytes::Bytes;
use relay_proto::{envelope::Priority, ids::Digest, timestamp::Timestamp};

use crate::store::{
    Store, StoreError,
    event::{Fact, LogClaimed},
    index::Tree,
    records::{digest_of, key},
    view::decode,
};

/// A checkpoint of ours that a peer holds and this store does not bear out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClaim {
    /// Who holds it.
    pub peer: String,
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The note, with our own signature.
    pub note: String,
}

impl Store {
    /// Keeps a claim, so that no later start signs before the log was succeeded.
    pub async fn keep_claim(&self, claim: NewClaim, now: Timestamp) -> Result<(), StoreError> {
        let origin = self.origin().to_string();
        self.commit(Priority::Urgent, move |txn| {
            let fact = LogClaimed {
                origin,
                peer: claim.peer,
                size: claim.size,
                root: Bytes::copy_from_slice(claim.root.as_bytes()),
                note: claim.note,
            };
            let known = key::claim(&fact.origin, &fact.peer);
            let known: Option<LogClaimed> = txn.view().record(Tree::Meta, &known)?;
            if known.is_none_or(|known| known.size < fact.size) {
                txn.push(now, Fact::LogClaimed(fact), Bytes::new());
            }
            Ok(())
        })
        .await
    }

    /// What peers claim of the open log and this store does not bear out.
    pub fn claims(&self) -> Result<Vec<NewClaim>, StoreError> {
        let prefix = key::claim(&self.origin().to_string(), "");
        let pairs = self.read(|view| view.prefix(Tree::Meta, &prefix, CLAIMS_MAX))?;
        let each = pairs.iter().map(|(_, value)| {
            let claim: LogClaimed = decode(Tree::Meta, value)?;
            let LogClaimed { peer, size, root, note, .. } = claim;
            Ok(NewClaim { peer, size, root: digest_of(&root), note })
        });
        each.collect()
    }
}

/// More peers than any network has.
const CLAIMS_MAX: usize = 1024;
