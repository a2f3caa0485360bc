//! Cards: a unit's own directory entry, signed by its identity key.
//!
//! A card names all working keys, logs and nodes of its unit. Whoever compared the identity key by
//! telephone takes every newer card under it without a call. Invariant: a [`Card`] verified under
//! the identity key that it states, its names, keys and origins are well-formed, no key is weak, no
//! key or name comes twice.

mod law;

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;

pub use law::{LawError, TREATIES, treaty_name};

use crate::{
    ids::{IdError, LogOrigin, NodeId, UnitId},
    keys::{KeyError, KeyId, PublicKey},
    limits,
    reason::Reason,
    scan::{self, ScanError, schema},
    signed::{self, SignedError},
    succession::{Succession, SuccessionError},
    timestamp::Timestamp,
    v1,
};

/// A checked card and the bytes that were signed.
#[derive(Debug, Clone)]
pub struct Card {
    unit: UnitId,
    identity: PublicKey,
    keys: Vec<WorkingKey>,
    logs: Vec<CardLog>,
    nodes: Vec<CardNode>,
    value: v1::Card,
    signed: v1::Signed,
}

/// A key with its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkingKey {
    /// What the key is for.
    pub kind: v1::KeyKind,
    /// The key.
    pub key: PublicKey,
    /// Numbers only grow with rotations.
    pub epoch: u32,
    /// First instant of the window.
    pub not_before: Timestamp,
    /// Last instant of the window.
    pub not_after: Timestamp,
    /// Whether it was retired or revoked.
    pub status: v1::KeyStatus,
    /// From when on it may have been used by somebody else.
    pub compromised_since: Option<Timestamp>,
}

/// A log and the key of its checkpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct CardLog {
    /// `<unit>/log/<generation>`
    pub origin: LogOrigin,
    /// The key of its checkpoints.
    pub key: WorkingKey,
    /// Whether it still grows.
    pub state: v1::LogState,
    /// Of a closed log: where it ends.
    pub closed_size: u64,
    /// What opened it, when it succeeds a log that lost leaves and the card still names the key
    /// that signed this.
    pub succession: Option<Succession>,
}

/// A node of the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardNode {
    /// The node.
    pub id: NodeId,
    /// `host:port`; empty: it only dials.
    pub addresses: Vec<String>,
    /// What its TLS certificate is pinned by.
    pub transport_keys: Vec<WorkingKey>,
}

impl Card {
    /// Verifies a card under the identity key that it states. Whether that key is the right one is
    /// for a telephone call to say.
    pub fn open(signed: &v1::Signed) -> Result<Self, CardError> {
        // The key is inside: read it first, believe it only after the signature and the scan.
        let peek = v1::Card::decode(signed.bytes.clone()).map_err(|_| CardError::Unreadable)?;
        let stated = peek.identity_key.as_ref().ok_or(CardError::Missing("identity_key"))?;
        let identity = PublicKey::try_from(stated)?;
        let unit: UnitId = peek.unit.parse()?;
        let verified = signed::open::<v1::Card>(signed, |id| {
            (id == identity.id()).then_some((unit, identity))
        })?;
        Self::check(verified.value(), verified.unit().clone(), identity, signed)
    }

    /// Reads a `.relaycard` file.
    pub fn from_file(file: &[u8]) -> Result<Self, CardError> {
        if file.len() > 2 * limits::CARD_BYTES_MAX {
            let got = file.len();
            return Err(
                ScanError::TooLarge { message: "Card", got, max: limits::CARD_BYTES_MAX }.into()
            );
        }
        let bytes = file.strip_prefix(FILE_HEAD).ok_or(CardError::NotACard)?;
        let bytes = Bytes::copy_from_slice(bytes);
        Self::open(&scan::decode(&bytes, &schema::SIGNED, 2 * limits::CARD_BYTES_MAX)?)
    }

