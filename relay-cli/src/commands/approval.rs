//! `approval …`: messages that a second officer has to agree to before they are sent.

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;
use serde_json::Value;
use tonic::Response;

use super::{count, once_for_sure};
use crate::{
    args::{ApprovalVerb, RepeatArgs},
    client::Node,
    context::Context,
    exit::Exit,
    failure::Failure,
    message_file,
    render::Page,
    report::Report,
    view::{MessageView, instant, stated, words},
};

/// `approval list`
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalsReport {
    pub approvals: Vec<ApprovalView>,
}

/// `approval show`, `approval drop`
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalReport {
    pub approval: ApprovalView,
    /// What would be sent, as a message file; null once it is decided.
    pub content: Value,
}

/// `approval grant`
#[derive(Debug, Clone, Serialize)]
pub struct GrantReport {
    pub request_id: String,
    pub repeated_request: bool,
    pub message: MessageView,
}

/// One that waits, or waited.
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalView {
    pub id: String,
    pub account: String,
    pub asked: Option<Timestamp>,
    pub kind: String,
    pub priority: String,
    pub profile: String,
    pub to: Vec<String>,
    /// `waiting`, `granted`, `dropped`.
    pub state: String,
    pub decided_by: Option<String>,
    pub decided: Option<Timestamp>,
    pub reason: Option<String>,
    pub message_id: Option<String>,
}

/// Runs a verb of the noun.
pub async fn run(context: &Context, verb: ApprovalVerb) -> Result<Exit, Failure> {
    match verb {
        ApprovalVerb::List { all } => list(context, all).await,
        ApprovalVerb::Show { id } => show(context, &id).await,
        ApprovalVerb::Grant { id, repeat } => grant(context, id, &repeat).await,
        ApprovalVerb::Drop { id, reason, repeat } => drop_one(context, id, reason, &repeat).await,
    }
}

async fn list(context: &Context, all: bool) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let (mut approvals, mut page_token) = (Vec::new(), String::new());
    loop {
        let (include_decided, page_size) = (all, PAGE);
        let request = v1::ListApprovalsRequest { page_size, page_token, include_decided };
        let answer = node.approvals().list_approvals(node.request(request)).await;
        let answer = answer.map_err(|status| node.failure(&status))?.into_inner();
        approvals.extend(answer.approvals.iter().map(ApprovalView::from));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    context.printer().report(&ApprovalsReport { approvals })
}

async fn show(context: &Context, id: &str) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let mut purpose = context.purpose();
    let approval = loop {
        match read(&node, id, &purpose).await {
            Ok(approval) => break approval,
            Err(failure) => purpose = context.other_purpose(failure, &purpose).await?,
        }
    };
    let draft = approval.draft.clone().unwrap_or_default();
    // As the message that it would be.
    let message = v1::Message {
        profile: draft.profile,
        priority: draft.priority,
        create_time: approval.ask_time,
        expire_time: draft.expire_time,
        payload: draft.payload,
        ..v1::Message::default()
    };
    let content = message_file::content(&message);
    context.printer().report(&ApprovalReport { approval: ApprovalView::from(&approval), content })
}

async fn read(node: &Node, id: &str, purpose: &str) -> Result<v1::Approval, Failure> {
    let (name, purpose) = (id.to_owned(), purpose.to_owned());
    let answer =
        node.approvals().get_approval(node.request(v1::GetApprovalRequest { name, purpose })).await;
    answer.map(Response::into_inner).map_err(|status| unknown(node.failure(&status)))
}

async fn grant(context: &Context, name: String, repeat: &RepeatArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let id = context.request_id(repeat);
    let request = v1::GrantApprovalRequest { request_id: id.to_string(), name };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.approvals(), node.request(request.clone()));
        async move { client.grant_approval(request).await }
    });
    let answer = answer.await.map_err(|failure| unknown(failure).safe("nothing was sent"))?;
    context.printer().report(&GrantReport {
        request_id: id.to_string(),
        repeated_request: answer.repeated_request,
        message: MessageView::from(&answer.message.unwrap_or_default()),
    })
}

