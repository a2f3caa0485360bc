//! What is kept of a message outside of cases: enough to judge those that answer it or pass it on,
//! without a name or a text.

use bytes::Bytes;
use prost::Message;
use relay_core::exchange::{Known, Marks, OriginSaid, Said, Says, Short};
use relay_proto::{
    ids::{MessageId, UnitId, Uuid},
    timestamp::Timestamp,
    v1,
};

use super::{MessageRecord, digest_of};

/// What a message says. Lists of digests are one after the other.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct SaidRecord {
    /// Its markings.
    #[prost(message, optional, tag = "1")]
    pub marks: Option<MarksRecord>,
    /// The id of the message that it answers.
    #[prost(bytes = "bytes", tag = "2")]
    pub in_reply_to: Bytes,
    /// Its files.
    #[prost(bytes = "bytes", tag = "3")]
    pub files: Bytes,
    /// Whose message it passes on.
    #[prost(message, optional, tag = "4")]
    pub origin: Option<OriginRecord>,
    /// Which of [`Says`]: 1 alert, 2 cancel, 3 offer, 4 answer, 5 release, 6 report, 7 request, 8
    /// check; 0: nothing is kept.
    #[prost(uint32, tag = "5")]
    pub says: u32,
    /// The alert's id; the object's.
    #[prost(bytes = "bytes", tag = "6")]
    pub id: Bytes,
    /// Of an alert; the wanted use.
    #[prost(uint32, tag = "7")]
    pub number: u32,
    /// Ids of indicators, of conditions; a nonce.
    #[prost(bytes = "bytes", tag = "8")]
    pub parts: Bytes,
    /// Texts of conditions, in the same order.
    #[prost(bytes = "bytes", tag = "9")]
    pub texts: Bytes,
    /// When it is due, or until when; 0: not stated.
    #[prost(uint64, tag = "10")]
    pub until_ms: u64,
    /// It asks, deletes, accepts, answers, is granted (2: is not).
    #[prost(uint32, tag = "11")]
    pub which: u32,
    /// An alert may be passed on.
    #[prost(bool, tag = "12")]
    pub onward: bool,
    /// Who would get what is released.
    #[prost(string, repeated, tag = "13")]
    pub recipients: Vec<String>,
    /// Header digests of the messages that it answers or is about.
    #[prost(bytes = "bytes", repeated, tag = "14")]
    pub about: Vec<Bytes>,
    /// Something is expected back.
    #[prost(bool, tag = "15")]
    pub expects: bool,
    /// Keys of what is not expected any more, by it.
    #[prost(bytes = "bytes", repeated, tag = "16")]
    pub closes: Vec<Bytes>,
}

/// See [`Marks`].
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct MarksRecord {
    /// As on the wire.
    #[prost(uint32, tag = "1")]
    pub tlp: u32,
    /// As on the wire.
    #[prost(uint32, tag = "2")]
    pub pap: u32,
    /// Bits.
    #[prost(uint32, tag = "3")]
    pub europol: u32,
    /// As on the wire.
    #[prost(uint32, tag = "4")]
    pub classification: u32,
    /// Short digests.
    #[prost(bytes = "bytes", tag = "5")]
    pub conditions: Bytes,
    /// 0: no rule.
    #[prost(uint64, tag = "6")]
    pub delete_by_ms: u64,
}

/// See [`OriginSaid`].
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct OriginRecord {
    /// Who sent it.
    #[prost(string, tag = "1")]
    pub unit: String,
    /// Its id.
    #[prost(bytes = "bytes", tag = "2")]
    pub id: Bytes,
    /// Its header digest.
    #[prost(bytes = "bytes", tag = "3")]
    pub digest: Bytes,
    /// Its markings.
    #[prost(message, optional, tag = "4")]
    pub marks: Option<MarksRecord>,
    /// 1 no, 2 yes.
    #[prost(uint32, tag = "5")]
    pub onward: u32,
    /// Id of the release.
    #[prost(bytes = "bytes", tag = "6")]
    pub release: Bytes,
}

impl SaidRecord {
    /// [`SaidRecord::says`] of an alert and its updates.
    pub const ALERT: u32 = 1;
    /// The same of what cancels one.
    pub const CANCEL: u32 = 2;
    /// Of one in a list.
    pub const SHORT_BYTES: usize = 16;

