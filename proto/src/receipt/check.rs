//! What a receiver of receipts checks before it believes one.
//!
//! [`check_group`] judges the checkpoint and spoils all receipts under it; [`check_receipt`] judges
//! one receipt and spoils only that; [`advance`] compares the checkpoint with the one that is held.
//! Pure: keys, header and routes are arguments, nothing is stored. Invariant: outbox entries are
//! meant by header digest and recipient, never by message id, else the refusal of a second header
//! would settle the first.

use crate::{
    card::{Card, WorkingKey},
    envelope::Header,
    ids::{Digest, LogOrigin, UnitId},
    reason::Reason,
    receipt::{IssuerRole, Statement, StatementError},
    tlog::{
        Checkpoint, CheckpointError, ProofError, SignedCheckpoint, verify_consistency,
        verify_inclusion,
    },
    v1,
};

/// A receipt as it came, its statement read.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The leaf.
    pub statement: &'a Statement,
    /// Its number in the log.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub path: &'a [Digest],
}

/// What a receipt is held against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The header that we hold under the statement's header digest.
    pub header: &'a Header,
    /// The issuer's card.
    pub issuer: &'a Card,
    /// Its earlier cards under the same identity key. What they say of nodes and windows still
    /// counts: a receipt may be older than the newest card, and evidence is judged by all of them.
    pub earlier: &'a [Card],
    /// Units that may carry this message between its ends.
    pub hubs: &'a [UnitId],
}

/// Why a receipt, or a group of them, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The statement breaks a rule.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The checkpoint breaks a rule: the whole group is spoiled.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log's key was revoked, and no one else proves when the checkpoint was signed.
    #[error("the key of log {0} was revoked")]
    LogKeyRevoked(LogOrigin),
    /// A closed log does not grow.
    #[error("log {0} was closed at a smaller size")]
    LogClosed(LogOrigin),
    /// The issuer dates the statement outside the window of its log's key.
    #[error("the statement is dated outside the window of the key of log {0}")]
    OutsideWindow(LogOrigin),
    /// The log is not one of the statement's issuer.
    #[error("the receipt lies in a log of another unit than its issuer")]
    ForeignLog,
    /// The leaf is not where the receipt says.
    #[error("inclusion proof: {0}")]
    Inclusion(ProofError),
    /// The node is not on the issuer's card.
    #[error("the issuer's card does not name the issuing node")]
    UnknownNode,
    /// This unit may not state this event about this message.
    #[error("this unit may not issue this event")]
    WrongRole,
    /// Digest, id, sender, recipient or time differ from the header that is held.
    #[error("the receipt is about another message: {0} differs")]
    OtherMessage(&'static str),
}

impl ReceiptError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Statement(error) => error.reason(),
            Self::Checkpoint(error) => error.reason(),
            Self::LogKeyRevoked(_) => Reason::KeyRevoked,
            Self::LogClosed(_) => Reason::PeerRolledBack,
            Self::OutsideWindow(_) => Reason::UnknownKey,
            Self::ForeignLog => Reason::UnknownLog,
            Self::Inclusion(error) => error.reason(),
            Self::UnknownNode | Self::WrongRole => Reason::WrongIssuer,
            Self::OtherMessage(_) => Reason::UnknownMessage,
        }
    }
}

/// Opens the checkpoint of a group under a log of the issuer's card.
pub fn check_group(note: &str, issuer: &Card) -> Result<SignedCheckpoint, ReceiptError> {
    let find = |origin: &LogOrigin| issuer.log(origin).map(|log| log.key.key);
    let signed = SignedCheckpoint::open(note, find)?;
    let checkpoint = signed.checkpoint();
    let origin = checkpoint.origin.clone();
    if issuer.log(&origin).is_some_and(|log| log.key.status == v1::KeyStatus::Revoked) {
        return Err(ReceiptError::LogKeyRevoked(origin));
    }
    let name = origin.to_string();
    let closed = issuer.value().logs.iter().find(|log| log.origin == name);
    let closed = closed.filter(|log| log.state() == v1::LogState::Closed);
    if closed.is_some_and(|log| checkpoint.size > log.closed_size) {
        return Err(ReceiptError::LogClosed(origin));
    }
    Ok(signed)
}

