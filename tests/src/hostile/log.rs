//! The log of a peer under a test's control: real leaves and proofs, to be broken by the test.

use bytes::Bytes;
use relay_node::keys::{KeyStore, KeyUse};
use relay_proto::{
    envelope::Header,
    ids::{LogOrigin, NodeId, UnitId},
    reason::Reason,
    receipt::{Event, NewStatement, Statement},
    timestamp::Timestamp,
    tlog::{Checkpoint, MemoryTree, inclusion_proof},
    v1,
};

/// Leaves that the peer states, and the tree over them.
pub struct HostileLog {
    node: NodeId,
    origin: LogOrigin,
    tree: MemoryTree,
}

/// What a leaf claims.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// What happened.
    pub event: Event,
    /// Why, of a refusal.
    pub reason: Option<Reason>,
    /// Who acted.
    pub actor: Option<&'a str>,
    /// When.
    pub at: Timestamp,
}

impl HostileLog {
    /// An empty log of a unit.
    pub fn new(unit: &UnitId) -> Self {
        Self::of_generation(unit, 1)
    }

    /// An empty log that came after others of the unit.
    pub fn of_generation(unit: &UnitId, generation: u32) -> Self {
        let node = NodeId::new(unit.clone(), "a").expect("a node id");
        Self { node, origin: unit.log_origin(generation), tree: MemoryTree::new() }
    }

    /// What this unit states about a message that came to it.
    pub fn statement(&self, header: &v1::Signed, claim: Claim<'_>) -> Statement {
        let header = Header::stored(header).expect("a header that a node made");
        let clock = v1::Clock {
            state: v1::ClockState::Synced.into(),
            source: v1::ClockSource::Assumed.into(),
            uncertainty_ms: 0,
        };
        let salt = rand::random();
        let mut new = NewStatement::about(&header, claim.event, &self.node, claim.at, clock, salt);
        new.recipient = Some(self.node.unit());
        new.reason = claim.reason;
        new.actor = claim.actor;
        new.build().expect("a statement that passes the checks made on it alone")
    }

    /// Appends a leaf and gives a group with its receipt, all of it good.
    pub async fn group(
        &mut self,
        keys: &KeyStore,
        number: u64,
        statement: &Bytes,
        actor: &str,
    ) -> v1::ReceiptGroup {
        let held = self.tree.size();
        let index = self.tree.append(relay_proto::receipt::leaf_hash(statement));
        let size = self.tree.size();
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root: self.tree.root() };
        let signer = keys.signer();
        let signature = signer.sign(KeyUse::Checkpoint, checkpoint.text().as_bytes()).await;
        let signature = signature.expect("a signature");
        let key = signer.public(KeyUse::Checkpoint);
        let signed = checkpoint.finish(key, signature).expect("own signature");
        let path = inclusion_proof(index, size, &self.tree).expect("a leaf of the tree");
        let consistency = match held {
            0 => Vec::new(),
            held => relay_proto::tlog::consistency_proof(held, size, &self.tree).expect("a tree"),
        };
        let bytes = |hashes: &[relay_proto::ids::Digest]| {
            hashes.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
        };
        v1::ReceiptGroup {
            checkpoint: signed.note().to_string(),
            consistency_from: held,
            consistency: bytes(&consistency),
            receipts: vec![v1::NumberedReceipt {
                number,
                statement: statement.clone(),
                index,
                path: bytes(&path),
                actor: actor.to_owned(),
            }],
            owed_after: 0,
        }
    }
}
