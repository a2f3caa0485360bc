//! What the verbs of a case have in common: the case as the officer sees it, a message of ours in
//! it, what is awaited after that.
//!
//! Enter through [`Standing::of`], then [`Standing::send`]. What may be said is the node's to
//! decide; a refusal is shown with where the case stands. Invariant: everything that is taken from
//! the case and not typed goes into the command that repeats the message, so that a repetition is
//! the same message although the case went on.

use relay_proto::{
    ids::{MessageId, RequestId, Uuid},
    payload::kind_of,
    timestamp::Timestamp,
    v1::{self, payload::Body},
};
use serde::Serialize;
use tonic::Response;

use super::{
    deadlines::terms,
    full_for,
    sending::{self, Outgoing, SendReport},
};
use crate::{
    args::PostArgs,
    client::Node,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::Page,
    report::Report,
    seen,
    view::{CaseView, stated, words},
};

/// A case as our unit finds it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// As the node shows it.
    pub case: v1::Case,
    /// The request, with its content where that is still here.
    request: v1::Message,
    /// What our unit said in it, the newest first.
    ours: Vec<v1::Payload>,
}

/// What is to be said.
#[derive(Debug, Clone)]
pub struct Saying {
    pub body: Body,
    /// Our own number of the case.
    pub sender_ref: String,
    /// The message that it answers, where that is not the request.
    pub in_reply_to: Option<v1::Kind>,
    /// What was taken from the case: flags that make a repetition the same message.
    pub taken: Vec<(&'static str, String)>,
}

/// A message in a case and what is awaited after it.
#[derive(Debug, Clone, Serialize)]
pub struct CaseworkReport {
    #[serde(flatten)]
    pub sent: SendReport,
    pub case: CaseView,
}

/// The request id of this call and the present that its times count from. An id that does not say
/// when it was made is refused: times would count from another present when it is repeated.
pub fn dated(context: &Context, post: &PostArgs) -> Result<(RequestId, Timestamp), Failure> {
    let id = context.request_id(&post.repeat);
    let at = id.made_at().ok_or_else(|| {
        let what = "This request id does not say when it was made: repeated, the message would be \
                    another one.";
        Failure::new(Exit::Usage, what)
            .safe("nothing was sent")
            .with_remedy("leave out --request-id: one is made and printed, to repeat with")
    })?;
    Ok((id, at))
}

/// Our number of the case, or what helps where we stated none.
pub fn own_number(standing: &Standing) -> Result<String, Failure> {
    standing.sender_ref().ok_or_else(|| no_number(standing))
}

/// What to do where our unit stated no number of its own yet.
pub fn no_number(standing: &Standing) -> Failure {
    let what = format!("Our unit stated no number of its own in {} yet.", standing.short());
    Failure::new(Exit::Usage, what)
        .safe("nothing was sent")
        .with_remedy("the same command with --reference TEXT: our own case number")
}

/// The day of an instant, in UTC: `2026-11-24`.
pub fn today(now: Timestamp) -> String {
    now.to_string().chars().take(DAY_CHARS).collect()
}

impl Standing {
    /// The case of this name, its request and what our unit said.
    pub async fn of(node: &Node, name: &str) -> Result<Self, Failure> {
        let case = case(node, name).await?;
        let of_request = |step: &&v1::CaseStep| step.kind() == v1::Kind::PreservationRequest;
        let Some(first) = case.steps.iter().find(of_request) else {
            let what = format!("The request of case {} is not here yet.", case.case_id);
            return Err(Failure::new(Exit::Attention, what)
                .safe("nothing was sent")
                .with_remedy(format!("relay-cli case show {}", case.case_id)));
        };
        let request = full_for(node, &first.message_id, ANSWERING).await?;
        let mut ours = Vec::new();
        let our_steps = case.steps.iter().rev().filter(|step| step.from != case.peer);
        for step in our_steps.take(OURS_MAX) {
            match full_for(node, &step.message_id, ANSWERING).await {
                Ok(said) => ours.extend(said.payload),
                // What a damaged disk does not give is stated by the next message, or typed.
                Err(failure) if failure.reason.as_deref() == Some("STORE_DAMAGED") => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(Self { case, request, ours })
    }

    /// How people name it.
    pub fn short(&self) -> &str {
        &self.case.short_id
    }

    /// Its items in one of these states; all where none is, so that the node says why that is
    /// refused.
    pub fn items(&self, states: &[v1::ItemState]) -> Vec<String> {
        let of = |wanted: &dyn Fn(&v1::CaseItem) -> bool| -> Vec<String> {
            let found = self.case.items.iter().filter(|item| wanted(item));
            found.map(|item| item.item_id.clone()).collect()
        };
        let found = of(&|item| states.contains(&item.state()));
        if found.is_empty() { of(&|_| true) } else { found }
    }

    /// Our number of the case, as the newest message of ours states it.
    pub fn sender_ref(&self) -> Option<String> {
        self.ours.iter().find_map(|said| stated(&said.sender_ref))
    }

    /// Our number of the request as the requested side states it.
    pub fn reference(&self) -> Option<String> {
        self.ours.iter().filter_map(|said| said.body.as_ref()).find_map(|body| match body {
            Body::RequestAck(said) => stated(&said.q_reference),
            Body::PreservationDecision(said) => stated(&said.q_reference),
            Body::PreservationConfirmation(said) => stated(&said.q_reference),
            _ => None,
        })
    }

    /// The number under which the other side preserves, as its confirmation states it.
    pub async fn their_reference(&self, node: &Node) -> Result<Option<String>, Failure> {
        let Some(step) = self.last(v1::Kind::PreservationConfirmation) else { return Ok(None) };
        let said =
            full_for(node, &step.message_id, ANSWERING).await?.payload.and_then(|said| said.body);
        Ok(match said {
            Some(Body::PreservationConfirmation(said)) => stated(&said.q_reference),
            _ => None,
        })
    }

    /// What our unit said last about mutual assistance.
    pub fn mla(&self) -> Option<&v1::MlaReceived> {
        self.ours.iter().find_map(|said| match said.body.as_ref() {
            Some(Body::MlaReceived(said)) => Some(said),
            _ => None,
        })
    }

    /// The last message of a kind that made its transition.
    fn last(&self, kind: v1::Kind) -> Option<&v1::CaseStep> {
        let made =
            |step: &&v1::CaseStep| step.kind() == kind && step.outcome() == v1::StepOutcome::Made;
        self.case.steps.iter().rev().find(made)
    }

    /// The draft: to the other unit, in the case, with the request's markings.
    pub fn draft(&self, saying: &Saying) -> v1::Draft {
        let answered = saying.in_reply_to.and_then(|kind| self.last(kind));
        let answered = answered.map_or(&self.request.message_id, |step| &step.message_id);
        let answered = answered.parse::<MessageId>().ok();
        let case_id = self.case.case_id.parse::<Uuid>().ok();
        let asked = self.request.payload.as_ref();
        // What is said about a request is marked as the request is; when that may be deleted is
        // its own.
        let marked = asked.and_then(|asked| asked.handling.clone());
        let handling = marked.map(|marked| v1::Handling { delete_by_ms: 0, ..marked });
        let urgency_reason = match self.case.priority() {
            v1::Priority::Urgent | v1::Priority::Emergency => {
                format!("the case is {}", words::priority(self.case.priority))
            }
            _ => String::new(),
        };
        let payload = v1::Payload {
            kind: kind_of(&saying.body).into(),
            case_id: case_id.map(|id| id.as_bytes().to_vec().into()).unwrap_or_default(),
            in_reply_to: answered.map(|id| id.as_bytes().to_vec().into()).unwrap_or_default(),
            sender_ref: saying.sender_ref.clone(),
            exercise: self.request.exercise,
            urgency_reason,
            handling,
            body: Some(saying.body.clone()),
            ..Default::default()
        };
        v1::Draft {
            profile: self.request.profile.clone(),
            to: vec![self.case.peer.clone()],
            priority: self.case.priority,
            expire_time: None,
            payload: Some(payload),
        }
    }

    /// Sends it, then says what is awaited from whom.
    pub async fn send(
        &self,
        context: &Context,
        node: &Node,
        (id, post): (RequestId, &PostArgs),
        saying: Saying,
    ) -> Result<Exit, Failure> {
        // What the officer read, where this account was shown the case.
        let read = post.etag.clone().or_else(|| seen::etag(context, &self.case));
        let etag = read.unwrap_or_else(|| self.case.etag.clone());
        let mut added = saying.taken.clone();
        if post.etag.is_none() && !etag.is_empty() {
            added.push(("--etag", etag.clone()));
        }
        let outgoing = Outgoing {
            id,
            draft: self.draft(&saying),
            etag,
            again: context.again_with(id, &added),
            dry_run: post.dry_run,
            wait: post.wait,
        };
        let sent = sending::send(context, node, outgoing).await;
        let sent = sent.map_err(|failure| self.refused(failure))?;
        let case = match sent.stored {
            // As it is with our message in it.
            true => case(node, &self.case.name).await?,
            false => self.case.clone(),
        };
        // Nothing came beside it that he did not read.
        let is_known = sent.stored && case.steps.len() == self.case.steps.len() + 1;
        let shown = context.printer().report(&CaseworkReport { sent, case: CaseView::from(&case) });
        if is_known && shown.is_ok() {
            seen::note(context, &case);
        }
        shown
    }

    /// A refusal with where the case stands and what may be typed instead.
    fn refused(&self, failure: Failure) -> Failure {
        let short = self.short();
        match failure.reason.as_deref() {
            Some("CASE_CHANGED") => failure
                .safe("nothing was sent")
                .with_remedy(format!("relay-cli case show {short}    (read what came meanwhile)")),
            Some("ILLEGAL_TRANSITION") => {
                let verbs = CaseView::from(&self.case).legal_verbs;
                let failure = verbs.into_iter().fold(failure, Failure::with_remedy);
                failure.with_remedy(format!("relay-cli case show {short}"))
            }
            Some("UNFOUNDED_REFUSAL" | "UNKNOWN_CASE" | "CASE_FULL") => {
                failure.with_remedy(format!("relay-cli case show {short}"))
            }
            _ => failure,
        }
    }
}

/// The case of a name.
async fn case(node: &Node, name: &str) -> Result<v1::Case, Failure> {
    let request = v1::GetCaseRequest { name: name.to_owned() };
    let answer = node.cases().get_case(node.request(request)).await;
    answer.map(Response::into_inner).map_err(|status| {
        let failure = node.failure(&status).safe("nothing was sent");
        match failure.exit {
            Exit::NotFound => failure.only_remedy("relay-cli case list --all"),
            _ => failure,
        }
    })
}

impl Report for CaseworkReport {
    const VERB: &'static str = "casework";

    fn people(&self, page: &mut Page) {
        let case = &self.case;
        self.sent.promises(page);
        page.line(match &case.turn {
            Some(turn) => {
                format!("CASE      {} is {}; it is {turn}'s turn", case.short_id, case.state)
            }
            None => format!("CASE      {} is {}; it is nobody's turn", case.short_id, case.state),
        });
        if case.sync_conflict {
            page.line("SYNC_CONFLICT: the two nodes do not agree about this case; telephone");
        }
        if !case.obligations.is_empty() {
            page.gap();
            page.line("Awaited now:");
            terms(page, &case.obligations, false);
            page.gap();
        }
        page.line(format!("Track: relay-cli case show {}", case.short_id));
    }

    fn exit(&self) -> Exit {
        self.sent.exit()
    }
}

/// For what messages of a case are read here.
const ANSWERING: &str = "answering in the case";

/// How many messages of ours are read for what they state: the newest ones repeat it.
const OURS_MAX: usize = 12;

/// `2026-11-24`
const DAY_CHARS: usize = 10;
