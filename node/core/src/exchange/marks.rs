//! Markings and which of two is the stricter, scheme by scheme.
//!
//! Enter through [`Marks::of`]. Invariant: what is not stated, or not known here, counts as the
//! strictest of its scheme.

use std::{collections::BTreeSet, fmt};

use relay_proto::{ids::Digest, payload::Handling, timestamp::Timestamp, v1};

/// The first 128 bits of a text's SHA-256 digest, or of a file's: enough to find it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Short([u8; 16]);

impl Short {
    /// Of a text.
    pub fn of(text: &str) -> Self {
        Self::of_digest(&Digest::of(text.as_bytes()))
    }

    /// Of a file.
    pub fn of_digest(digest: &Digest) -> Self {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// As they were kept.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The markings of a message, without texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// TLP 2.0: 1 CLEAR to 5 RED.
    pub tlp: u32,
    /// PAP: 1 CLEAR to 4 RED.
    pub pap: u32,
    /// Europol's codes that forbid something: 1 H1, 2 H2, 4 H3.
    pub europol: u32,
    /// 1 UNCLASSIFIED to 4 CONFIDENTIAL.
    pub classification: u32,
    /// Conditions on use.
    pub conditions: BTreeSet<Short>,
    /// When it is to be deleted; none: no rule.
    pub delete_by: Option<Timestamp>,
}

/// A scheme of markings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Traffic Light Protocol.
    Tlp,
    /// Permissible Actions Protocol.
    Pap,
    /// Europol's handling codes.
    Europol,
    /// The classification.
    Classification,
    /// Conditions on use.
    Conditions,
    /// When it is to be deleted.
    DeleteBy,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tlp => "tlp",
            Self::Pap => "pap",
            Self::Europol => "europol",
            Self::Classification => "classification",
            Self::Conditions => "conditions",
            Self::DeleteBy => "delete_by",
        })
    }
}

impl Default for Marks {
    /// The strictest.
    fn default() -> Self {
        Self {
            tlp: TLP_MAX,
            pap: PAP_MAX,
            europol: H1 | H2 | H3,
            classification: CLASSIFICATION_MAX,
            conditions: BTreeSet::new(),
            delete_by: None,
        }
    }
}

impl Marks {
    /// Of a message's markings.
    pub fn of(handling: &Handling) -> Self {
        let bit = |code: &v1::EuropolCode| match code {
            v1::EuropolCode::H0 => 0,
            v1::EuropolCode::H1 => H1,
            v1::EuropolCode::H2 => H2,
            v1::EuropolCode::H3 => H3,
            v1::EuropolCode::Unspecified => H1 | H2 | H3,
        };
        let pap = handling.pap.map_or(0, i32::from);
        Self {
            tlp: level(handling.tlp.into(), TLP_MAX),
            pap: level(pap, PAP_MAX),
            europol: handling.europol.iter().map(bit).fold(0, |all, one| all | one),
            classification: level(handling.classification.into(), CLASSIFICATION_MAX),
            conditions: handling.conditions.iter().map(|text| Short::of(text.as_str())).collect(),
            delete_by: handling.delete_by,
        }
    }

    /// The first scheme in which these are looser than others.
    pub fn looser_than(&self, others: &Self) -> Option<Scheme> {
        let later = match (self.delete_by, others.delete_by) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(own), Some(other)) => own > other,
        };
        [
            (self.tlp < others.tlp, Scheme::Tlp),
            (self.pap < others.pap, Scheme::Pap),
            (others.europol & !self.europol != 0, Scheme::Europol),
            (self.classification < others.classification, Scheme::Classification),
            (!self.conditions.is_superset(&others.conditions), Scheme::Conditions),
            (later, Scheme::DeleteBy),
        ]
        .into_iter()
        .find_map(|(looser, scheme)| looser.then_some(scheme))
    }

    /// H1: not in judicial proceedings.
    pub fn has_h1(&self) -> bool {
        self.europol & H1 != 0
    }

    /// H2: not to be passed on.
    pub fn has_h2(&self) -> bool {
        self.europol & H2 != 0
    }

    /// H3: other restrictions, in words.
    pub fn has_h3(&self) -> bool {
        self.europol & H3 != 0
    }

    /// TLP RED, or AMBER+STRICT: for the recipient's own organisation at the most.
    pub fn is_strict(&self) -> bool {
        self.tlp >= TLP_STRICT
    }

    /// TLP RED: for the persons who have it.
    pub fn is_red(&self) -> bool {
        self.tlp >= TLP_MAX
    }

    /// PAP RED: nothing that its subject could notice.
    pub fn is_passive(&self) -> bool {
        self.pap >= PAP_MAX
    }
}

/// Numbers of the wire; what is not known is the strictest.
fn level(number: i32, max: u32) -> u32 {
    u32::try_from(number).ok().filter(|level| (1..=max).contains(level)).unwrap_or(max)
}

const TLP_STRICT: u32 = 4;
const TLP_MAX: u32 = 5;
const PAP_MAX: u32 = 4;
const CLASSIFICATION_MAX: u32 = 4;
const H1: u32 = 1;
const H2: u32 = 2;
const H3: u32 = 4;