    /// What is kept.
    pub fn of(said: &Said) -> Self {
        let plain = Self {
            marks: Some(MarksRecord::of(&said.marks)),
            in_reply_to: optional_id(said.in_reply_to),
            files: joined(&said.files),
            origin: said.origin.as_ref().map(OriginRecord::of),
            ..Self::default()
        };
        match &said.says {
            Says::Alert { id, revision, indicators, onward, asks, respond_by } => Self {
                says: Self::ALERT,
                id: Bytes::copy_from_slice(id.as_bytes()),
                number: *revision,
                parts: joined(indicators),
                onward: *onward,
                which: u32::from(*asks),
                until_ms: millis(*respond_by),
                ..plain
            },
            Says::Cancel { scope, deletes } => Self {
                says: Self::CANCEL,
                parts: joined(scope),
                which: u32::from(*deletes),
                ..plain
            },
            Says::Offer { conditions, expires } => {
                let (ids, texts): (Vec<_>, Vec<_>) = conditions.iter().copied().unzip();
                let until_ms = expires.as_millis();
                Self { says: 3, parts: joined(&ids), texts: joined(&texts), until_ms, ..plain }
            }
            Says::Answer { accepts, .. } => Self { says: 4, which: u32::from(*accepts), ..plain },
            Says::Release { object, wanted, recipients, granted } => Self {
                says: 5,
                id: Bytes::copy_from_slice(object.as_bytes()),
                number: i32::from(*wanted).unsigned_abs(),
                recipients: recipients.iter().map(UnitId::to_string).collect(),
                which: granted.map_or(0, |granted| if granted { 1 } else { 2 }),
                ..plain
            },
            Says::Report { object } => {
                Self { says: 6, id: Bytes::copy_from_slice(object.as_bytes()), ..plain }
            }
            Says::Request { respond_by } => {
                Self { says: 7, until_ms: millis(*respond_by), ..plain }
            }
            Says::Check { nonce, respond_by, answers } => Self {
                says: 8,
                parts: joined(&[*nonce]),
                until_ms: millis(*respond_by),
                which: u32::from(*answers),
                ..plain
            },
            Says::Feedback { .. } | Says::Other => plain,
        }
    }

    /// What was kept, of a message of this kind.
    fn said(&self, kind: v1::Kind) -> Said {
        Said {
            kind,
            marks: self.marks.as_ref().map(MarksRecord::marks).unwrap_or_default(),
            in_reply_to: MessageId::from_bytes(&self.in_reply_to).ok(),
            files: split(&self.files),
            origin: self.origin.as_ref().and_then(OriginRecord::origin),
            says: self.says().unwrap_or_default(),
        }
    }

    /// None of a newer version's.
    fn says(&self) -> Option<Says> {
        let until = (self.until_ms != 0).then(|| Timestamp::from_millis(self.until_ms));
        Some(match self.says {
            Self::ALERT => Says::Alert {
                id: Uuid::from_bytes(&self.id).ok()?,
                revision: self.number,
                indicators: split(&self.parts),
                onward: self.onward,
                asks: self.which == 1,
                respond_by: until,
            },
            Self::CANCEL => Says::Cancel { scope: split(&self.parts), deletes: self.which == 1 },
            3 => Says::Offer {
                conditions: split(&self.parts).into_iter().zip(split(&self.texts)).collect(),
                expires: until?,
            },
            4 => Says::Answer { accepts: self.which == 1, named: Vec::new() },
            5 => Says::Release {
                object: MessageId::from_bytes(&self.id).ok()?,
                wanted: v1::WantedUse::try_from(i32::try_from(self.number).ok()?).ok()?,
                recipients: self.recipients.iter().filter_map(|unit| unit.parse().ok()).collect(),
                granted: (self.which != 0).then_some(self.which == 1),
            },
            6 => Says::Report { object: MessageId::from_bytes(&self.id).ok()? },
            7 => Says::Request { respond_by: until },
            8 => Says::Check {
                nonce: *split(&self.parts).first()?,
                respond_by: until,
                answers: self.which == 1,
            },
            _ => return None,
        })
    }
}

impl MarksRecord {
    fn of(marks: &Marks) -> Self {
        let conditions: Vec<Short> = marks.conditions.iter().copied().collect();
        Self {
            tlp: marks.tlp,
            pap: marks.pap,
            europol: marks.europol,
            classification: marks.classification,
            conditions: joined(&conditions),
            delete_by_ms: millis(marks.delete_by),
        }
    }

    fn marks(&self) -> Marks {
        let until = self.delete_by_ms;
        Marks {
            tlp: self.tlp,
            pap: self.pap,
            europol: self.europol,
            classification: self.classification,
            conditions: split(&self.conditions).into_iter().collect(),
            delete_by: (until != 0).then(|| Timestamp::from_millis(until)),
        }
    }
}

