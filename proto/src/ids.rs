//! Names and digests: newtypes that parse and print one way only.
//!
//! May not use anything but `timestamp` and crates. Invariant: a value of these types is
//! well-formed; whoever holds one need not check it again.

use std::{fmt, str::FromStr};

use data_encoding::{Encoding, HEXLOWER, Specification};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::timestamp::Timestamp;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not well-formed: {why}")]
pub struct IdError {
    /// The kind of name: `unit id`, `message id`, …
    pub what: &'static str,
    /// The rule that it breaks.
    pub why: &'static str,
}

/// A national authority: `xa.cyber-poc` (territory, dot, slug; one spelling only).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitId(Box<str>);

impl UnitId {
    /// ISO 3166-1 alpha-2 in lower case, `int` or `eu`.
    pub fn territory(&self) -> &str {
        self.0.split_once('.').map_or(&self.0, |(territory, _)| territory)
    }

    /// Whether this unit is of a demo or test: ISO user-assigned codes `xa` to `xz`.
    pub fn is_demo(&self) -> bool {
        self.territory().len() == 2 && self.territory().starts_with('x')
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin of this unit's log of one generation: `<unit>/log/<generation>`.
    pub fn log_origin(&self, generation: u32) -> LogOrigin {
        LogOrigin { unit: self.clone(), generation }
    }
}

impl FromStr for UnitId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = |why| IdError { what: "unit id", why };
        let (territory, slug) =
            text.split_once('.').ok_or(bad("expected territory.slug, as in `xa.cyber-poc`"))?;
        let two_letters = territory.len() == 2 && territory.bytes().all(|b| b.is_ascii_lowercase());
        if !two_letters && territory != "int" {
            return Err(bad("the territory is two lower-case letters (ISO 3166-1), `eu` or `int`"));
        }
        check_slug(slug).map_err(bad)?;
        Ok(Self(text.into()))
    }
}

/// One running daemon of a unit: `xa.cyber-poc/a`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId {
    unit: UnitId,
    name: Box<str>,
}

impl NodeId {
    /// A node of `unit`; `name` follows the rule of a unit's slug.
    pub fn new(unit: UnitId, name: &str) -> Result<Self, IdError> {
        check_slug(name).map_err(|why| IdError { what: "node name", why })?;
        Ok(Self { unit, name: name.into() })
    }

    /// The unit that the node carries for.
    pub fn unit(&self) -> &UnitId {
        &self.unit
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (unit, name) = text.split_once('/').ok_or(IdError {
            what: "node id",
            why: "expected unit/name, as in `xa.cyber-poc/a`",
        })?;
        Self::new(unit.parse()?, name)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.unit, self.name)
    }
}

/// Origin and key name of a unit's log: `<unit>/log/<generation>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogOrigin {
    /// The unit whose receipts the log holds.
    pub unit: UnitId,
    /// Starts at 1; a log that lost signed leaves is succeeded by the next generation.
    pub generation: u32,
}

impl FromStr for LogOrigin {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = |why| IdError { what: "log origin", why };
        let mut parts = text.split('/');
        let (Some(unit), Some("log"), Some(generation), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad("expected unit/log/generation, as in `xa.cyber-poc/log/1`"));
        };
        let number: u32 = generation.parse().map_err(|_| bad("the generation is a number"))?;
        if number == 0 || number.to_string() != generation {
            return Err(bad("the generation is a number from 1 without leading zeros"));
        }
        Ok(Self { unit: unit.parse()?, generation: number })
    }
}

impl fmt::Display for LogOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/log/{}", self.unit, self.generation)
    }
}

/// A message's id: UUIDv7 (RFC 9562) made by the sender's node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// A new id from the time of making and ten random bytes.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        Self(
            *uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random)
                .as_uuid()
                .as_bytes(),
        )
    }

    /// From the wire; anything but a UUID of version 7 is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let bad =
            IdError { what: "message id", why: "expected the 16 bytes of a UUID of version 7" };
        let uuid = uuid::Uuid::from_slice(bytes).map_err(|_| bad.clone())?;
        if uuid.get_version_num() != 7 || uuid.get_variant() != uuid::Variant::RFC4122 {
            return Err(bad);
        }
        Ok(Self(*uuid.as_bytes()))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What people say: the last 40 bits.
    pub fn short(&self) -> ShortId {
        let [.., a, b, c, d, e] = self.0;
        ShortId([a, b, c, d, e])
    }
}

