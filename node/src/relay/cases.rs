//! Where a message of ours stands in its case, and whether it is legal there.
//!
//! The same question is asked by the node that takes it ([`super::inbound`], through the store); a
//! message that would be refused there is not sent.

use std::fmt;

use relay_core::{
    case::{
        self, Admission, Case, Delivery, Duty, Message, Move, Obligation, Refusal, Rule, Rules,
        Side, Stage, Targets, refusal::Unfounded,
    },
    profile::Profile,
};
use relay_proto::{
    envelope::Priority,
    ids::{CaseId, Digest, UnitId},
    payload::{Fault, Faults, Payload, Place, is_casework, kind_name, kind_of_draft},
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

use super::{Context, Relay, submit::SubmitError};
use crate::store::{
    StoreError,
    records::{
        CaseRow, EntryState,
        case::{etag, messages},
    },
};

/// By which rules a profile's cases are judged.
pub(super) fn rules(profile: &Profile) -> Rules {
    let day = Rules::TREATY.grace;
    Rules {
        least_period: day.saturating_mul(profile.min_preservation_days),
        grounds: profile.refusal_grounds,
        ..Rules::TREATY
    }
}

/// A case as this node holds it.
pub struct Held {
    /// What its messages say, in the order in which they were stored here.
    pub rows: Vec<CaseRow>,
    /// As they tell it; none as long as its request is not here.
    pub case: Option<Case>,
    /// Which side our unit is.
    pub side: Option<Side>,
    /// What is due, the most pressing first.
    pub obligations: Vec<Obligation>,
    /// When whoever owes them is warned.
    pub targets: Targets,
}

impl Relay {
    /// A case with a peer; none: no message of it is here.
    pub fn case(&self, id: &CaseId, peer: &UnitId) -> Result<Option<Held>, StoreError> {
        self.ctx.case(id, peer)
    }
}

impl Context {
    /// See [`Relay::case`].
    pub(super) fn case(&self, id: &CaseId, peer: &UnitId) -> Result<Option<Held>, StoreError> {
        let rows = self.parts.store.case_rows(id, peer)?;
        let Some(first) = rows.iter().find(|row| row.is_first()).or(rows.first()) else {
            return Ok(None);
        };
        let record = self.parts.store.message(&first.digest())?;
        let profile = record.and_then(|record| self.profile(&record.profile).cloned());
        let rules = profile.as_ref().map_or(Rules::TREATY, |profile| rules(profile));
        let delivery = self.delivery(&rows, peer)?;
        let (case, side) = derived(&rows, delivery, &rules);
        let targets = profile.map(|profile| profile.targets.clone()).unwrap_or_default();
        let obligations = case.as_ref().map(|case| case.obligations(&targets)).unwrap_or_default();
        Ok(Some(Held { rows, case, side, obligations, targets }))
    }
}

/// The case that rows make, and which side is ours in it.
fn derived(rows: &[CaseRow], delivery: Delivery, rules: &Rules) -> (Option<Case>, Option<Side>) {
    let held = messages(rows);
    let case = Case::of(held.iter().cloned(), delivery, rules);
    let is_ours =
        |message: &Message| rows.iter().any(|row| row.out && row.digest() == message.digest);
    let side = case.as_ref().and_then(|_| {
        let ours = held.iter().find(|message| is_ours(message)).map(|message| message.from);
        ours.or_else(|| held.first().map(|message| other(message.from)))
    });
    (case, side)
}

/// A case as a message of ours finds it.
pub(super) struct Standing {
    held: Vec<Message>,
    /// Ours; none: there is no case.
    side: Option<Side>,
    peer: UnitId,
    /// What became of its request.
    delivery: Delivery,
    /// What a message of ours is after.
    pub place: Place,
}

/// Why a message of ours may not join its case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLegal {
    /// `ILLEGAL_TRANSITION`, `UNFOUNDED_REFUSAL`, `UNKNOWN_CASE` or `CASE_FULL`.
    pub reason: Reason,
    /// Where the case stands; none: there is no case.
    pub state: Option<&'static str>,
    /// Whose turn it is.
    pub turn: Option<UnitId>,
    /// Kinds that our unit could send now.
    pub legal: Vec<&'static str>,
    /// Why a ground of refusal does not hold.
    pub unfounded: Option<Unfounded>,
    /// What was to be sent.
    kind: &'static str,
}

impl fmt::Display for NotLegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason, self.state) {
            (Reason::IllegalTransition, Some(state)) if self.legal.contains(&self.kind) => {
                // The kind could be said; not this: of another revision or item, or of a time that
                // does not fit.
                let kind = self.kind;
                write!(f, "{kind} does not fit the case as it stands: the case is {state}")?;
                f.write_str(", compare its revision, items and times with `case show`")?;
            }
            (Reason::IllegalTransition, Some(state)) => {
                write!(f, "{} is not possible now: the case is {state}", self.kind)?;
            }
            (Reason::UnfoundedRefusal, _) => {
                let why = self.unfounded.map(|why| why.to_string()).unwrap_or_default();
                return write!(f, "a ground of refusal does not hold: {why}");
            }
            (reason, _) => f.write_str(reason.meaning().trim_end_matches('.'))?,
        }
        if let Some(turn) = &self.turn {
            write!(f, "; it is {turn}'s turn")?;
        }
        match self.legal.as_slice() {
            [] => Ok(()),
            legal => write!(f, "; what you may send now: {}", legal.join(", ")),
        }
    }
}