impl OriginRecord {
    fn of(origin: &OriginSaid) -> Self {
        Self {
            unit: origin.unit.to_string(),
            id: Bytes::copy_from_slice(origin.id.as_bytes()),
            digest: Bytes::copy_from_slice(origin.digest.as_bytes()),
            marks: Some(MarksRecord::of(&origin.marks)),
            onward: origin.onward.map_or(0, |onward| if onward { 2 } else { 1 }),
            release: optional_id(origin.release),
        }
    }

    fn origin(&self) -> Option<OriginSaid> {
        Some(OriginSaid {
            unit: self.unit.parse().ok()?,
            id: MessageId::from_bytes(&self.id).ok()?,
            digest: digest_of(&self.digest),
            marks: self.marks.as_ref().map(MarksRecord::marks).unwrap_or_default(),
            onward: (self.onward != 0).then_some(self.onward == 2),
            release: MessageId::from_bytes(&self.release).ok(),
        })
    }
}

impl MessageRecord {
    /// What others are judged by; none of a record that is not sound.
    pub fn known(&self) -> Option<Known> {
        let kind = i32::try_from(self.kind).ok().and_then(|kind| v1::Kind::try_from(kind).ok());
        Some(Known {
            digest: self.digest(),
            id: self.message_id()?,
            from: self.from.parse().ok()?,
            sent_at: Timestamp::from_millis(self.created_at_ms),
            said: self.said.as_ref()?.said(kind?),
        })
    }
}

fn joined(shorts: &[Short]) -> Bytes {
    shorts.iter().flat_map(|short| *short.as_bytes()).collect()
}

fn split(bytes: &[u8]) -> Vec<Short> {
    bytes.chunks_exact(SaidRecord::SHORT_BYTES).filter_map(Short::from_bytes).collect()
}

fn millis(at: Option<Timestamp>) -> u64 {
    at.map_or(0, Timestamp::as_millis)
}

fn optional_id(id: Option<MessageId>) -> Bytes {
    id.map(|id| Bytes::copy_from_slice(id.as_bytes())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use relay_proto::ids::Digest;

    use super::*;

    /// Whatever others are judged by is kept as it was said.
    #[test]
    fn what_is_said_is_kept() {
        let at = Timestamp::from_millis(1_800_000_000_000);
        let [one, two] = ["1", "b"].map(Short::of);
        let id = MessageId::new(at, [7; 10]);
        let unit: UnitId = "xb.ncu".parse().unwrap();
        let marks = Marks {
            tlp: 3,
            pap: 2,
            europol: 5,
            classification: 1,
            conditions: [one].into(),
            delete_by: Some(at),
        };
        let origin = OriginSaid {
            unit: unit.clone(),
            id,
            digest: Digest::of(b"header"),
            marks: marks.clone(),
            onward: Some(false),
            release: Some(id),
        };
        let release = |granted| Says::Release {
            object: id,
            wanted: v1::WantedUse::Dissemination,
            recipients: vec![unit.clone()],
            granted,
        };
        for says in [
            Says::Other,
            Says::Alert {
                id: Uuid::random([3; 16]),
                revision: 4,
                indicators: vec![one, two],
                onward: true,
                asks: true,
                respond_by: Some(at),
            },
            Says::Cancel { scope: vec![two], deletes: true },
            Says::Offer { conditions: vec![(one, two), (two, one)], expires: at },
            Says::Answer { accepts: true, named: vec![] },
            release(None),
            release(Some(true)),
            release(Some(false)),
            Says::Report { object: id },
            Says::Request { respond_by: Some(at) },
            Says::Check { nonce: one, respond_by: None, answers: true },
        ] {
            let said = Said {
                kind: v1::Kind::Alert,
                marks: marks.clone(),
                in_reply_to: Some(id),
                files: vec![one, two],
                origin: Some(origin.clone()),
                says,
            };
            let bytes = SaidRecord::of(&said).encode_to_vec();
            let read = SaidRecord::decode(bytes.as_slice()).unwrap();
            assert_eq!(read.said(v1::Kind::Alert), said);
        }
        let newer = SaidRecord { says: 99, ..SaidRecord::default() };
        assert_eq!(newer.said(v1::Kind::Alert).says, Says::Other);
        assert_eq!(newer.said(v1::Kind::Alert).marks, Marks::default(), "the strictest");
    }
}