impl FromStr for MessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_uuid(text, "message id").and_then(|bytes| Self::from_bytes(&bytes))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

/// The last 40 bits of a message id in Crockford's base32: `7F3K-22QD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId([u8; 5]);

impl ShortId {
    /// The five bytes.
    pub fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }
}

impl FromStr for ShortId {
    type Err = IdError;

    /// Reads what people type: any case, with or without the hyphen, `O` as `0`, `I` and `L` as
    /// `1`.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = IdError { what: "short id", why: "expected eight characters, as in `7F3K-22QD`" };
        let compact: String = text.chars().filter(|c| *c != '-').collect();
        let bytes = crockford().decode(compact.as_bytes()).map_err(|_| bad.clone())?;
        Ok(Self(bytes.try_into().map_err(|_| bad)?))
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = crockford().encode(&self.0);
        let (left, right) = text.split_at(4);
        write!(f, "{left}-{right}")
    }
}

/// Any UUID: a case, a request, an alert.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// From sixteen random bytes, as version 4.
    pub fn random(bytes: [u8; 16]) -> Self {
        Self(*uuid::Builder::from_random_bytes(bytes).as_uuid().as_bytes())
    }

    /// From the time of making and ten random bytes, as version 7 (RFC 9562).
    pub fn dated(now: Timestamp, random: [u8; 10]) -> Self {
        Self(MessageId::new(now, random).0)
    }

    /// When it was made, to the millisecond; only version 7 says so.
    pub fn made_at(&self) -> Option<Timestamp> {
        let uuid = uuid::Uuid::from_bytes(self.0);
        if uuid.get_version_num() != 7 || uuid.get_variant() != uuid::Variant::RFC4122 {
            return None;
        }
        let [a, b, c, d, e, f, ..] = self.0;
        Some(Timestamp::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f])))
    }

    /// From the wire.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let bytes =
            bytes.try_into().map_err(|_| IdError { what: "uuid", why: "expected 16 bytes" })?;
        Ok(Self(bytes))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for Uuid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_uuid(text, "uuid").map(Self)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

/// The thread that all messages about one matter share.
pub type CaseId = Uuid;

/// A caller's key for safe repetition.
pub type RequestId = Uuid;

/// A SHA-256 digest (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of several parts, one after the other.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// A digest that was computed elsewhere.
    pub const fn from_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From the wire.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let bytes =
            bytes.try_into().map_err(|_| IdError { what: "digest", why: "expected 32 bytes" })?;
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = IdError { what: "digest", why: "expected 64 lower-case hexadecimal digits" };
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| bad.clone())?;
        Ok(Self(bytes.try_into().map_err(|_| bad)?))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

macro_rules! text_conversions {
    ($($name:ty),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}

text_conversions!(UnitId, NodeId, LogOrigin, MessageId, ShortId, Uuid, Digest);

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_slug(slug: &str) -> Result<(), &'static str> {
    if slug.is_empty() || slug.len() > SLUG_MAX {
        return Err("the slug has 1 to 32 characters");
    }
    if !slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("the slug has lower-case letters, digits and hyphens only");
    }
    if slug.starts_with('-') || slug.ends_with('-') {
        return Err("the slug neither begins nor ends with a hyphen");
    }
    Ok(())
}

/// Only the hyphenated lower-case form of RFC 9562 is read, so that one id has one spelling.
fn parse_uuid(text: &str, what: &'static str) -> Result<[u8; 16], IdError> {
    let bad = IdError { what, why: "expected a UUID in lower case with hyphens" };
    let uuid = uuid::Uuid::try_parse(text).map_err(|_| bad.clone())?;
    if uuid.hyphenated().to_string() != text {
        return Err(bad);
    }
    Ok(*uuid.as_bytes())
}

