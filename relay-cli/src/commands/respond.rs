//! `respond`: an answer in a case, of the requested side or of the requesting one, as one message
//! of the right kind.
//!
//! [`saying`] is pure: what was typed and the case as it stands become the message. Nothing here
//! judges whether it is legal.

use relay_proto::{
    timestamp::Timestamp,
    v1::{self, payload::Body},
};

use super::casework::{Saying, Standing, dated, no_number, today};
use crate::{
    args::{DecisionWord, EndingWord, ExtensionWord, RespondArgs, RiskWord, Says, When, With},
    client::Node,
    context::Context,
    exit::Exit,
    failure::Failure,
};

/// Reads the case, makes the answer, sends it.
pub async fn run(context: &Context, args: RespondArgs) -> Result<Exit, Failure> {
    let (id, now) = dated(context, &args.post)?;
    let node = context.node().await?;
    let standing = Standing::of(&node, &args.case).await?;
    let desk = match (args.says.taken, &args.with.desk) {
        (true, None) => Some(our_name(&node).await?),
        (_, desk) => desk.clone(),
    };
    let saying = saying(&args.says, &args.with, desk, &standing, now)?;
    standing.send(context, &node, (id, &args.post), saying).await
}

/// Our unit's name, for a desk that nobody named.
async fn our_name(node: &Node) -> Result<String, Failure> {
    let answer = node.node().get_status(node.request(v1::GetStatusRequest {})).await;
    let status = answer.map_err(|status| node.failure(&status))?.into_inner();
    let name = if status.display_name.is_empty() { status.unit } else { status.display_name };
    Ok(name)
}

/// An answer that is being made.
struct Making<'a> {
    with: &'a With,
    standing: &'a Standing,
    now: Timestamp,
    taken: Vec<(&'static str, String)>,
}

/// The message that was typed.
fn saying(
    says: &Says,
    with: &With,
    desk: Option<String>,
    standing: &Standing,
    now: Timestamp,
) -> Result<Saying, Failure> {
    let mut making = Making { with, standing, now, taken: Vec::new() };
    let body = making.body(says, desk)?;
    let in_reply_to = match &body {
        Body::InfoReply(_) => Some(v1::Kind::InfoRequired),
        Body::RiskDecision(_) => Some(v1::Kind::RiskNotice),
        Body::ExtensionDecision(_) => Some(v1::Kind::ExtensionRequest),
        _ => None,
    };
    let own = with.reference.clone().or_else(|| standing.sender_ref());
    let sender_ref = own.ok_or_else(|| no_number(standing))?;
    Ok(Saying { body, sender_ref, in_reply_to, taken: making.taken })
}

