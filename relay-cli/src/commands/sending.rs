//! Sending one message, whatever verb made it: storing it at the node, waiting for it where that
//! is asked for, saying exactly what is promised so far.
//!
//! Enter through [`send`]. The request id is printed before anything is sent, so that repeating is
//! safe whatever happens next.

use std::time::Duration;

use relay_proto::{ids::RequestId, v1};
use serde::Serialize;
use tonic::Response;

use super::{count, message, once_under, receipts};
use crate::{
    args::WaitFor,
    client::Node,
    context::{Context, Stage},
    exit::Exit,
    failure::Failure,
    render::{Page, time},
    report::Report,
    typed::Command,
    view::{DeliveryView, MessageView, ReceiptView, stated},
};

/// A message that is ready to leave.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub id: RequestId,
    pub draft: v1::Draft,
    /// The case that it rests on; empty: whatever it is by now.
    pub etag: String,
    /// The command that repeats it safely.
    pub again: Command,
    /// Only checked.
    pub dry_run: bool,
    pub wait: Option<WaitFor>,
}

/// What is promised so far.
#[derive(Debug, Clone, Serialize)]
pub struct SendReport {
    pub request_id: String,
    /// False after `--dry-run`.
    pub stored: bool,
    /// The answer to an earlier call with this request id.
    pub repeated_request: bool,
    pub message: MessageView,
    /// It waits for a second officer under this id; nothing was sent.
    pub approval: Option<String>,
    pub receipts: Vec<ReceiptView>,
    /// What was waited for: `delivered`, `handover`, `ack`.
    pub waited_for: Option<&'static str>,
    pub reached: Option<bool>,
}

/// Stores it at the node, then waits if that is wanted.
pub async fn send(
    context: &Context,
    node: &Node,
    outgoing: Outgoing,
) -> Result<SendReport, Failure> {
    let Outgoing { id, draft, etag, again, dry_run, wait: goal } = outgoing;
    if !dry_run {
        context.printer().say_request(id, &again);
    }
    let request = v1::SendMessageRequest {
        request_id: id.to_string(),
        draft: Some(draft),
        validate_only: dry_run,
        etag,
    };
    let call = || {
        let (mut client, request) = (node.messages(), node.request(request.clone()));
        async move { client.send_message(request).await }
    };
    let answer = match dry_run {
        // A check stores nothing: there is nothing to be sure of.
        true => call().await.map(Response::into_inner).map_err(|status| node.failure(&status)),
        false => once_under(context, node, &again, call).await,
    };
    let answer = answer.map_err(Failure::in_file).map_err(|failure| match failure.exit {
        Exit::Faults | Exit::PeerNotTrusted | Exit::NotFound => failure.safe("nothing was sent"),
        _ => failure,
    })?;
    let mut report = SendReport {
        request_id: id.to_string(),
        stored: !dry_run,
        repeated_request: answer.repeated_request,
        message: MessageView::from(&answer.message.unwrap_or_default()),
        approval: stated(answer.approval.trim_start_matches("approvals/")),
        receipts: Vec::new(),
        waited_for: goal.map(word),
        reached: None,
    };
    if report.approval.is_some() {
        // Nobody knows when the second officer comes.
        report.reached = goal.map(|_| false);
        return Ok(report);
    }
    if !dry_run {
        context.reach(Stage::Stored(report.message.short_id.clone()));
    }
    if let Some(goal) = goal {
        wait(context, node, &mut report, goal).await?;
    }
    Ok(report)
}

/// Asks until every recipient has got as far as `goal`, one of them never will, or the time is up.
/// What is asked for is where the message stands, not what happened since: a node that restarts
/// meanwhile changes nothing.
async fn wait(
    context: &Context,
    node: &Node,
    report: &mut SendReport,
    goal: WaitFor,
) -> Result<(), Failure> {
    let limit = context.global().timeout.unwrap_or(WAIT_TIME);
    let deadline = tokio::time::Instant::now() + limit;
    context.printer().say(&promise(report));
    let mut step = WAIT_STEP_MIN;
    loop {
        let found = look(node, &report.message.message_id).await;
        match found {
            Ok((message, receipts)) => {
                (report.message, report.receipts) = (message, receipts);
                report.reached = Some(reached(report, goal));
            }
            // It is stored: a node that is away for a moment changes nothing about that.
            Err(failure) if failure.exit == Exit::Unreachable => report.reached = Some(false),
            Err(failure) => return Err(failure),
        }
        let over = report.reached == Some(true) || report.message.deliveries.iter().any(lost);
        let now = tokio::time::Instant::now();
        if over || now >= deadline {
            return Ok(());
        }
        // The last look is at the deadline itself.
        tokio::time::sleep_until(deadline.min(now + step)).await;
        step = (step * 2).min(WAIT_STEP_MAX);
    }
}

