//! What is kept of a message in its case: enough to derive the case again, without a name or a
//! text.

use bytes::Bytes;
use prost::Message;
use relay_core::case::{
    self, Closing, Found, ItemId, Move, MoveKind, Request, RiskAnswer, Side, Verdict,
    refusal::Ground,
};
use relay_proto::{ids::Digest, timestamp::Timestamp};

use super::{digest_of, priority_number, priority_of};

/// A message of a case. Key: case || peer || 0 || sequence of the event that stored it.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct CaseRow {
    /// The message's header digest.
    #[prost(bytes = "bytes", tag = "1")]
    pub digest: Bytes,
    /// Our unit sent it.
    #[prost(bool, tag = "2")]
    pub out: bool,
    /// When it was signed.
    #[prost(uint64, tag = "3")]
    pub sent_at_ms: u64,
    /// Its sender's message before it; empty: the first.
    #[prost(bytes = "bytes", tag = "4")]
    pub follows: Bytes,
    /// The last message of the other side that its sender had seen.
    #[prost(bytes = "bytes", tag = "5")]
    pub based_on: Bytes,
    /// What it says.
    #[prost(message, optional, tag = "6")]
    pub says: Option<MoveRecord>,
}

/// What a message says in its case.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct MoveRecord {
    /// Place in [`MoveKind::ALL`] from 1; 20: a decision that carries over.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// Of the request.
    #[prost(uint32, tag = "2")]
    pub revision: u32,
    /// As on the wire.
    #[prost(uint32, tag = "3")]
    pub priority: u32,
    /// Items, with what is said of each.
    #[prost(message, repeated, tag = "4")]
    pub items: Vec<ItemRecord>,
    /// Of the offences.
    #[prost(string, repeated, tag = "5")]
    pub articles: Vec<String>,
    /// When it is due, or until when.
    #[prost(uint64, tag = "6")]
    pub until_ms: u64,
    /// A yes, or which of several.
    #[prost(uint32, tag = "7")]
    pub which: u32,
}

/// What is said of an item.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ItemRecord {
    /// Its id in the request.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Which verdict, or what was found.
    #[prost(uint32, tag = "2")]
    pub which: u32,
    /// Preserved since.
    #[prost(uint64, tag = "3")]
    pub from_ms: u64,
    /// Preserved until.
    #[prost(uint64, tag = "4")]
    pub until_ms: u64,
}

impl CaseRow {
    /// The header digest.
    pub fn digest(&self) -> Digest {
        digest_of(&self.digest)
    }

    /// Whether it is the request that a case begins with.
    pub fn is_first(&self) -> bool {
        let first = self.says.as_ref().is_some_and(|says| says.kind == 1 && says.revision == 1);
        first && self.follows.is_empty() && self.based_on.is_empty()
    }

    /// The message, sent by this side; none where the record is of a newer version.
    pub fn message(&self, from: Side) -> Option<case::Message> {
        let named = |bytes: &Bytes| (!bytes.is_empty()).then(|| digest_of(bytes));
        Some(case::Message {
            digest: self.digest(),
            from,
            sent_at: Timestamp::from_millis(self.sent_at_ms),
            follows: named(&self.follows),
            based_on: named(&self.based_on),
            says: self.says.as_ref()?.to_move()?,
        })
    }
}

/// What a case is made of, whatever the order in which it came.
pub fn etag(rows: &[CaseRow]) -> String {
    let mut digests: Vec<Digest> = rows.iter().map(CaseRow::digest).collect();
    digests.sort_unstable();
    let parts: Vec<&[u8]> = digests.iter().map(|digest| digest.as_bytes().as_slice()).collect();
    Digest::of_parts(&parts).to_string().chars().take(ETAG_CHARS).collect()
}

/// The messages of a case. Who sent the request is the requesting side; where it is not here, what
/// a message says tells whose it is.
pub fn messages(rows: &[CaseRow]) -> Vec<case::Message> {
    let first = rows.iter().filter(|row| row.is_first());
    let request = first.min_by_key(|row| (row.sent_at_ms, row.digest.clone())).map(|row| row.out);
    let each = rows.iter().filter_map(|row| {
        let from = match request {
            Some(out) if out == row.out => Side::Requesting,
            Some(_) => Side::Requested,
            None => row.message(Side::Requesting)?.says.kind().by(),
        };
        row.message(from)
    });
    each.collect()
}

impl MoveRecord {
    fn plain(kind: MoveKind) -> Self {
        let place = MoveKind::ALL.iter().position(|of| *of == kind).unwrap_or_default();
        let kind = u32::try_from(place + 1).unwrap_or_default();
        Self { kind, ..Self::default() }
    }

    fn with_ids(self, ids: &[ItemId]) -> Self {
        let item = |id: &ItemId| ItemRecord { id: id.clone(), ..ItemRecord::default() };
        Self { items: ids.iter().map(item).collect(), ..self }
    }