impl Making<'_> {
    fn body(&mut self, says: &Says, desk: Option<String>) -> Result<Body, Failure> {
        let with = self.with;
        if says.taken {
            let next_update_by_ms = self.until(with.next_update.as_ref());
            return Ok(Body::RequestAck(v1::RequestAck {
                q_reference: self.reference()?,
                desk: desk.unwrap_or_default(),
                next_update_by_ms,
                rerouted: with.rerouted,
            }));
        }
        if let Some(decision) = says.decision {
            return Ok(self.decision(decision));
        }
        if !says.ask.is_empty() {
            let due_ms = with.due.until(self.now).as_millis();
            return Ok(Body::InfoRequired(v1::InfoRequired {
                questions: pairs(&says.ask),
                due_ms,
            }));
        }
        if let Some(risk) = says.risk {
            return Ok(self.risk(risk));
        }
        if says.confirm || says.not_found || says.not_held {
            return self.confirmation(says);
        }
        if let Some(word) = says.extension {
            return Ok(self.extension(word));
        }
        if says.mla_received.is_some() || says.mla_decided.is_some() {
            return self.mla(says);
        }
        if let Some(note) = &says.close {
            return self.closure(note);
        }
        if !says.answer.is_empty() {
            let (revision, answers) = (self.next_revision(), pairs(&says.answer));
            return Ok(Body::InfoReply(v1::InfoReply { revision, answers, request: None }));
        }
        Ok(self.risk_decision(says))
    }

    fn decision(&mut self, word: DecisionWord) -> Body {
        let with = self.with;
        let refuses = word == DecisionWord::Refuse;
        let (decision, ground) = match refuses {
            true => (v1::ItemDecision::Refused, with.ground.map(v1::RefusalGround::from)),
            false => (v1::ItemDecision::Accepted, None),
        };
        let article = match ground {
            Some(v1::RefusalGround::DualCriminalityReserved) => "29(4)",
            Some(v1::RefusalGround::PoliticalOffence) => "29(5)(a)",
            Some(v1::RefusalGround::EssentialInterests) => "29(5)(b)",
            _ => "",
        };
        let decided = |item_id| v1::DecidedItem {
            item_id,
            decision: decision.into(),
            ground: ground.unwrap_or_default().into(),
            article: article.to_owned(),
        };
        Body::PreservationDecision(v1::PreservationDecision {
            q_reference: self.optional_reference(),
            revision: self.revision(),
            items: self.pending().into_iter().map(decided).collect(),
            reasons: with.reasons.clone().unwrap_or_default(),
            alternatives: with.alternatives.clone().unwrap_or_default(),
            carry: 0,
            signers: with.signer.clone(),
        })
    }

    fn risk(&mut self, word: RiskWord) -> Body {
        let risk = match word {
            RiskWord::Availability => v1::RiskType::Availability,
            RiskWord::Confidentiality => v1::RiskType::Confidentiality,
            RiskWord::Other => v1::RiskType::OtherPrejudice,
        };
        Body::RiskNotice(v1::RiskNotice {
            r#type: risk.into(),
            affected_items: self.with.item.clone(),
            explanation: self.with.explanation.clone().unwrap_or_default(),
        })
    }

    fn confirmation(&mut self, says: &Says) -> Result<Body, Failure> {
        use v1::FoundStatus as S;
        let with = self.with;
        let status = match (says.confirm, says.not_held) {
            (true, _) if with.partial.is_some() => S::Partial,
            (true, _) => S::Preserved,
            (false, true) => S::NotHeldHere,
            (false, false) => S::NotFound,
        };
        let (from, until) = match says.confirm {
            true => {
                let from = with.preserved_from.since(self.now).as_millis();
                (from, self.until(with.preserved_until.as_ref()))
            }
            false => (0, 0),
        };
        let custodian = with.custodian.clone().unwrap_or_default();
        let found = |item_id| v1::ConfirmedItem {
            item_id,
            status: status.into(),
            preserved_from_ms: from,
            preserved_until_ms: until,
            custodian: custodian.clone(),
            scope_note: with.partial.clone().unwrap_or_default(),
            note: String::new(),
        };
        Ok(Body::PreservationConfirmation(v1::PreservationConfirmation {
            q_reference: self.reference()?,
            items: self.pending().into_iter().map(found).collect(),
        }))
    }

    fn extension(&mut self, word: ExtensionWord) -> Body {
        let grants = word == ExtensionWord::Grant;
        let until = if grants { self.until(self.with.preserved_until.as_ref()) } else { 0 };
        let granted = if grants { v1::Answer::Yes } else { v1::Answer::No };
        Body::ExtensionDecision(v1::ExtensionDecision {
            granted: granted.into(),
            items: self.with.item.clone(),
            preserved_until_ms: until,
            remark: self.with.reasons.clone().unwrap_or_default(),
        })
    }

    /// Its decision names the number and day that its arrival was confirmed with.
    fn mla(&mut self, says: &Says) -> Result<Body, Failure> {
        let with = self.with;
        let before = self.standing.mla().cloned().unwrap_or_default();
        let outcome = says.mla_decided.map(v1::MlaOutcome::from);
        let number = says.mla_received.clone().unwrap_or(before.q_mla_reference);
        if number.is_empty() {
            let what =
                "Our unit did not say in this case that a request for mutual assistance came.";
            let name = self.standing.short();
            return Err(Failure::new(Exit::Usage, what)
                .safe("nothing was sent")
                .with_remedy(format!("first: relay-cli respond {name} --mla-received NUMBER")));
        }
        let day = match before.received_on.is_empty() {
            true => today(self.now),
            false => before.received_on,
        };
        let effect = match outcome {
            None => v1::MlaEffect::PreservedPendingDecision,
            Some(_) => v1::MlaEffect::Unspecified,
        };
        Ok(Body::MlaReceived(v1::MlaReceived {
            q_mla_reference: number,
            received_on: with.received_on.clone().unwrap_or(day),
            items: with.item.clone(),
            effect: effect.into(),
            central_authority: with.authority.clone().unwrap_or(before.central_authority),
            outcome: outcome.unwrap_or_default().into(),
        }))
    }

    /// How a case ends follows from where it stands, but for one: that somebody else is competent
    /// is said, never guessed.
    fn closure(&mut self, note: &str) -> Result<Body, Failure> {
        use v1::CaseState as S;
        let word = match (self.with.ending, self.standing.case.state()) {
            (Some(word), _) => word,
            (None, S::InfoRequired) => self.end("lapsed", EndingWord::Lapsed),
            (None, S::MlaPending) => self.end("released", EndingWord::Released),
            (None, S::Preserved) => self.end("expired", EndingWord::Expired),
            (None, S::Withdrawn) => self.end("withdrawn", EndingWord::Withdrawn),
            (None, _) => {
                let what = "A case that is neither asked about, preserved nor withdrawn ends with \
                            --close only where this unit is not competent.";
                let again = "--as not-competent --hint UNIT";
                return Err(Failure::new(Exit::Usage, what)
                    .safe("nothing was sent")
                    .with_remedy(format!("if so, with {again}; refusing is --decision refuse")));
            }
        };
        let hint = self.with.hint.as_ref().map(ToString::to_string);
        Ok(Body::Closure(v1::Closure {
            final_state: v1::FinalState::from(word).into(),
            at_ms: self.now.as_millis(),
            hint: hint.unwrap_or_default(),
            note: note.to_owned(),
        }))
    }

    fn end(&mut self, typed: &str, word: EndingWord) -> EndingWord {
        self.taken.push(("--as", typed.to_owned()));
        word
    }

    fn risk_decision(&mut self, says: &Says) -> Body {
        let with = self.with;
        let value = match (says.proceed, says.change) {
            (true, _) => v1::RiskAnswer::Proceed,
            (false, true) => v1::RiskAnswer::Change,
            (false, false) => v1::RiskAnswer::Abandon,
        };
        let new_revision = if says.change { self.next_revision() } else { 0 };
        Body::RiskDecision(v1::RiskDecision {
            value: value.into(),
            new_revision,
            drop_items: with.drop.clone(),
            proceed_items: with.item.clone(),
            signer: with.signer.first().cloned().unwrap_or_default(),
        })
    }

    /// The items that were named, else those that wait.
    fn pending(&mut self) -> Vec<String> {
        if !self.with.item.is_empty() {
            return self.with.item.clone();
        }
        let items = self.standing.items(&[v1::ItemState::Pending]);
        // An id with a comma cannot be typed; a repetition is then told as a conflict.
        if !items.iter().any(|id| id.contains(',')) {
            self.taken.push(("--item", items.join(",")));
        }
        items
    }

    fn revision(&mut self) -> u32 {
        let newest = self.standing.case.revision;
        self.stated_revision(newest)
    }

    fn next_revision(&mut self) -> u32 {
        let next = self.standing.case.revision.saturating_add(1);
        self.stated_revision(next)
    }

    fn stated_revision(&mut self, revision: u32) -> u32 {
        self.with.revision.unwrap_or_else(|| {
            self.taken.push(("--revision", revision.to_string()));
            revision
        })
    }

    fn until(&self, when: Option<&When>) -> u64 {
        when.map(|when| when.until(self.now).as_millis()).unwrap_or_default()
    }

    fn reference(&self) -> Result<String, Failure> {
        let known = self.optional_reference();
        if known.is_empty() { Err(no_number(self.standing)) } else { Ok(known) }
    }

    fn optional_reference(&self) -> String {
        let stated = self.with.reference.clone();
        let before = || self.standing.reference().or_else(|| self.standing.sender_ref());
        stated.or_else(before).unwrap_or_default()
    }
}

fn pairs(said: &[(String, String)]) -> Vec<v1::Question> {
    let one = |(field, text): &(String, String)| v1::Question {
        field: field.clone(),
        text: text.clone(),
    };
    said.iter().map(one).collect()
}
