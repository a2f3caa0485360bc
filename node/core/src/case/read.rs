//! From a checked payload to what it says in its case.

use std::collections::BTreeSet;

use relay_proto::{
    envelope::Priority,
    payload::{Body, ConfirmedItem, DecidedItem, Name, Payload, PreservationRequest, RiskDecision},
    v1,
};

use super::{
    moves::{Closing, Found, ItemId, Move, MoveKind, Request, RiskAnswer, Verdict},
    refusal::Ground,
};

impl Move {
    /// What a payload says in its case; none of a kind that makes no case go on.
    pub fn of(payload: &Payload, priority: Priority) -> Option<Self> {
        Some(match &payload.body {
            Body::PreservationRequest(request) => Self::Request(revision(request, priority)),
            Body::RequestAck(ack) => Self::Ack { rerouted: ack.rerouted },
            Body::InfoRequired(info) => Self::InfoRequired { due: info.due },
            Body::InfoReply(reply) => Self::InfoReply(match &reply.request {
                Some(request) => revision(request, priority),
                None => Request {
                    revision: reply.revision,
                    priority,
                    items: Vec::new(),
                    articles: Vec::new(),
                },
            }),
            Body::RiskNotice(_) => Self::RiskNotice,
            Body::RiskDecision(decision) => Self::RiskDecision(risk_answer(decision)),
            Body::PreservationDecision(decision) => match decision.carry {
                Some(carry) => Self::Carries {
                    revision: decision.revision,
                    carried: carry == v1::Carry::Carried,
                },
                None => Self::Decision {
                    revision: decision.revision,
                    items: decision.items.iter().map(verdict).collect(),
                    signers: u32::try_from(decision.signers.len()).unwrap_or(u32::MAX),
                },
            },
            Body::PreservationConfirmation(confirmation) => {
                Self::Confirmation(confirmation.items.iter().filter_map(found).collect())
            }
            Body::TrafficDisclosure(_) => Self::TrafficDisclosure,
            Body::DisclosureWithheld(_) => Self::DisclosureWithheld,
            Body::ExtensionRequest(extension) => {
                Self::ExtensionRequest { until: extension.requested_until }
            }
            Body::ExtensionDecision(decision) => Self::ExtensionDecision {
                until: decision.preserved_until,
                items: ids(&decision.items),
            },
            Body::MlaNotice(_) => Self::MlaNotice,
            Body::MlaReceived(received) if received.outcome.is_some() => Self::MlaDecision,
            Body::MlaReceived(_) => Self::MlaReceived,
            Body::Withdrawal(withdrawal) => Self::Withdrawal(ids(&withdrawal.items)),
            Body::ExpiryWarning(warning) => Self::ExpiryWarning { until: warning.preserved_until },
            Body::Closure(closure) => Self::Closure(closing(closure.final_state)?),
            Body::IncidentNotice(_) => Self::Incident,
            _ => return None,
        })
    }
}

impl MoveKind {
    /// The kind of message that makes it.
    pub fn to_wire(self) -> v1::Kind {
        use v1::Kind as K;
        match self {
            Self::Request => K::PreservationRequest,
            Self::Ack => K::RequestAck,
            Self::InfoRequired => K::InfoRequired,
            Self::InfoReply => K::InfoReply,
            Self::RiskNotice => K::RiskNotice,
            Self::RiskDecision => K::RiskDecision,
            Self::Decision => K::PreservationDecision,
            Self::Confirmation => K::PreservationConfirmation,
            Self::TrafficDisclosure => K::TrafficDisclosure,
            Self::DisclosureWithheld => K::DisclosureWithheld,
            Self::ExtensionRequest => K::ExtensionRequest,
            Self::ExtensionDecision => K::ExtensionDecision,
            Self::MlaNotice => K::MlaNotice,
            Self::MlaReceived | Self::MlaDecision => K::MlaReceived,
            Self::Withdrawal => K::Withdrawal,
            Self::ExpiryWarning => K::ExpiryWarning,
            Self::Closure => K::Closure,
            Self::Incident => K::IncidentNotice,
        }
    }
}

fn revision(request: &PreservationRequest, priority: Priority) -> Request {
    let articles: BTreeSet<&str> = request
        .offences
        .iter()
        .flat_map(|offence| offence.convention_articles.iter().map(Name::as_str))
        .collect();
    Request {
        revision: request.revision,
        priority,
        items: request.items.iter().map(|item| item.item_id.to_string()).collect(),
        articles: articles.into_iter().map(str::to_owned).collect(),
    }
}

fn risk_answer(decision: &RiskDecision) -> RiskAnswer {
    match (decision.value, decision.new_revision) {
        (v1::RiskAnswer::Change, Some(revision)) => {
            RiskAnswer::Change { revision, drop: ids(&decision.drop_items) }
        }
        (v1::RiskAnswer::Proceed, _) => RiskAnswer::Proceed,
        _ => RiskAnswer::Abandon,
    }
}

fn verdict(item: &DecidedItem) -> (ItemId, Verdict) {
    use v1::RefusalGround as G;
    let verdict = match item.ground {
        None => Verdict::Accepted,
        Some(G::DualCriminalityReserved) => Verdict::Refused(Ground::DualCriminalityReserved),
        Some(G::PoliticalOffence) => Verdict::Refused(Ground::PoliticalOffence),
        Some(G::EssentialInterests) => Verdict::Refused(Ground::EssentialInterests),
        Some(G::NoTreatyRelation) => Verdict::Refused(Ground::NoTreatyRelation),
        Some(G::DomesticLawLimit | G::Unspecified) => Verdict::Refused(Ground::DomesticLawLimit),
    };
    (item.item_id.to_string(), verdict)
}

fn found(item: &ConfirmedItem) -> Option<(ItemId, Found)> {
    use v1::FoundStatus as S;
    let found = match (item.status, item.preserved) {
        (S::Preserved, Some((from, until))) => Found::Preserved { from, until, whole: true },
        (S::Partial, Some((from, until))) => Found::Preserved { from, until, whole: false },
        (S::NotFound, _) => Found::NotFound,
        (S::NotHeldHere, _) => Found::NotHeldHere,
        (S::Withdrawn, _) => Found::Withdrawn,
        _ => return None,
    };
    Some((item.item_id.to_string(), found))
}

fn closing(state: v1::FinalState) -> Option<Closing> {
    use v1::FinalState as F;
    match state {
        F::Lapsed => Some(Closing::Lapsed),
        F::NotCompetent => Some(Closing::NotCompetent),
        F::Expired => Some(Closing::Expired),
        F::Released => Some(Closing::Released),
        F::Withdrawn => Some(Closing::Withdrawn),
        F::Unspecified => None,
    }
}

fn ids(names: &[Name]) -> Vec<ItemId> {
    names.iter().map(ToString::to_string).collect()
}