    fn ids(&self) -> Vec<ItemId> {
        self.items.iter().map(|item| item.id.clone()).collect()
    }

    fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.until_ms)
    }

    /// What is kept of a move.
    pub fn of(says: &Move) -> Self {
        let plain = Self::plain(says.kind());
        match says {
            Move::Request(request) | Move::InfoReply(request) => Self {
                revision: request.revision,
                priority: priority_number(request.priority),
                articles: request.articles.clone(),
                ..plain.with_ids(&request.items)
            },
            Move::Ack { rerouted } => Self { which: u32::from(*rerouted), ..plain },
            Move::InfoRequired { due: until }
            | Move::ExtensionRequest { until }
            | Move::ExpiryWarning { until } => Self { until_ms: until.as_millis(), ..plain },
            Move::RiskDecision(RiskAnswer::Proceed) => Self { which: 1, ..plain },
            Move::RiskDecision(RiskAnswer::Change { revision, drop }) => {
                Self { which: 2, revision: *revision, ..plain.with_ids(drop) }
            }
            Move::RiskDecision(RiskAnswer::Abandon) => Self { which: 3, ..plain },
            Move::Decision { revision, items, signers } => {
                let items = items.iter().map(ItemRecord::decided).collect();
                Self { revision: *revision, items, which: *signers, ..plain }
            }
            Move::Carries { revision, carried } => {
                let which = u32::from(*carried);
                Self { kind: CARRIES, revision: *revision, which, ..plain }
            }
            Move::Confirmation(items) => {
                Self { items: items.iter().map(ItemRecord::found).collect(), ..plain }
            }
            Move::ExtensionDecision { until, items } => {
                let until_ms = until.map_or(0, Timestamp::as_millis);
                Self { until_ms, ..plain.with_ids(items) }
            }
            Move::Withdrawal(items) => plain.with_ids(items),
            Move::Closure(closing) => {
                let place = CLOSINGS.iter().position(|of| of == closing).unwrap_or_default();
                Self { which: u32::try_from(place).unwrap_or_default(), ..plain }
            }
            Move::RiskNotice
            | Move::TrafficDisclosure
            | Move::DisclosureWithheld
            | Move::MlaNotice
            | Move::MlaReceived
            | Move::MlaDecision
            | Move::Incident => plain,
        }
    }

    /// The move; none of a newer version's.
    fn to_move(&self) -> Option<Move> {
        if self.kind == CARRIES {
            return Some(Move::Carries { revision: self.revision, carried: self.which == 1 });
        }
        let place = usize::try_from(self.kind).ok()?.checked_sub(1)?;
        let request = || Request {
            revision: self.revision,
            priority: priority_of(self.priority),
            items: self.ids(),
            articles: self.articles.clone(),
        };
        Some(match MoveKind::ALL.get(place)? {
            MoveKind::Request => Move::Request(request()),
            MoveKind::InfoReply => Move::InfoReply(request()),
            MoveKind::Ack => Move::Ack { rerouted: self.which == 1 },
            MoveKind::InfoRequired => Move::InfoRequired { due: self.until() },
            MoveKind::RiskNotice => Move::RiskNotice,
            MoveKind::RiskDecision => Move::RiskDecision(match self.which {
                1 => RiskAnswer::Proceed,
                2 => RiskAnswer::Change { revision: self.revision, drop: self.ids() },
                3 => RiskAnswer::Abandon,
                _ => return None,
            }),
            MoveKind::Decision => {
                let each = self.items.iter();
                let items = each.map(|item| Some((item.id.clone(), item.to_verdict()?)));
                let items = items.collect::<Option<_>>()?;
                Move::Decision { revision: self.revision, items, signers: self.which }
            }
            MoveKind::Confirmation => {
                let items = self.items.iter().map(|item| Some((item.id.clone(), item.to_found()?)));
                Move::Confirmation(items.collect::<Option<_>>()?)
            }
            MoveKind::TrafficDisclosure => Move::TrafficDisclosure,
            MoveKind::DisclosureWithheld => Move::DisclosureWithheld,
            MoveKind::ExtensionRequest => Move::ExtensionRequest { until: self.until() },
            MoveKind::ExtensionDecision => Move::ExtensionDecision {
                until: (self.until_ms != 0).then(|| self.until()),
                items: self.ids(),
            },
            MoveKind::MlaNotice => Move::MlaNotice,
            MoveKind::MlaReceived => Move::MlaReceived,
            MoveKind::MlaDecision => Move::MlaDecision,
            MoveKind::Withdrawal => Move::Withdrawal(self.ids()),
            MoveKind::ExpiryWarning => Move::ExpiryWarning { until: self.until() },
            MoveKind::Closure => Move::Closure(*CLOSINGS.get(usize::try_from(self.which).ok()?)?),
            MoveKind::Incident => Move::Incident,
        })
    }
}