async fn drop_one(
    context: &Context,
    name: String,
    reason: String,
    repeat: &RepeatArgs,
) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let id = context.request_id(repeat);
    let request = v1::DropApprovalRequest { request_id: id.to_string(), name, reason };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.approvals(), node.request(request.clone()));
        async move { client.drop_approval(request).await }
    });
    let approval = ApprovalView::from(&answer.await.map_err(unknown)?);
    context.printer().report(&ApprovalReport { approval, content: Value::Null })
}

fn unknown(failure: Failure) -> Failure {
    match failure.exit {
        Exit::NotFound => failure.only_remedy("relay-cli approval list --all"),
        _ => failure,
    }
}

impl From<&v1::Approval> for ApprovalView {
    fn from(approval: &v1::Approval) -> Self {
        let name = approval.name.strip_prefix("approvals/").unwrap_or(&approval.name);
        Self {
            id: name.to_owned(),
            account: approval.account.clone(),
            asked: instant(approval.ask_time.as_ref()),
            kind: words::kind(approval.kind),
            priority: words::priority(approval.priority),
            profile: approval.profile.clone(),
            to: approval.to.clone(),
            state: words::approval_state(approval.state),
            decided_by: stated(&approval.decided_by),
            decided: instant(approval.decide_time.as_ref()),
            reason: stated(&approval.reason),
            message_id: stated(&approval.message_id),
        }
    }
}

impl ApprovalView {
    fn waits(&self) -> bool {
        self.decided.is_none()
    }

    fn show(&self, page: &mut Page) {
        let (id, state) = (&self.id, self.state.to_uppercase());
        page.line(format!("{id}  {state}  {}", self.kind));
        let (account, to) = (&self.account, self.to.join(", "));
        page.quote(&format!("{account} asked, {}; to {to}", page.when(self.asked)), 2);
        if let Some(by) = &self.decided_by {
            let why = self.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let at = page.when(self.decided);
            page.quote(&format!("{} by {by}, {at}{why}", self.state), 2);
        }
    }
}

impl Report for ApprovalsReport {
    const VERB: &'static str = "approval.list";

    fn people(&self, page: &mut Page) {
        let waiting = self.approvals.iter().filter(|approval| approval.waits()).count();
        match waiting {
            0 => page.line("Nothing waits for a second officer"),
            n => page.line(format!("ACTION NEEDED: {} for a second officer", waits(n))),
        }
        page.gap();
        for approval in &self.approvals {
            approval.show(page);
        }
        if waiting > 0 {
            page.gap();
            page.line("Read one: relay-cli approval show ID. Then: approval grant ID, or drop ID");
        }
    }

    fn exit(&self) -> Exit {
        match self.approvals.iter().any(ApprovalView::waits) {
            true => Exit::Attention,
            false => Exit::Done,
        }
    }
}

fn waits(number: usize) -> String {
    let verb = if number == 1 { "waits" } else { "wait" };
    format!("{} {verb}", count(number, "message"))
}

impl Report for ApprovalReport {
    const VERB: &'static str = "approval.show";

    fn people(&self, page: &mut Page) {
        self.approval.show(page);
        if self.content.is_null() {
            return;
        }
        page.gap();
        let text = serde_json::to_string_pretty(&self.content).unwrap_or_default();
        page.file(&text);
        page.gap();
        let id = &self.approval.id;
        page.line(format!("Send it: relay-cli approval grant {id}"));
        page.line(format!("Never send it: relay-cli approval drop {id} --reason TEXT"));
    }
}

impl Report for GrantReport {
    const VERB: &'static str = "approval.grant";

    fn people(&self, page: &mut Page) {
        let short = &self.message.short_id;
        page.line(match self.repeated_request {
            false => format!("STORED    {short} (survives power loss)"),
            true => format!("STORED    {short} before; not sent twice"),
        });
        page.line(format!("Track: relay-cli show {short}"));
    }
}

/// The node gives out at most so many a page.
const PAGE: i32 = 1000;