    /// The bytes of a `.relaycard` file: a line that says what it is, then the signed card.
    pub fn to_file(signed: &v1::Signed) -> Vec<u8> {
        [FILE_HEAD, &signed.encode_to_vec()].concat()
    }

    fn check(
        card: &v1::Card,
        unit: UnitId,
        identity: PublicKey,
        signed: &v1::Signed,
    ) -> Result<Self, CardError> {
        if card.version != 1 {
            return Err(CardError::Version(card.version));
        }
        signed::check_extensions(&card.extensions).map_err(CardError::Extension)?;
        law::check(card)?;
        if card.number == 0 || card.names.is_empty() || card.phone_24x7.is_empty() {
            return Err(CardError::Missing("number, names and phone_24x7"));
        }
        if card.identity_key.as_ref().is_none_or(|key| key.kind() != v1::KeyKind::Identity) {
            return Err(CardError::Missing("identity_key"));
        }
        let keys = card.keys.iter().map(working_key).collect::<Result<Vec<_>, _>>()?;
        let logs = card
            .logs
            .iter()
            .map(|log| card_log(log, &unit, &keys))
            .collect::<Result<Vec<_>, _>>()?;
        check_successions(&logs)?;
        if card.nodes.len() > limits::CARD_NODES_MAX {
            return Err(CardError::Nodes(card.nodes.len()));
        }
        let nodes =
            card.nodes.iter().map(|node| card_node(node, &unit)).collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeSet::from([*identity.as_bytes()]);
        let all = keys.iter().chain(logs.iter().map(|log| &log.key));
        let all = all.chain(nodes.iter().flat_map(|node| &node.transport_keys));
        for key in all {
            if !seen.insert(*key.key.as_bytes()) {
                return Err(CardError::KeyTwice);
            }
        }
        let mut names = BTreeSet::new();
        if !nodes.iter().all(|node| names.insert(node.id.to_string()))
            || !logs.iter().all(|log| names.insert(log.origin.to_string()))
        {
            return Err(CardError::NameTwice);
        }
        let (value, signed) = (card.clone(), signed.clone());
        Ok(Self { unit, identity, keys, logs, nodes, value, signed })
    }

    /// Whose card it is.
    pub fn unit(&self) -> &UnitId {
        &self.unit
    }

    /// Only grows; the higher number counts.
    pub fn number(&self) -> u64 {
        self.value.number
    }

    /// The key that is compared by telephone.
    pub fn identity(&self) -> &PublicKey {
        &self.identity
    }

    /// All fields, for display.
    pub fn value(&self) -> &v1::Card {
        &self.value
    }

    /// The card as it travels.
    pub fn signed(&self) -> &v1::Signed {
        &self.signed
    }

    /// Working keys: signing, witness, sealing.
    pub fn keys(&self) -> &[WorkingKey] {
        &self.keys
    }

    /// The key of that id and kind.
    pub fn key(&self, kind: v1::KeyKind, id: KeyId) -> Option<&WorkingKey> {
        self.keys.iter().find(|key| key.kind == kind && key.key.id() == id)
    }

    /// The unit's logs.
    pub fn logs(&self) -> &[CardLog] {
        &self.logs
    }

    /// The log of that origin.
    pub fn log(&self, origin: &LogOrigin) -> Option<&CardLog> {
        self.logs.iter().find(|log| log.origin == *origin)
    }

    /// The unit's nodes.
    pub fn nodes(&self) -> &[CardNode] {
        &self.nodes
    }

    /// Whether the card names this node.
    pub fn has_node(&self, node: &NodeId) -> bool {
        self.nodes.iter().any(|known| known.id == *node)
    }
}

impl WorkingKey {
    /// Whether an object dated `at` may be signed by this key, as far as the card says.
    pub fn check_at(&self, at: Timestamp) -> Result<(), Reason> {
        if self.status == v1::KeyStatus::Revoked {
            return Err(Reason::KeyRevoked);
        }
        if at < self.not_before || at > self.not_after {
            return Err(Reason::UnknownKey);
        }
        Ok(())
    }
}

