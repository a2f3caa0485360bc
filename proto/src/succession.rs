//! The succession of a log: the unit's word that a log lost signed leaves, where it ends, and which
//! log goes on.
//!
//! [`Succession`] is the checked form. It is signed by the unit's signing key, stands on the card
//! beside the log that it opens, and is that log's first leaf. Invariant: the new log is a later
//! generation of the old one, of the unit that signed.

use prost::Message as _;

use crate::{
    ids::{Digest, IdError, LogOrigin, UnitId},
    keys::{KeyError, KeyId, PublicKey},
    limits,
    reason::Reason,
    scan::{Schema, schema},
    signed::{self, Signable, SignedError},
    timestamp::Timestamp,
    tlog::{self, Checkpoint, empty_root},
    v1,
};

impl Signable for v1::LogSuccession {
    const TAG: &'static str = "relay/v1/log-succession";
    const BYTES_MAX: usize = limits::SUCCESSION_BYTES_MAX;

    fn schema() -> &'static Schema {
        &schema::LOG_SUCCESSION
    }

    fn signer(&self) -> Option<&v1::Signer> {
        self.signer.as_ref()
    }
}

/// A checked succession and the bytes that were signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Succession {
    /// What the unit has of the old log.
    pub old: Checkpoint,
    /// What others hold of it beyond that, the largest first.
    pub claims: Vec<Claim>,
    /// The log that goes on.
    pub new: LogOrigin,
    /// Its key.
    pub new_key: KeyId,
    /// Why.
    pub reason: String,
    /// When, by the unit's clock.
    pub at: Timestamp,
    signed: v1::Signed,
}

/// A checkpoint of the old log that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who; the unit itself for its own anchor.
    pub peer: UnitId,
    /// Leaves.
    pub size: u64,
    /// Their root.
    pub root: Digest,
}

impl Succession {
    /// Verifies and reads one; `find` gives the unit and key of a signing key's id.
    pub fn open(
        signed: &v1::Signed,
        find: impl FnOnce(KeyId) -> Option<(UnitId, PublicKey)>,
    ) -> Result<Self, SuccessionError> {
        let verified = signed::open::<v1::LogSuccession>(signed, find)?;
        let raw = verified.value();
        if raw.version != 1 {
            return Err(SuccessionError::Version(raw.version));
        }
        signed::check_extensions(&raw.extensions).map_err(SuccessionError::Extension)?;
        let old: LogOrigin = raw.old_origin.parse()?;
        let new: LogOrigin = raw.new_origin.parse()?;
        let rule = |holds, text| if holds { Ok(()) } else { Err(SuccessionError::Rule(text)) };
        rule(
            old.unit == *verified.unit() && new.unit == old.unit,
            "both logs are of the unit that signs",
        )?;
        rule(new.generation > old.generation, "the new log is a later generation")?;
        let root = Digest::from_bytes(&raw.old_root)?;
        rule(raw.old_size <= tlog::TREE_SIZE_MAX, "the old size is beyond any log's")?;
        rule(raw.old_size > 0 || root == empty_root(), "an empty log has the empty root")?;
        let claims = raw.claims.iter().map(claim).collect::<Result<Vec<_>, _>>()?;
        rule(claims.len() <= limits::SUCCESSION_CLAIMS_MAX, "too many claims")?;
        rule(claims.is_sorted_by(|a, b| a.size >= b.size), "the largest claim comes first")?;
        let plain = raw.reason.chars().all(|c| !c.is_control());
        let length = (1..=limits::LINE_CHARS_MAX).contains(&raw.reason.chars().count());
        rule(plain && length, "the reason is a line of text")?;
        let at = Timestamp::from_wire(raw.at_ms).ok_or(SuccessionError::Rule("no time"))?;
        Ok(Self {
            old: Checkpoint { origin: old, size: raw.old_size, root },
            claims,
            new,
            new_key: KeyId::from_bytes(&raw.new_key_id)?,
            reason: raw.reason.clone(),
            at,
            signed: signed.clone(),
        })
    }

    /// The largest size that the unit knows to have signed: where the old log ends.
    pub fn end(&self) -> u64 {
        self.claims.first().map_or(0, |claim| claim.size).max(self.old.size)
    }

    /// Whether the unit acknowledges another root of this size: such a checkpoint is of a fork that
    /// nobody has told it of.
    pub fn denies(&self, size: u64, root: &Digest) -> bool {
        let claims = self.claims.iter().map(|claim| (claim.size, claim.root));
        let known = claims.chain([(self.old.size, self.old.root)]).filter(|(at, _)| *at == size);
        let roots: Vec<Digest> = known.map(|(_, root)| root).collect();
        !roots.is_empty() && !roots.contains(root)
    }

    /// The object as it travels.
    pub fn signed(&self) -> &v1::Signed {
        &self.signed
    }

