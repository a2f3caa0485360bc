//! What is kept of a message so that others can be judged by it: no name, no text.

use relay_proto::{
    ids::{Digest, MessageId, UnitId, Uuid},
    payload::{Alert, Body, ConditionReply, Name, Payload},
    timestamp::Timestamp,
    v1,
};

use super::marks::{Marks, Short};

/// What a message says, as far as others are judged by it.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Its kind.
    pub kind: v1::Kind,
    /// Its markings.
    pub marks: Marks,
    /// The message that it answers.
    pub in_reply_to: Option<MessageId>,
    /// Its attachments, STIX bundle and playbook.
    pub files: Vec<Short>,
    /// Whose message it passes on.
    pub origin: Option<OriginSaid>,
    /// What it says.
    pub says: Says,
}

/// What a message says of the one that it passes on.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginSaid {
    /// Who sent that.
    pub unit: UnitId,
    /// Its id.
    pub id: MessageId,
    /// Its header digest.
    pub digest: Digest,
    /// Its markings.
    pub marks: Marks,
    /// Whether it lets its recipients pass it on; none: it does not say.
    pub onward: Option<bool>,
    /// The message by which its sender allows it.
    pub release: Option<MessageId>,
}

/// By kind. Ids of indicators and conditions and texts are kept short.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Says {
    /// Nothing that another message is judged by.
    #[default]
    Other,
    /// An alert, or an update of one.
    Alert {
        /// The alert's id.
        id: Uuid,
        /// Its revision.
        revision: u32,
        /// Ids of its indicators.
        indicators: Vec<Short>,
        /// Whether recipients may pass it on.
        onward: bool,
        /// Whether an action is asked for.
        asks: bool,
        /// By when.
        respond_by: Option<Timestamp>,
    },
    /// Takes an alert back, or some of its indicators.
    Cancel {
        /// Those; none: all of it.
        scope: Vec<Short>,
        /// Whether recipients are to delete it and say so.
        deletes: bool,
    },
    /// What a recipient saw or did.
    Feedback {
        /// Of which indicators; none: of all.
        indicators: Vec<Short>,
    },
    /// Information under conditions.
    Offer {
        /// Id and text of each.
        conditions: Vec<(Short, Short)>,
        /// Until when it stands.
        expires: Timestamp,
    },
    /// The answer to an offer.
    Answer {
        /// All conditions are accepted.
        accepts: bool,
        /// All conditions that it names.
        named: Vec<Short>,
    },
    /// Asks for a use that markings forbid, or decides about one.
    Release {
        /// The message that is marked.
        object: MessageId,
        /// The use.
        wanted: v1::WantedUse,
        /// Who would get it.
        recipients: Vec<UnitId>,
        /// Whether it is granted; none: it asks.
        granted: Option<bool>,
    },
    /// What was done with a message.
    Report {
        /// That message.
        object: MessageId,
    },
    /// A request for assistance, or for data in an emergency.
    Request {
        /// By when, if it says so.
        respond_by: Option<Timestamp>,
    },
    /// A drill.
    Check {
        /// Its number.
        nonce: Short,
        /// By when it is to be answered.
        respond_by: Option<Timestamp>,
        /// It answers one.
        answers: bool,
    },
}

impl Said {
    /// What is kept of a payload that was checked.
    pub fn of(payload: &Payload) -> Self {
        let mut files: Vec<Short> =
            payload.attachments.iter().map(|file| Short::of_digest(&file.sha256)).collect();
        if let Body::Alert(alert) | Body::AlertUpdate(alert) = &payload.body {
            let more = [&alert.stix_bundle, &alert.playbook];
            files.extend(more.into_iter().flatten().map(|file| Short::of_digest(&file.sha256)));
        }
        files.sort_unstable();
        files.dedup();
        Self {
            kind: payload.kind(),
            marks: Marks::of(&payload.handling),
            in_reply_to: payload.in_reply_to,
            files,
            origin: payload.origin.as_ref().and_then(|origin| {
                Some(OriginSaid {
                    unit: origin.unit.clone()?,
                    id: origin.message_id?,
                    digest: origin.header_digest,
                    marks: Marks::of(&origin.handling),
                    onward: origin.onward,
                    release: origin.release,
                })
            }),
            says: Says::of(payload),
        }
    }

    /// The alert that it is or changes.
    pub fn alert_id(&self) -> Option<Uuid> {
        match &self.says {
            Says::Alert { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// The message that its markings or its use are about.
    pub fn object(&self) -> Option<MessageId> {
        match &self.says {
            Says::Release { object, .. } | Says::Report { object } => Some(*object),
            _ => None,
        }
    }

    /// Whether recipients may pass it on; none: it does not say.
    pub fn onward(&self) -> Option<bool> {
        match &self.says {
            Says::Alert { onward, .. } => Some(*onward),
            _ => None,
        }
    }
}

impl Says {
    fn of(payload: &Payload) -> Self {
        match &payload.body {
            Body::Alert(alert) | Body::AlertUpdate(alert) => Self::alert(alert),
            Body::AlertCancel(cancel) => {
                Self::Cancel { scope: shorts(&cancel.scope), deletes: cancel.delete_requested }
            }
            Body::AlertFeedback(feedback) => {
                Self::Feedback { indicators: shorts(&feedback.indicators) }
            }
            Body::ConditionalOffer(offer) => Self::Offer {
                conditions: offer
                    .conditions
                    .iter()
                    .map(|one| (Short::of(one.id.as_str()), Short::of(one.text.as_str())))
                    .collect(),
                expires: offer.expires,
            },
            Body::ConditionReply(reply) => Self::answer(reply),
            Body::HandlingRelease(release) => {
                release.object.map_or(Self::Other, |object| Self::Release {
                    object,
                    wanted: release.wanted_use,
                    recipients: release.recipients.clone(),
                    granted: release.decision.map(|made| made == v1::ReleaseDecision::Granted),
                })
            }
            Body::HandlingReport(report) => {
                report.object.map_or(Self::Other, |object| Self::Report { object })
            }
            Body::AssistanceRequest(request) => Self::Request { respond_by: request.respond_by },
            Body::EmergencyRequest(_) => Self::Request { respond_by: None },
            Body::ContactCheck(check) => Self::Check {
                nonce: Short::of(check.nonce.as_str()),
                respond_by: check.respond_by,
                answers: check.answer.is_some(),
            },
            _ => Self::Other,
        }
    }

    fn alert(alert: &Alert) -> Self {
        let ids = alert.indicators.iter().map(|one| Short::of(one.id.as_str()));
        Self::Alert {
            id: alert.alert_id,
            revision: alert.revision,
            indicators: ids.collect(),
            onward: alert.dissemination.onward,
            asks: !alert.action_requested.contains(&v1::ActionRequested::None),
            respond_by: alert.respond_by,
        }
    }

    fn answer(reply: &ConditionReply) -> Self {
        let mut named = shorts(&reply.accepted_conditions);
        named.extend(reply.cannot_comply.iter().map(|one| Short::of(one.id.as_str())));
        Self::Answer { accepts: reply.decision == v1::ConditionAnswer::Accept, named }
    }
}

fn shorts(names: &[Name]) -> Vec<Short> {
    names.iter().map(|name| Short::of(name.as_str())).collect()
}