impl ItemRecord {
    /// 1: accepted; from 2: refused, by the place of its ground.
    fn decided((id, verdict): &(ItemId, Verdict)) -> Self {
        let place = match verdict {
            Verdict::Accepted => None,
            Verdict::Refused(ground) => Ground::ALL.iter().position(|of| of == ground),
        };
        let which = place.map_or(1, |place| u32::try_from(place).unwrap_or_default() + 2);
        Self { id: id.clone(), which, ..Self::default() }
    }

    fn to_verdict(&self) -> Option<Verdict> {
        if self.which == 1 {
            return Some(Verdict::Accepted);
        }
        let place = usize::try_from(self.which.checked_sub(2)?).ok()?;
        Ground::ALL.get(place).map(|ground| Verdict::Refused(*ground))
    }

    fn found((id, found): &(ItemId, Found)) -> Self {
        let plain = |which| Self { id: id.clone(), which, ..Self::default() };
        match found {
            Found::Preserved { from, until, whole } => Self {
                from_ms: from.as_millis(),
                until_ms: until.as_millis(),
                ..plain(if *whole { 1 } else { 2 })
            },
            Found::NotFound => plain(3),
            Found::NotHeldHere => plain(4),
            Found::Withdrawn => plain(5),
        }
    }

    fn to_found(&self) -> Option<Found> {
        let preserved = |whole| Found::Preserved {
            from: Timestamp::from_millis(self.from_ms),
            until: Timestamp::from_millis(self.until_ms),
            whole,
        };
        match self.which {
            1 => Some(preserved(true)),
            2 => Some(preserved(false)),
            3 => Some(Found::NotFound),
            4 => Some(Found::NotHeldHere),
            5 => Some(Found::Withdrawn),
            _ => None,
        }
    }
}

/// The kind of a decision that carries over; it shares its message with the decision itself.
const CARRIES: u32 = 20;

/// 128 bits.
const ETAG_CHARS: usize = 32;

/// By their numbers in a record.
const CLOSINGS: [Closing; 5] = [
    Closing::Lapsed,
    Closing::NotCompetent,
    Closing::Expired,
    Closing::Released,
    Closing::Withdrawn,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use relay_proto::envelope::Priority;

    use super::*;

    /// Every move is kept as it was said.
    #[test]
    fn moves_are_kept() {
        let at = Timestamp::from_millis;
        let ids = vec!["1".to_owned(), "b".to_owned()];
        let request = Request {
            revision: 2,
            priority: Priority::Urgent,
            items: ids.clone(),
            articles: vec!["8".to_owned(), "other".to_owned()],
        };
        let refused = Ground::ALL.map(Verdict::Refused);
        let verdicts = [Verdict::Accepted].into_iter().chain(refused);
        let verdicts = verdicts.map(|verdict| ("1".to_owned(), verdict)).collect();
        let preserved = |whole| Found::Preserved { from: at(5), until: at(9), whole };
        let found = [
            preserved(true),
            preserved(false),
            Found::NotFound,
            Found::NotHeldHere,
            Found::Withdrawn,
        ];
        let found = found.map(|found| ("1".to_owned(), found)).to_vec();
        let mut all = vec![
            Move::Request(request.clone()),
            Move::InfoReply(request),
            Move::Ack { rerouted: false },
            Move::Ack { rerouted: true },
            Move::InfoRequired { due: at(7) },
            Move::RiskNotice,
            Move::RiskDecision(RiskAnswer::Proceed),
            Move::RiskDecision(RiskAnswer::Change { revision: 3, drop: ids.clone() }),
            Move::RiskDecision(RiskAnswer::Abandon),
            Move::Decision { revision: 1, items: verdicts, signers: 2 },
            Move::Carries { revision: 2, carried: true },
            Move::Carries { revision: 2, carried: false },
            Move::Confirmation(found),
            Move::TrafficDisclosure,
            Move::DisclosureWithheld,
            Move::ExtensionRequest { until: at(8) },
            Move::ExtensionDecision { until: Some(at(8)), items: ids.clone() },
            Move::ExtensionDecision { until: None, items: vec![] },
            Move::MlaNotice,
            Move::MlaReceived,
            Move::MlaDecision,
            Move::Withdrawal(ids),
            Move::ExpiryWarning { until: at(3) },
            Move::Incident,
        ];
        all.extend(CLOSINGS.map(Move::Closure));
        for says in all {
            let record = MoveRecord::of(&says);
            let read = MoveRecord::decode(record.encode_to_vec().as_slice()).unwrap();
            assert_eq!(read.to_move(), Some(says));
        }
        let newer = MoveRecord { kind: 99, ..MoveRecord::default() };
        assert_eq!(newer.to_move(), None);
    }
}