async fn look(node: &Node, id: &str) -> Result<(MessageView, Vec<ReceiptView>), Failure> {
    let message = MessageView::from(&message(node, id).await?);
    Ok((message, receipts::of_message(node, id).await?))
}

fn lost(delivery: &DeliveryView) -> bool {
    delivery.is_lost()
}

/// Whether every recipient has got so far. An officer who took it himself stands above a case
/// system that did.
fn reached(report: &SendReport, goal: WaitFor) -> bool {
    use v1::Event as E;
    let events: &[E] = match goal {
        WaitFor::Delivered => {
            &[E::ContentConsignment, E::ContentHandover, E::ConsignmentAcceptance]
        }
        WaitFor::Handover => &[E::ContentHandover, E::ConsignmentAcceptance],
        WaitFor::Ack => &[E::ConsignmentAcceptance],
    };
    let has = |unit: &String| {
        report.receipts.iter().any(|receipt| {
            receipt.verified && receipt.issuer_unit == *unit && events.contains(&receipt.event())
        })
    };
    !report.message.to.is_empty() && report.message.to.iter().all(has)
}

/// The first line: what is safe now.
fn promise(report: &SendReport) -> String {
    let short = &report.message.short_id;
    let at = report.message.stored.map(|at| format!(" at {at}")).unwrap_or_default();
    if let Some(approval) = &report.approval {
        return format!("WAITS     for a second officer as {approval} (survives power loss)");
    }
    match (report.stored, report.repeated_request) {
        (false, _) => "CHECKED   no fault found; nothing was stored or sent".to_owned(),
        (true, false) => format!("STORED    {short}{at} (survives power loss)"),
        (true, true) => format!("STORED    {short} before{at}; not sent twice"),
    }
}

impl SendReport {
    /// The last receipt of a recipient that tells how far it got.
    fn step(&self, unit: &str) -> Option<&ReceiptView> {
        self.receipts.iter().rev().find(|receipt| receipt.issuer_unit == unit && receipt.verified)
    }

    /// What is promised, then where it is at each recipient.
    pub fn promises(&self, page: &mut Page) {
        let lost = self.message.deliveries.iter().any(lost);
        let goal = self.waited_for.filter(|_| self.approval.is_none());
        if let (Some(goal), Some(reached)) = (goal, self.reached) {
            page.line(match reached {
                true => format!("REACHED   {goal} at every recipient"),
                false if lost => "NOT SENT TO ALL: see who, and why".to_owned(),
                false => format!("OPEN      {goal} not reached yet; it goes on by itself"),
            });
        }
        page.line(promise(self));
        if let Some(approval) = &self.approval {
            page.line("Nothing was sent. With another account than the one that asked:");
            page.line(format!("  relay-cli approval grant {approval}"));
            return;
        }
        if !self.stored {
            let number = count(self.message.to.len(), "recipient");
            page.line(format!("{number}, {}", self.message.kind_with_priority()));
            return;
        }
        for delivery in &self.message.deliveries {
            let text = match self.step(&delivery.recipient) {
                Some(receipt) => {
                    let at = receipt.time.map(|at| time::short(at, page.now()));
                    let (at, event) = (at.unwrap_or_default(), &receipt.event);
                    format!("{at}  {event}: {}", receipt.meaning())
                }
                None if delivery.is_lost() => {
                    format!("{} {}", delivery.state, delivery.reason.as_deref().unwrap_or("-"))
                }
                None => match &delivery.reason {
                    Some(why) if delivery.is_held() => {
                        format!("{}: {why}; not sent while this lasts", delivery.state)
                    }
                    Some(why) => format!("{}: {why}; retrying", delivery.state),
                    None => delivery.state.clone(),
                },
            };
            page.hanging(&format!("{:<16} {text}", delivery.recipient), 17);
        }
    }
}

impl Report for SendReport {
    const VERB: &'static str = "send";

    fn people(&self, page: &mut Page) {
        self.promises(page);
        if self.stored && self.approval.is_none() {
            page.line(format!("Track: relay-cli show {}", self.message.short_id));
        }
    }

    fn exit(&self) -> Exit {
        match self.reached {
            Some(false) if self.message.deliveries.iter().any(lost) => Exit::Attention,
            Some(false) => Exit::StillOpen,
            _ => Exit::Done,
        }
    }
}

fn word(goal: WaitFor) -> &'static str {
    match goal {
        WaitFor::Delivered => "delivered",
        WaitFor::Handover => "handover",
        WaitFor::Ack => "ack",
    }
}

/// How long `--wait` waits when nothing is said.
pub const WAIT_TIME: Duration = Duration::from_secs(60);

/// Between the first two looks; it doubles.
const WAIT_STEP_MIN: Duration = Duration::from_millis(200);

/// Between two looks of a long wait: an officer takes minutes.
const WAIT_STEP_MAX: Duration = Duration::from_secs(2);