/// Crockford's base32: no I, L, O, U; the three that people confuse are read as digits.
fn crockford() -> &'static Encoding {
    static CROCKFORD: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    CROCKFORD.get_or_init(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
        spec.translate.from.push_str("abcdefghjkmnpqrstvwxyzoOiIlL");
        spec.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
        spec.encoding().expect("the specification is a constant and valid")
    })
}

/// Longest slug of a unit or node name; `<unit>/log/<generation>` stays one short line of a
/// checkpoint.
const SLUG_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// One spelling only: each text is either refused or printed back as it was.
    #[test]
    fn unit_ids_have_one_spelling() {
        for good in ["xa.cyber-poc", "eu.ec3", "int.gs", "xb.n"] {
            assert_eq!(good.parse::<UnitId>().unwrap().to_string(), good);
        }
        let long = format!("xa.{}", "a".repeat(33));
        let bad = [
            "XA.cyber-poc",
            "xa",
            "xa.",
            "x.a",
            "xa.-a",
            "xa.a-",
            "xa.a_b",
            "usa.x",
            "xa.a/b",
            &long,
        ];
        for bad in bad {
            assert!(bad.parse::<UnitId>().is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn log_origins_have_one_spelling() {
        assert_eq!("xa.ncu/log/1".parse::<LogOrigin>().unwrap().to_string(), "xa.ncu/log/1");
        for bad in
            ["xa.ncu/log/0", "xa.ncu/log/01", "xa.ncu/log/+1", "xa.ncu/log", "xa.ncu/log/1/2"]
        {
            assert!(bad.parse::<LogOrigin>().is_err(), "{bad} was accepted");
        }
    }

    /// A UUID of another version or an upper-case spelling is not a message id.
    #[test]
    fn message_ids_are_version_seven() {
        let id = MessageId::new(Timestamp::from_millis(1_772_438_400_000), [7; 10]);
        assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        assert!("4f1c1f6e-0f5c-4d2c-9d0c-0f1e2d3c4b5a".parse::<MessageId>().is_err());
        assert!(id.to_string().to_uppercase().parse::<MessageId>().is_err());
    }

    /// A dated id says when it was made, also after it was written down; a random one does not.
    #[test]
    fn dated_ids_tell_their_time() {
        let now = Timestamp::from_millis(1_772_438_400_123);
        let id = Uuid::dated(now, [0xff; 10]);
        assert_eq!(id.to_string().parse::<Uuid>().unwrap().made_at(), Some(now));
        assert_eq!(Uuid::random([7; 16]).made_at(), None);
        assert_eq!(Uuid::from_bytes(&[0x70; 16]).unwrap().made_at(), None, "another variant");
    }

    proptest! {
        /// Short ids survive being written down by hand.
        #[test]
        fn short_ids_round_trip(bytes in any::<[u8; 5]>()) {
            let id = ShortId(bytes);
            let text = id.to_string();
            prop_assert_eq!(text.len(), 9);
            prop_assert_eq!(text.parse::<ShortId>().unwrap(), id);
            prop_assert_eq!(text.to_lowercase().replace('-', "").parse::<ShortId>().unwrap(), id);
            let as_heard = text.replace('0', "o").replace('1', "L");
            prop_assert_eq!(as_heard.parse::<ShortId>().unwrap(), id);
        }

        #[test]
        fn digests_round_trip(bytes in any::<[u8; 32]>()) {
            let digest = Digest::from_array(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }

        /// No text makes a parser panic, and what parses prints as it was read.
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,48}") {
            let read = [
                text.parse::<UnitId>().map(|id| id.to_string()).ok(),
                text.parse::<NodeId>().map(|id| id.to_string()).ok(),
                text.parse::<MessageId>().map(|id| id.to_string()).ok(),
            ];
            for printed in read.into_iter().flatten() {
                prop_assert_eq!(&printed, &text);
            }
            let _ = text.parse::<ShortId>();
        }
    }
}
