//! A case: where it stands, item by item and message by message.

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;

use super::{instant, stated, verbs, words};

/// A case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseView {
    /// By which people name it: the request's.
    pub short_id: String,
    pub case_id: String,
    pub peer: String,
    pub requesting_unit: Option<String>,
    pub requested_unit: Option<String>,
    pub state: String,
    pub revision: u32,
    pub priority: String,
    /// Whose turn it is.
    pub turn: Option<String>,
    /// What our unit may send now.
    pub legal: Vec<String>,
    /// What may be typed for them.
    #[serde(skip)]
    pub legal_verbs: Vec<String>,
    pub preserved_until: Option<Timestamp>,
    pub answers_due: Option<Timestamp>,
    pub extension_pending: bool,
    pub mla_announced: bool,
    pub sync_conflict: bool,
    pub items: Vec<ItemView>,
    /// Empty in lists.
    pub steps: Vec<StepView>,
    /// Messages that wait for one before them.
    pub waiting: u32,
    pub etag: String,
    /// The most pressing first.
    pub obligations: Vec<ObligationView>,
}

/// Something that is due.
#[derive(Debug, Clone, Serialize)]
pub struct ObligationView {
    /// The case's; outside of cases the message's.
    pub short_id: String,
    /// Empty outside of cases.
    pub case: String,
    /// Empty in a case.
    pub message: String,
    /// `acknowledge`, `use or lose`.
    pub duty: String,
    /// Who owes it.
    pub unit: String,
    pub since: Option<Timestamp>,
    /// Null: "expeditiously", without a number.
    pub due: Option<Timestamp>,
    /// `LAW`, `STATED`, `HOUSE`.
    pub rule: String,
    pub basis: String,
    /// `RUNNING`, `HALF`, `LATE`, `OVERDUE`.
    pub stage: String,
}

impl ObligationView {
    /// Its time is over.
    pub fn is_overdue(&self) -> bool {
        self.stage == "OVERDUE"
    }
}

impl From<&v1::Obligation> for ObligationView {
    fn from(one: &v1::Obligation) -> Self {
        Self {
            short_id: one.short_id.clone(),
            case: one.case.clone(),
            message: one.message.clone(),
            duty: words::duty(one.duty),
            unit: one.unit.clone(),
            since: instant(one.begin_time.as_ref()),
            due: instant(one.due_time.as_ref()),
            rule: words::term_rule(one.rule),
            basis: one.basis.clone(),
            stage: words::term_stage(one.stage),
        }
    }
}

/// An item of its request.
#[derive(Debug, Clone, Serialize)]
pub struct ItemView {
    pub item_id: String,
    pub state: String,
    pub preserved_from: Option<Timestamp>,
    pub preserved_until: Option<Timestamp>,
}

/// A message of it, and what it did.
#[derive(Debug, Clone, Serialize)]
pub struct StepView {
    pub message_id: String,
    pub short_id: String,
    pub kind: String,
    pub from: String,
    pub created: Option<Timestamp>,
    /// `made`, `overtaken`, `not legal`.
    pub outcome: String,
    /// After it.
    pub state: String,
}

impl From<&v1::Case> for CaseView {
    fn from(case: &v1::Case) -> Self {
        Self {
            short_id: case.short_id.clone(),
            case_id: case.case_id.clone(),
            peer: case.peer.clone(),
            requesting_unit: stated(&case.requesting_unit),
            requested_unit: stated(&case.requested_unit),
            state: words::case_state(case.state),
            revision: case.revision,
            priority: words::priority(case.priority),
            turn: stated(&case.turn),
            legal: case.legal.iter().map(|kind| words::kind(*kind)).collect(),
            legal_verbs: verbs::legal(&case.legal, &case.short_id),
            preserved_until: instant(case.preserved_until.as_ref()),
            answers_due: instant(case.answers_due.as_ref()),
            extension_pending: case.extension_pending,
            mla_announced: case.mla_announced,
            sync_conflict: case.sync_conflict,
            items: case.items.iter().map(ItemView::from).collect(),
            steps: case.steps.iter().map(StepView::from).collect(),
            waiting: case.waiting,
            etag: case.etag.clone(),
            obligations: case.obligations.iter().map(ObligationView::from).collect(),
        }
    }
}

impl From<&v1::CaseItem> for ItemView {
    fn from(item: &v1::CaseItem) -> Self {
        Self {
            item_id: item.item_id.clone(),
            state: words::item_state(item.state),
            preserved_from: instant(item.preserved_from.as_ref()),
            preserved_until: instant(item.preserved_until.as_ref()),
        }
    }
}

impl From<&v1::CaseStep> for StepView {
    fn from(step: &v1::CaseStep) -> Self {
        Self {
            message_id: step.message_id.clone(),
            short_id: step.short_id.clone(),
            kind: words::kind(step.kind),
            from: step.from.clone(),
            created: instant(step.create_time.as_ref()),
            outcome: words::step_outcome(step.outcome),
            state: words::case_state(step.state),
        }
    }
}