/// Why a card was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// Not a `.relaycard` file.
    #[error("not a card file: the first line is not `relay-card/v1`")]
    NotACard,
    /// Not protobuf.
    #[error("the card's bytes cannot be read")]
    Unreadable,
    /// A mandatory field is absent.
    #[error("the card lacks {0}")]
    Missing(&'static str),
    /// A version that this node does not speak.
    #[error("card version {0} is not supported")]
    Version(u32),
    /// A critical or misplaced extension.
    #[error("extension: {0}")]
    Extension(Reason),
    /// A name is not well-formed or belongs to another unit.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A node or log of another unit.
    #[error("the card names a node or log of another unit")]
    ForeignName,
    /// More nodes than a unit may have.
    #[error("the card names {0} nodes; {max} are the most", max = limits::CARD_NODES_MAX)]
    Nodes(usize),
    /// One name for two things.
    #[error("a node or log comes twice")]
    NameTwice,
    /// One key in two roles.
    #[error("a key comes twice")]
    KeyTwice,
    /// An address that is not `host:port`.
    #[error("an address is not host:port")]
    Address,
    /// What is said of a log's succession breaks a rule.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// A succession and the logs of the card say different things.
    #[error("the card's logs are not as the succession of {0} says")]
    OtherEnd(LogOrigin),
    /// What it says of the unit's law breaks a rule.
    #[error(transparent)]
    Law(#[from] LawError),
    /// A key is weak or no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not signed by the identity key that it states.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// Too long or not canonical.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

fn working_key(key: &v1::PublicKey) -> Result<WorkingKey, CardError> {
    let window = (Timestamp::from_wire(key.not_before_ms), Timestamp::from_wire(key.not_after_ms));
    let (Some(not_before), Some(not_after)) = window else {
        return Err(CardError::Missing("a key's window"));
    };
    if key.kind() == v1::KeyKind::Unspecified
        || key.kind() == v1::KeyKind::Identity
        || key.status() == v1::KeyStatus::Unspecified
        || key.epoch == 0
        || not_after < not_before
    {
        return Err(CardError::Missing("a key's kind, epoch, status or window"));
    }
    Ok(WorkingKey {
        kind: key.kind(),
        key: PublicKey::try_from(key)?,
        epoch: key.epoch,
        not_before,
        not_after,
        status: key.status(),
        compromised_since: Timestamp::from_wire(key.compromised_since_ms),
    })
}

fn card_log(log: &v1::CardLog, unit: &UnitId, keys: &[WorkingKey]) -> Result<CardLog, CardError> {
    let origin: LogOrigin = log.origin.parse()?;
    if origin.unit != *unit {
        return Err(CardError::ForeignName);
    }
    let key = log.key.as_ref().ok_or(CardError::Missing("a log's key"))?;
    if log.state() == v1::LogState::Unspecified || key.kind() != v1::KeyKind::Log {
        return Err(CardError::Missing("a log's state and key"));
    }
    let key = working_key(key)?;
    let find = |id: KeyId| {
        let signs = |key: &&WorkingKey| key.kind == v1::KeyKind::Signing && key.key.id() == id;
        keys.iter().find(signs).map(|key| (unit.clone(), key.key))
    };
    let succession = match &log.succession {
        None => None,
        Some(signed) => match Succession::open(signed, find) {
            Ok(succession) => Some(succession),
            // The key was rotated away: whoever needed to know took it from an older card.
            Err(SuccessionError::Signed(SignedError::UnknownKey(_))) => None,
            Err(error) => return Err(error.into()),
        },
    };
    Ok(CardLog { origin, key, state: log.state(), closed_size: log.closed_size, succession })
}

/// A log is opened by its own succession, and the log before it ends where that says.
fn check_successions(logs: &[CardLog]) -> Result<(), CardError> {
    for log in logs {
        let Some(succession) = &log.succession else { continue };
        let old = logs.iter().find(|old| old.origin == succession.old.origin);
        let ends = old.is_none_or(|old| {
            old.state == v1::LogState::Closed && old.closed_size == succession.end()
        });
        if succession.new != log.origin || succession.new_key != log.key.key.id() || !ends {
            return Err(CardError::OtherEnd(log.origin.clone()));
        }
    }
    Ok(())
}

fn card_node(node: &v1::CardNode, unit: &UnitId) -> Result<CardNode, CardError> {
    let well_formed = |address: &String| {
        address.len() <= ADDRESS_MAX
            && address.bytes().all(|b| b.is_ascii_graphic())
            && address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            })
    };
    if !node.addresses.iter().all(well_formed) {
        return Err(CardError::Address);
    }
    let transport_keys =
        node.transport_keys.iter().map(working_key).collect::<Result<Vec<_>, _>>()?;
    if transport_keys.is_empty() || transport_keys.iter().any(|k| k.kind != v1::KeyKind::Transport)
    {
        return Err(CardError::Missing("a node's transport key"));
    }
    let id = NodeId::new(unit.clone(), &node.name)?;
    Ok(CardNode { id, addresses: node.addresses.clone(), transport_keys })
}