impl Context {
    /// The case that a draft names; none where its kind belongs to none.
    pub(super) fn standing(
        &self,
        draft: &v1::Draft,
        seen: &str,
        to: &[UnitId],
        rules: &Rules,
    ) -> Result<Option<Standing>, SubmitError> {
        let peer = match to {
            [peer] if is_casework(kind_of_draft(draft)) => peer,
            _ if seen.is_empty() => return Ok(None),
            _ => return Err(SubmitError::Refused(Reason::UnknownCase)),
        };
        let stated = draft.payload.as_ref().map(|payload| CaseId::from_bytes(&payload.case_id));
        let rows = match stated {
            Some(Ok(case_id)) => self.parts.store.case_rows(&case_id, peer)?,
            _ => Vec::new(),
        };
        if !seen.is_empty() && seen != etag(&rows) {
            return Err(SubmitError::Refused(Reason::CaseChanged));
        }
        let first = rows.iter().find(|row| row.is_first());
        let first = first.map(|row| self.parts.store.message(&row.digest())).transpose()?.flatten();
        if let Some(record) = first.filter(|record| record.profile != draft.profile) {
            let text = format!("the case is of {}: state that", record.profile);
            return Err(SubmitError::Content(Faults::one(Fault::new("env.profile", text))));
        }
        let delivery = self.delivery(&rows, peer)?;
        Ok(Some(Standing::of(&rows, peer, delivery, rules)))
    }

    /// What became of a case's request: of one that came, it is here.
    fn delivery(&self, rows: &[CaseRow], peer: &UnitId) -> Result<Delivery, StoreError> {
        let first = rows.iter().find(|row| row.is_first() && row.out);
        let entries = match first {
            Some(row) => self.parts.store.entries(&row.digest())?,
            None => Vec::new(),
        };
        let entry = entries.iter().find(|entry| entry.recipient == peer.as_str());
        Ok(match entry.map(|entry| EntryState::try_from(entry.state)) {
            None | Some(Ok(EntryState::Delivered)) => Delivery::Delivered,
            Some(Ok(EntryState::Refused)) => Delivery::Rejected,
            Some(Ok(EntryState::Expired)) => Delivery::Expired,
            Some(_) => Delivery::Waiting,
        })
    }
}

impl Standing {
    fn of(rows: &[CaseRow], peer: &UnitId, delivery: Delivery, rules: &Rules) -> Self {
        let held = messages(rows);
        let is_ours = |digest: &Digest| rows.iter().any(|row| row.out && row.digest() == *digest);
        let (case, side) = derived(rows, delivery, rules);
        let steps = case.iter().flat_map(|case| case.steps.iter().rev());
        let place = Place {
            follows: steps.clone().map(|step| step.digest).find(is_ours),
            based_on: steps.map(|step| step.digest).find(|digest| !is_ours(digest)),
        };
        Self { held, side, peer: peer.clone(), delivery, place }
    }

    /// Whether a completed message may join it.
    pub(super) fn admits(
        self,
        (payload, priority): (&Payload, Priority),
        rules: &Rules,
        now: Timestamp,
        own: &UnitId,
    ) -> Result<(), SubmitError> {
        let Some(says) = Move::of(payload, priority) else { return Ok(()) };
        let (kind, side) = (kind_name(payload.kind()), self.side.unwrap_or(says.kind().by()));
        let Place { follows, based_on } = self.place;
        let digest = Digest::from_array([0; 32]);
        let new = Message { digest, from: side, sent_at: now, follows, based_on, says };
        let Admission::Refused(refusal) = case::admit(self.held, &new, self.delivery, rules) else {
            return Ok(());
        };
        let Refusal { reason, state, turn, legal, unfounded } = *refusal;
        let mut kinds: Vec<&str> = legal.iter().map(|of| kind_name(of.to_wire())).collect();
        kinds.retain(|kind| *kind != kind_name(v1::Kind::ExpiryWarning));
        kinds.dedup();
        Err(SubmitError::Case(Box::new(NotLegal {
            reason,
            state: state.map(case::State::name),
            turn: turn.map(|turn| if turn == side { own.clone() } else { self.peer }),
            legal: kinds,
            unfounded,
            kind,
        })))
    }
}

/// Whose rule it is, as the API says it.
pub fn rule(rule: Rule) -> v1::TermRule {
    match rule {
        Rule::Law => v1::TermRule::Law,
        Rule::Stated => v1::TermRule::Stated,
        Rule::House => v1::TermRule::House,
    }
}

/// How far it has run, as the API says it.
pub fn stage(stage: Stage) -> v1::TermStage {
    match stage {
        Stage::Running => v1::TermStage::Running,
        Stage::Half => v1::TermStage::Half,
        Stage::Late => v1::TermStage::Late,
        Stage::Overdue => v1::TermStage::Overdue,
    }
}

/// What is due, as the API says it.
pub fn duty(duty: Duty) -> v1::Duty {
    use v1::Duty as D;
    match duty {
        Duty::Acknowledge => D::Acknowledge,
        Duty::Decide => D::Decide,
        Duty::Answer => D::Answer,
        Duty::DecideRisk => D::DecideRisk,
        Duty::Confirm => D::Confirm,
        Duty::UseOrLose => D::UseOrLose,
        Duty::DecideExtension => D::DecideExtension,
        Duty::ConfirmMla => D::ConfirmMla,
        Duty::Close => D::Close,
        Duty::Feedback => D::Feedback,
        Duty::ReportDeletion => D::ReportDeletion,
        Duty::AnswerOffer => D::AnswerOffer,
        Duty::DecideRelease => D::DecideRelease,
        Duty::Reply => D::Reply,
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Requesting => Side::Requested,
        Side::Requested => Side::Requesting,
    }
}