    /// The first leaf of the new log: a tag of its own, so that no receipt is read as it.
    pub fn leaf(&self) -> Vec<u8> {
        [LEAF_TAG, &self.signed.encode_to_vec()].concat()
    }

    /// Its hash, which is the root of the new log at size 1.
    pub fn leaf_hash(&self) -> Digest {
        tlog::leaf_hash(&self.leaf())
    }
}

/// Why a succession was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// Not signed by the unit, too long or not canonical.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// A version that this node does not speak.
    #[error("succession version {0} is not supported")]
    Version(u32),
    /// A critical or misplaced extension.
    #[error("extension: {0}")]
    Extension(Reason),
    /// A name or digest is not well-formed.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A key id is not well-formed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Two fields do not go together.
    #[error("succession: {0}")]
    Rule(&'static str),
}

fn claim(raw: &v1::LogClaim) -> Result<Claim, SuccessionError> {
    Ok(Claim { peer: raw.peer.parse()?, size: raw.size, root: Digest::from_bytes(&raw.root)? })
}

const LEAF_TAG: &[u8] = b"relay/v1/log-succession\0";

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use bytes::Bytes;

    use super::*;
    use crate::signed::tests::{key, sign, signer};

    /// From log 1 of `xa.ncu` at size 100 to log 2, whose key has seed 5; signed by key 2.
    pub(crate) fn sample() -> v1::LogSuccession {
        let claim = |peer: &str, size| v1::LogClaim {
            peer: peer.into(),
            size,
            root: Bytes::from_static(&[7; 32]),
        };
        v1::LogSuccession {
            version: 1,
            old_origin: "xa.ncu/log/1".into(),
            old_size: 100,
            old_root: Bytes::from_static(&[6; 32]),
            claims: vec![claim("xb.ncu", 120), claim("xc.ncu", 110)],
            new_origin: "xa.ncu/log/2".into(),
            new_key_id: Bytes::copy_from_slice(key(5).1.id().as_bytes()),
            reason: "restored from the backup of 03:00".into(),
            at_ms: 1_772_438_400_000,
            signer: Some(signer("xa.ncu", &key(2).1)),
            extensions: Vec::new(),
        }
    }

    pub(crate) fn signed(raw: &v1::LogSuccession) -> v1::Signed {
        let (signing, public) = key(2);
        sign(raw, &signing, &public)
    }

    fn open(raw: &v1::LogSuccession) -> Result<Succession, SuccessionError> {
        Succession::open(&signed(raw), |_| Some(("xa.ncu".parse().unwrap(), key(2).1)))
    }

    /// A good one says where the old log ends and what was signed of it; its leaf is no receipt's.
    #[test]
    fn a_succession_names_the_end() {
        let good = open(&sample()).unwrap();
        assert_eq!((good.old.size, good.end(), good.new.generation), (100, 120, 2));
        assert!(good.leaf().starts_with(b"relay/v1/log-succession\0"));
        assert_ne!(good.leaf_hash(), crate::receipt::leaf_hash(&good.signed().encode_to_vec()));
        assert!(!good.denies(120, &Digest::from_array([7; 32])));
        assert!(good.denies(120, &Digest::from_array([8; 32])));
        assert!(!good.denies(119, &Digest::from_array([8; 32])));
        let bytes = good.leaf()[b"relay/v1/log-succession\0".len()..].to_vec();
        assert!(crate::receipt::Statement::from_bytes(&bytes.into()).is_err());
    }

    type Break = fn(&mut v1::LogSuccession);

    /// Whatever would let it speak for another log, or say two things, is refused.
    #[test]
    fn broken_successions_are_refused() {
        let table: [(&str, Break); 11] = [
            ("succession version 2 is not supported", |s| s.version = 2),
            ("both logs are of the unit", |s| s.old_origin = "xb.ncu/log/1".into()),
            ("both logs are of the unit", |s| s.new_origin = "xb.ncu/log/2".into()),
            ("a later generation", |s| s.new_origin = "xa.ncu/log/1".into()),
            ("the empty root", |s| s.old_size = 0),
            ("the largest claim comes first", |s| s.claims.reverse()),
            ("too many claims", |s| {
                s.claims = vec![s.claims[0].clone(); limits::SUCCESSION_CLAIMS_MAX + 1];
            }),
            ("a line of text", |s| s.reason = "a\nb".into()),
            ("a line of text", |s| s.reason.clear()),
            ("no time", |s| s.at_ms = 0),
            ("does not agree with the key", |s| s.signer = Some(signer("xb.ncu", &key(2).1))),
        ];
        for (want, break_it) in table {
            let mut raw = sample();
            break_it(&mut raw);
            let error = open(&raw).unwrap_err().to_string();
            assert!(error.contains(want), "{error}, not {want}");
        }
    }
}