const FILE_HEAD: &[u8] = b"relay-card/v1\n";

/// A host name has at most 253 characters (RFC 1035), a port five.
const ADDRESS_MAX: usize = 260;

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::{
        signed::tests::{key, sign, signer},
        succession::tests as succession,
    };

    pub(crate) fn public(kind: v1::KeyKind, seed: u8) -> v1::PublicKey {
        v1::PublicKey {
            kind: kind.into(),
            algorithm: v1::Algorithm::Ed25519.into(),
            epoch: 1,
            public_key: Bytes::copy_from_slice(key(seed).1.as_bytes()),
            not_before_ms: 1_700_000_000_000,
            not_after_ms: 1_900_000_000_000,
            status: v1::KeyStatus::Active.into(),
            ..Default::default()
        }
    }

    /// Keys of unit `xa.ncu`: identity 1, signing 2, log 3, transport 4.
    pub(crate) fn sample() -> v1::Card {
        v1::Card {
            version: 1,
            unit: "xa.ncu".to_owned(),
            number: 1,
            issued_at_ms: 1_772_000_000_000,
            names: vec![v1::CardName { language: "en".into(), name: "Unit XA".into() }],
            phone_24x7: "+1-202-555-0143".to_owned(),
            identity_key: Some(public(v1::KeyKind::Identity, 1)),
            keys: vec![public(v1::KeyKind::Signing, 2)],
            logs: vec![v1::CardLog {
                origin: "xa.ncu/log/1".into(),
                key: Some(public(v1::KeyKind::Log, 3)),
                state: v1::LogState::Open.into(),
                ..Default::default()
            }],
            nodes: vec![v1::CardNode {
                name: "a".into(),
                addresses: vec!["relay.example:7443".into()],
                transport_keys: vec![public(v1::KeyKind::Transport, 4)],
            }],
            signer: Some(signer("xa.ncu", &key(1).1)),
            ..Default::default()
        }
    }

    pub(crate) fn open(card: &v1::Card) -> Result<Card, CardError> {
        let (signing, public) = key(1);
        Card::open(&sign(card, &signing, &public))
    }

    /// A card survives its file; a file with one byte changed anywhere does not open.
    #[test]
    fn cards_round_trip_through_files() {
        let card = open(&sample()).unwrap();
        let file = Card::to_file(card.signed());
        assert_eq!(Card::from_file(&file).unwrap().value(), card.value());
        for position in 0..file.len() {
            let mut changed = file.clone();
            changed[position] ^= 1;
            assert!(Card::from_file(&changed).is_err(), "byte {position} may be changed");
        }
    }

    type Break = fn(&mut v1::Card);

    /// Each thing that would let one unit speak for another, or one key play two roles, is refused.
    #[test]
    fn broken_cards_are_refused() {
        let table: [(&str, Break); 10] = [
            ("the card names a node or log of another unit", |c| {
                c.logs[0].origin = "xb.ncu/log/1".into();
            }),
            ("a key comes twice", |c| c.keys.push(public(v1::KeyKind::Witness, 2))),
            ("a key comes twice", |c| c.keys.push(public(v1::KeyKind::Signing, 1))),
            ("a node or log comes twice", |c| {
                let mut node = c.nodes[0].clone();
                node.transport_keys = vec![public(v1::KeyKind::Transport, 9)];
                c.nodes.push(node);
            }),
            ("an address is not host:port", |c| c.nodes[0].addresses = vec!["relay".into()]),
            ("the card lacks a node's transport key", |c| c.nodes[0].transport_keys.clear()),
            ("the card lacks number, names and phone_24x7", |c| c.phone_24x7.clear()),
            ("card version 2 is not supported", |c| c.version = 2),
            ("weak key: of small order", |c| {
                c.keys[0].public_key = Bytes::from_static(&[0; 32]);
            }),
            ("the signer inside does not agree with the key that verified", |c| {
                c.signer = Some(signer("xb.ncu", &key(1).1));
            }),
        ];
        for (want, break_it) in table {
            let mut card = sample();
            break_it(&mut card);
            assert_eq!(open(&card).unwrap_err().to_string(), want);
        }
    }

    /// As many nodes as the limit says are taken and not one more, however small they are.
    #[test]
    fn nodes_are_counted() {
        let with = |count: u8| {
            let mut card = sample();
            card.nodes = (0..count)
                .map(|n| v1::CardNode {
                    name: format!("n{n}"),
                    addresses: Vec::new(),
                    transport_keys: vec![public(v1::KeyKind::Transport, 50 + n)],
                })
                .collect();
            open(&card)
        };
        assert_eq!(with(8).unwrap().nodes().len(), limits::CARD_NODES_MAX);
        assert_eq!(with(9).unwrap_err(), CardError::Nodes(9));
        assert_eq!(with(200).unwrap_err().to_string(), "the card names 200 nodes; 8 are the most");
    }

    /// A card that names a second log closes the first one where the succession says, and nothing
    /// else.
    #[test]
    fn successions_fit_the_logs() {
        let mut good = sample();
        good.logs[0].state = v1::LogState::Closed.into();
        good.logs[0].closed_size = 120;
        good.logs.push(v1::CardLog {
            origin: "xa.ncu/log/2".into(),
            key: Some(public(v1::KeyKind::Log, 5)),
            state: v1::LogState::Open.into(),
            closed_size: 0,
            succession: Some(succession::signed(&succession::sample())),
        });
        let opened = open(&good).unwrap();
        assert_eq!(opened.logs()[1].succession.as_ref().unwrap().old.size, 100);
        let table: [Break; 5] = [
            |c| c.logs[0].closed_size = 100,
            |c| c.logs[0].state = v1::LogState::Open.into(),
            |c| c.logs[1].origin = "xa.ncu/log/3".into(),
            |c| c.logs[1].key = Some(public(v1::KeyKind::Log, 6)),
            |c| c.logs[1].succession.as_mut().unwrap().bytes = Bytes::from_static(b"x"),
        ];
        for (number, break_it) in table.into_iter().enumerate() {
            let mut card = good.clone();
            break_it(&mut card);
            assert!(open(&card).is_err(), "row {number}");
        }
        // The key that signed the succession was rotated away.
        good.keys[0] = public(v1::KeyKind::Signing, 9);
        assert_eq!(open(&good).unwrap().logs()[1].succession, None);
    }

    /// A working key cannot sign a card.
    #[test]
    fn only_the_identity_key_signs() {
        let (signing, public) = key(2);
        let mut card = sample();
        card.signer = Some(signer("xa.ncu", &public));
        let error = Card::open(&sign(&card, &signing, &public)).unwrap_err();
        assert!(matches!(error, CardError::Signed(SignedError::UnknownKey(_))), "{error}");
    }
}
