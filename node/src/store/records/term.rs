//! How far the term of something due has run, as it was last told: what was told once is not told
//! again after a restart.

use bytes::Bytes;
use prost::Message;
use relay_core::case::{Duty, Obligation, Rule, Stage};
use relay_proto::timestamp::Timestamp;

/// A term of a case. Key: case || peer || 0 || duty || since || due.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct TermRecord {
    /// The case.
    #[prost(bytes = "bytes", tag = "1")]
    pub case_id: Bytes,
    /// The other unit.
    #[prost(string, tag = "2")]
    pub peer: String,
    /// Place in [`DUTIES`] from 1.
    #[prost(uint32, tag = "3")]
    pub duty: u32,
    /// Since when.
    #[prost(uint64, tag = "4")]
    pub since_ms: u64,
    /// Until when.
    #[prost(uint64, tag = "5")]
    pub due_ms: u64,
    /// Place in [`RULES`] from 1.
    #[prost(uint32, tag = "6")]
    pub rule: u32,
    /// Where that rule is.
    #[prost(string, tag = "7")]
    pub basis: String,
    /// Our unit owes it.
    #[prost(bool, tag = "8")]
    pub ours: bool,
    /// Place in [`STAGES`] from 1.
    #[prost(uint32, tag = "9")]
    pub stage: u32,
    /// It was told up to this instant of its time.
    #[prost(uint64, tag = "10")]
    pub told_ms: u64,
    /// Up to which of these the command was run.
    #[prost(uint64, tag = "12")]
    pub notified_ms: u64,
    /// Header digest of the request.
    #[prost(bytes = "bytes", tag = "11")]
    pub digest: Bytes,
}

impl TermRecord {
    /// Nothing of an obligation was told yet. None: it has no term.
    pub fn of(case_id: &[u8], peer: &str, one: &Obligation, ours: bool) -> Option<Self> {
        Some(Self {
            case_id: Bytes::copy_from_slice(case_id),
            peer: peer.to_owned(),
            duty: number(&DUTIES, one.duty),
            since_ms: one.since.as_millis(),
            due_ms: one.due?.as_millis(),
            rule: number(&RULES, one.rule),
            basis: one.basis.to_owned(),
            ours,
            ..Self::default()
        })
    }

    /// What is due; none where the record is of a newer version.
    pub fn duty(&self) -> Option<Duty> {
        named(&DUTIES, self.duty)
    }

    /// By whose rule.
    pub fn rule(&self) -> Option<Rule> {
        named(&RULES, self.rule)
    }

    /// How far it had run when it was told.
    pub fn stage(&self) -> Option<Stage> {
        named(&STAGES, self.stage)
    }

    /// Up to which instant it was told.
    pub fn told(&self) -> Timestamp {
        Timestamp::from_millis(self.told_ms)
    }

    /// Notes that it was told up to an instant, and how far it had run by then.
    pub fn tell(&mut self, at: Timestamp, stage: Stage) {
        self.told_ms = at.as_millis();
        self.stage = number(&STAGES, stage);
    }

    /// Until when.
    pub fn due(&self) -> Timestamp {
        Timestamp::from_millis(self.due_ms)
    }
}

fn number<T: PartialEq>(of: &[T], one: T) -> u32 {
    let place = of.iter().position(|known| *known == one);
    place.and_then(|place| u32::try_from(place + 1).ok()).unwrap_or_default()
}

fn named<T: Copy>(of: &[T], number: u32) -> Option<T> {
    of.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

/// By their numbers in a record.
const DUTIES: [Duty; 14] = [
    Duty::Acknowledge,
    Duty::Decide,
    Duty::Answer,
    Duty::DecideRisk,
    Duty::Confirm,
    Duty::UseOrLose,
    Duty::DecideExtension,
    Duty::ConfirmMla,
    Duty::Close,
    Duty::Feedback,
    Duty::ReportDeletion,
    Duty::AnswerOffer,
    Duty::DecideRelease,
    Duty::Reply,
];
const RULES: [Rule; 3] = [Rule::Law, Rule::Stated, Rule::House];
const STAGES: [Stage; 4] = [Stage::Running, Stage::Half, Stage::Late, Stage::Overdue];