/// Whether the receipt is in that log, by somebody who may say so, about the message that we hold.
///
/// Whether the checkpoint goes on from the one that is held ([`advance`]) and what the receipt
/// changes ([`crate::receipt::legal_after`]) are questions of their own.
pub fn check_receipt(
    received: Received<'_>,
    checkpoint: &Checkpoint,
    expected: Expected<'_>,
) -> Result<(), ReceiptError> {
    let Received { statement, index, path } = received;
    if checkpoint.origin.unit != statement.issuer || *expected.issuer.unit() != statement.issuer {
        return Err(ReceiptError::ForeignLog);
    }
    let (size, root) = (checkpoint.size, &checkpoint.root);
    verify_inclusion(index, size, &statement.leaf_hash(), path, root)
        .map_err(ReceiptError::Inclusion)?;
    if !expected.cards().any(|card| card.has_node(&statement.node)) {
        return Err(ReceiptError::UnknownNode);
    }
    let synced = statement.clock.state() == v1::ClockState::Synced;
    if synced && expected.is_outside(statement, &checkpoint.origin) {
        // What no verifier would take later settles nothing now.
        return Err(ReceiptError::OutsideWindow(checkpoint.origin.clone()));
    }
    check_message(statement, expected.header, expected.hubs)
}

impl Expected<'_> {
    /// Whether a statement is dated outside the window of its log's key, as all cards give it. A
    /// clock that is not SYNCED proves nothing by that: its receipt settles, and its time is not
    /// proven.
    pub fn is_outside(&self, statement: &Statement, log: &LogOrigin) -> bool {
        let Some(newest) = self.issuer.log(log) else { return false };
        let words = self.cards().filter_map(|card| card.log(log)).map(|log| &log.key);
        let mut same = words.filter(|key| key.key == newest.key.key);
        same.all(|key| is_outside(statement, key))
    }

    fn cards(&self) -> impl Iterator<Item = &Card> {
        std::iter::once(self.issuer).chain(self.earlier)
    }
}

/// Whether a statement is dated outside the window of its log's key. One that was made again in a
/// newer log may be older than its key.
pub fn is_outside(statement: &Statement, key: &WorkingKey) -> bool {
    let again = statement.has(v1::StatementFlag::Recovered);
    let early = statement.event_time < key.not_before && !again;
    early || statement.event_time > key.not_after
}

/// Role and subject of a statement: its issuer may say this, and says it of this header.
pub fn check_message(
    statement: &Statement,
    header: &Header,
    hubs: &[UnitId],
) -> Result<(), ReceiptError> {
    let same = |holds, what| if holds { Ok(()) } else { Err(ReceiptError::OtherMessage(what)) };
    same(statement.header_digest == header.digest, "the header digest")?;
    same(statement.message_id == header.message_id, "the message id")?;
    same(statement.sender == header.from, "the sender")?;
    same(statement.submitted_at == header.created_at, "the time of submission")?;
    same(statement.recipient.iter().all(|unit| header.to.contains(unit)), "the recipient")?;
    let issuer = &statement.issuer;
    let is_recipient = statement.recipient.as_ref() == Some(issuer);
    let allowed = match statement.event.issuer() {
        IssuerRole::Sender => *issuer == header.from,
        IssuerRole::Recipient => is_recipient,
        IssuerRole::RecipientOrHub => is_recipient || hubs.contains(issuer),
    };
    if allowed { Ok(()) } else { Err(ReceiptError::WrongRole) }
}

/// How a peer's checkpoint stands to the one of the same log that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointAdvance {
    /// Goes on from the held one, or is the first: hold this one.
    Newer,
    /// The held one.
    Same,
    /// Proven to lie before the held one: its receipts count, the held one stays.
    Older,
    /// Nothing is known until the issuer proves these sizes consistent: its receipts settle nothing
    /// yet.
    NeedProof {
        /// The smaller size.
        from: u64,
        /// The larger size.
        to: u64,
    },
    /// A proof of exactly these sizes was given and is wrong: ask for a checkpoint at the held
    /// size.
    BadProof {
        /// The smaller size.
        from: u64,
        /// The larger size.
        to: u64,
    },
    /// Two signed roots of one size: the portable proof that the log was forked.
    Fork,
}

impl CheckpointAdvance {
    /// The label of what keeps the receipts from counting; none when they count.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Newer | Self::Same | Self::Older => None,
            Self::NeedProof { .. } => Some(Reason::UnprovenExtension),
            Self::BadProof { .. } => Some(Reason::BadConsistency),
            Self::Fork => Some(Reason::PeerRolledBack),
        }
    }
}

/// A consistency proof as it came, of a group or in answer to a question.
#[derive(Debug, Clone, Copy)]
pub struct ConsistencyPath<'a> {
    /// The smaller size.
    pub from: u64,
    /// The larger size.
    pub to: u64,
    /// The hashes.
    pub path: &'a [Digest],
}

/// Compares a verified checkpoint with the (size, root) that is held of the same log.
///
/// A smaller checkpoint may be of a fork just as well as a larger one, so it needs its proof, too.
pub fn advance(
    held: Option<(u64, Digest)>,
    incoming: &Checkpoint,
    proof: Option<ConsistencyPath<'_>>,
) -> CheckpointAdvance {
    let Some((held_size, held_root)) = held.filter(|(size, _)| *size > 0) else {
        return CheckpointAdvance::Newer;
    };
    if incoming.size == held_size {
        let same = incoming.root == held_root;
        return if same { CheckpointAdvance::Same } else { CheckpointAdvance::Fork };
    }
    if incoming.size == 0 {
        // Every log began empty.
        return CheckpointAdvance::Older;
    }
    let newer = incoming.size > held_size;
    let (from, to) = if newer { (held_size, incoming.size) } else { (incoming.size, held_size) };
    let Some(proof) = proof.filter(|proof| (proof.from, proof.to) == (from, to)) else {
        return CheckpointAdvance::NeedProof { from, to };
    };
    let (root1, root2) =
        if newer { (&held_root, &incoming.root) } else { (&incoming.root, &held_root) };
    match verify_consistency(from, to, proof.path, root1, root2) {
        Ok(()) if newer => CheckpointAdvance::Newer,
        Ok(()) => CheckpointAdvance::Older,
        Err(_) => CheckpointAdvance::BadProof { from, to },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use bytes::Bytes;
    use prost::Message as _;

    use super::*;
    use crate::{
        receipt::{
            Event,
            fixture::{Unit, open_card, raw_card, sign_checkpoint},
        },
        tlog::{MemoryTree, consistency_proof},
    };

    struct Federation {
        xa: Unit,
        xb: Unit,
        xc: Unit,
        hub: Unit,
    }

    /// XA writes to XB and XC; the hub may carry.
    fn federation() -> (Federation, Header) {
        let [xa, xb, xc, hub] = [("xa.ncu", 1), ("xb.ncu", 11), ("xc.ncu", 21), ("xh.hub", 31)]
            .map(|(name, seed)| Unit::new(name, seed));
        let header = xa.header(&[&xb, &xc]);
        (Federation { xa, xb, xc, hub }, header)
    }

    type Change = fn(&mut v1::Statement);

    fn changed(statement: &Statement, change: Change) -> Statement {
        let mut raw = v1::Statement::decode(statement.bytes().clone()).unwrap();
        change(&mut raw);
        Statement::from_bytes(&Bytes::from(raw.encode_to_vec())).unwrap()
    }

    /// Every event by every unit: taken from those whom the table of events names, refused from all
    /// others.
    #[test]
    fn roles() {
        let (f, header) = federation();
        let hubs = [f.hub.id.clone()];
        for event in Event::ALL {
            for issuer in [&f.xa, &f.xb, &f.xc, &f.hub] {
                let statement = issuer.states(event, &header, &f.xb);
                let got = check_message(&statement, &header, &hubs);
                let allowed = match event.issuer() {
                    IssuerRole::Sender => issuer.id == f.xa.id,
                    IssuerRole::Recipient => issuer.id == f.xb.id,
                    IssuerRole::RecipientOrHub => issuer.id == f.xb.id || issuer.id == f.hub.id,
                };
                let want = if allowed { Ok(()) } else { Err(ReceiptError::WrongRole) };
                assert_eq!(got, want, "{event} by {}", issuer.id);
                // On a direct way nobody carries.
                let direct = check_message(&statement, &header, &[]);
                assert_eq!(direct.is_ok(), allowed && issuer.id != f.hub.id);
            }
        }
        // A unit that is no recipient confirms for itself.
        let stranger = f.hub.states(Event::ContentConsignment, &header, &f.hub);
        let refused = check_message(&stranger, &header, &hubs).unwrap_err();
        assert_eq!(refused, ReceiptError::OtherMessage("the recipient"));
    }

    /// A receipt about another header, also one of the same message id, is not about the one that
    /// is held.
    #[test]
    fn subjects() {
        let (f, header) = federation();
        let statement = f.xb.states(Event::ContentConsignment, &header, &f.xb);
        assert_eq!(check_message(&statement, &header, &[]), Ok(()));
        let table: [(&str, Change); 4] = [
            ("the header digest", |s| s.header_digest = Bytes::from_static(&[7; 32])),
            ("the message id", |s| {
                let mut id = s.message_id.to_vec();
                id[15] ^= 1;
                s.message_id = id.into();
            }),
            ("the sender", |s| s.sender = "xc.ncu".into()),
            ("the time of submission", |s| s.submitted_at_ms += 1),
        ];
        for (what, change) in table {
            let other = changed(&statement, change);
            let refused = check_message(&other, &header, &[]).unwrap_err();
            assert_eq!(refused, ReceiptError::OtherMessage(what));
            assert_eq!(refused.reason(), Reason::UnknownMessage);
        }
    }

    /// The whole check of one receipt, and each of its refusals.
    #[test]
    fn one_receipt() {
        let (mut f, header) = federation();
        let statement = f.xb.states(Event::ContentConsignment, &header, &f.xb);
        let other = f.xb.states(Event::ContentHandover, &header, &f.xb);
        for _ in 0..3 {
            f.xb.append(&other);
        }
        let index = f.xb.append(&statement);
        let path = f.xb.path(index);
        let signed = check_group(&f.xb.checkpoint().to_string(), &f.xb.card).unwrap();
        let checkpoint = signed.checkpoint();
        let received = Received { statement: &statement, index, path: &path };
        let expected = Expected { header: &header, issuer: &f.xb.card, earlier: &[], hubs: &[] };
        assert_eq!(check_receipt(received, checkpoint, expected), Ok(()));

        let reason = |received, expected| {
            check_receipt(received, checkpoint, expected).unwrap_err().reason()
        };
        let moved = Received { index: 2, ..received };
        assert_eq!(reason(moved, expected), Reason::BadInclusion);
        let beyond = Received { index: 4, ..received };
        assert_eq!(reason(beyond, expected), Reason::BadInclusion);
        let cut = Received { path: &path[1..], ..received };
        assert_eq!(reason(cut, expected), Reason::BadInclusion);
        let not_there = Received { statement: &other, ..received };
        assert_eq!(reason(not_there, expected), Reason::BadInclusion);
        // Another unit's log, and another unit's card.
        let foreign = f.xc.states(Event::ContentConsignment, &header, &f.xc);
        let foreign = Received { statement: &foreign, ..received };
        assert_eq!(reason(foreign, expected), Reason::UnknownLog);
        let wrong_card = Expected { issuer: &f.xc.card, ..expected };
        assert_eq!(reason(received, wrong_card), Reason::UnknownLog);
        // A node that the card does not name.
        let mut card = raw_card("xb.ncu", 11);
        card.nodes[0].name = "b".into();
        let card = open_card(&card, 11);
        let unknown_node = Expected { issuer: &card, ..expected };
        assert_eq!(reason(received, unknown_node), Reason::WrongIssuer);
        // An earlier card named it: the receipt was under way when the unit renamed its node.
        let earlier = [f.xb.card.clone()];
        let renamed = Expected { earlier: &earlier, ..unknown_node };
        assert_eq!(check_receipt(received, checkpoint, renamed), Ok(()));
        // The same of the window of the log's key.
        let mut card = raw_card("xb.ncu", 11);
        card.logs[0].key.as_mut().unwrap().not_after_ms = 1_772_438_400_000;
        let card = open_card(&card, 11);
        let narrow = Expected { issuer: &card, ..expected };
        assert_eq!(reason(received, narrow), Reason::UnknownKey);
        let widened = Expected { earlier: &earlier, ..narrow };
        assert_eq!(check_receipt(received, checkpoint, widened), Ok(()));
        assert!(!widened.is_outside(&statement, &checkpoint.origin));
        // Another clock proves nothing: such a receipt is taken, and told apart.
        let unsynced = changed(&statement, |statement| {
            let state = v1::ClockState::Unsynced.into();
            statement.clock = statement.clock.map(|c| v1::Clock { state, uncertainty_ms: 0, ..c });
        });
        let index = f.xb.append(&unsynced);
        let (path, signed) = (f.xb.path(index), f.xb.checkpoint());
        let received = Received { statement: &unsynced, index, path: &path };
        let narrow = Expected { header: &header, issuer: &card, earlier: &[], hubs: &[] };
        assert_eq!(check_receipt(received, signed.checkpoint(), narrow), Ok(()));
        assert!(narrow.is_outside(&unsynced, &signed.checkpoint().origin));
    }

    /// A checkpoint of a revoked or closed log, of another unit's log or under another key spoils
    /// its group.
    #[test]
    fn groups() {
        let (mut f, header) = federation();
        let statement = f.xb.states(Event::ContentConsignment, &header, &f.xb);
        for _ in 0..5 {
            f.xb.append(&statement);
        }
        let note = f.xb.checkpoint().to_string();
        assert!(check_group(&note, &f.xb.card).is_ok());
        let reason = |card: &Card| check_group(&note, card).unwrap_err().reason();
        assert_eq!(reason(&f.xa.card), Reason::UnknownLog);

        let with = |change: fn(&mut v1::CardLog)| {
            let mut card = raw_card("xb.ncu", 11);
            change(&mut card.logs[0]);
            open_card(&card, 11)
        };
        let revoked = with(|log| log.key.as_mut().unwrap().status = v1::KeyStatus::Revoked.into());
        assert_eq!(reason(&revoked), Reason::KeyRevoked);
        let closed = |log: &mut v1::CardLog| log.state = v1::LogState::Closed.into();
        assert_eq!(reason(&with(closed)), Reason::PeerRolledBack);
        let at_its_end = with(|log| {
            log.state = v1::LogState::Closed.into();
            log.closed_size = 5;
        });
        assert!(check_group(&note, &at_its_end).is_ok());
        let other = sign_checkpoint(f.xb.checkpoint().checkpoint().clone(), 99).to_string();
        assert!(check_group(&other, &f.xb.card).is_err());
    }

    fn tree(size: u64, fork_at: u64) -> MemoryTree {
        let mut tree = MemoryTree::new();
        for n in 0..size {
            let leaf = if n < fork_at { format!("{n}") } else { format!("{n} forked") };
            tree.append(crate::tlog::leaf_hash(leaf.as_bytes()));
        }
        tree
    }

    fn point(tree: &MemoryTree) -> Checkpoint {
        let origin = "xb.ncu/log/1".parse().unwrap();
        Checkpoint { origin, size: tree.size(), root: tree.root() }
    }

    /// All pairs of sizes of one honest log: taken with the right proof, asked for without, refused
    /// with a wrong one.
    #[test]
    fn checkpoints_of_one_log() {
        let whole = tree(12, 99);
        for held_size in 1..=12 {
            let held = tree(held_size, 99);
            let held = Some((held.size(), held.root()));
            for size in 1..=12 {
                let incoming = point(&tree(size, 99));
                if size == held_size {
                    assert_eq!(advance(held, &incoming, None), CheckpointAdvance::Same);
                    continue;
                }
                let (from, to) = (size.min(held_size), size.max(held_size));
                let need = CheckpointAdvance::NeedProof { from, to };
                assert_eq!(advance(held, &incoming, None), need);
                let path = consistency_proof(from, to, &whole).unwrap();
                let good = ConsistencyPath { from, to, path: &path };
                let want = if size > held_size {
                    CheckpointAdvance::Newer
                } else {
                    CheckpointAdvance::Older
                };
                assert_eq!(advance(held, &incoming, Some(good)), want);
                // A proof from a size that is not held proves nothing here.
                let elsewhere = ConsistencyPath { from: from + 1, ..good };
                assert_eq!(advance(held, &incoming, Some(elsewhere)), need);
                let longer = [&path[..], &[incoming.root]].concat();
                let wrong = ConsistencyPath { path: &longer, ..good };
                let bad = CheckpointAdvance::BadProof { from, to };
                assert_eq!(advance(held, &incoming, Some(wrong)), bad);
            }
        }
        let first = point(&tree(3, 99));
        assert_eq!(advance(None, &first, None), CheckpointAdvance::Newer);
        let empty = Some((0, crate::tlog::empty_root()));
        assert_eq!(advance(empty, &first, None), CheckpointAdvance::Newer);
    }

    /// EMERGENCY brought size 12, then ROUTINE brings size 10 of a fork: no proof leads from it to
    /// the held one, whichever the forked log offers; two roots of one size are the fork itself.
    #[test]
    fn smaller_checkpoint_of_a_fork_on_another_lane() {
        let (honest, forked) = (tree(12, 99), tree(12, 8));
        let held = Some((12, honest.root()));
        let incoming = point(&tree(10, 8));
        let need = CheckpointAdvance::NeedProof { from: 10, to: 12 };
        assert_eq!(advance(held, &incoming, None), need);
        for source in [&honest, &forked] {
            let path = consistency_proof(10, 12, source).unwrap();
            let proof = ConsistencyPath { from: 10, to: 12, path: &path };
            let got = advance(held, &incoming, Some(proof));
            assert_eq!(got, CheckpointAdvance::BadProof { from: 10, to: 12 });
            assert_eq!(got.reason(), Some(Reason::BadConsistency));
        }
        // A larger one of the fork neither.
        let held = Some((10, tree(10, 99).root()));
        let path = consistency_proof(10, 12, &forked).unwrap();
        let proof = ConsistencyPath { from: 10, to: 12, path: &path };
        let got = advance(held, &point(&forked), Some(proof));
        assert_eq!(got, CheckpointAdvance::BadProof { from: 10, to: 12 });
        let same_size = advance(held, &incoming, None);
        assert_eq!(same_size, CheckpointAdvance::Fork);
        assert_eq!(same_size.reason(), Some(Reason::PeerRolledBack));
    }

    /// What its issuer dates outside the window of its log's key settles nothing, if its clock is
    /// synchronised; another clock may be wrong in good faith.
    #[test]
    fn a_statement_outside_the_window_of_its_log_is_refused() {
        let (mut f, header) = federation();
        for state in [v1::ClockState::Synced, v1::ClockState::Unsynced] {
            let mut new = f.xb.new_statement(Event::ContentConsignment, &header, &f.xb);
            new.clock.state = state.into();
            new.clock.uncertainty_ms = 0;
            let statement = new.build().unwrap();
            let index = f.xb.append(&statement);
            let path = f.xb.path(index);
            let received = Received { statement: &statement, index, path: &path };
            let signed = f.xb.checkpoint();
            let mut card = raw_card("xb.ncu", 11);
            card.logs[0].key.as_mut().unwrap().not_after_ms = statement.event_time.as_millis() - 1;
            let card = open_card(&card, 11);
            for (issuer, within) in [(&f.xb.card, true), (&card, false)] {
                let expected = Expected { header: &header, issuer, earlier: &[], hubs: &[] };
                let got = check_receipt(received, signed.checkpoint(), expected);
                let taken = within || state != v1::ClockState::Synced;
                assert_eq!(got.is_ok(), taken, "{got:?}");
                if let Err(error) = got {
                    assert_eq!(error.reason(), Reason::UnknownKey);
                }
            }
        }
    }
}
