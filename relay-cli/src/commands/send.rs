//! `send alert|preservation|message`: reads a message file, stores it at the node, says exactly
//! what is promised so far.
//!
//! The request id is printed before anything is sent, so that repeating is safe whatever happens
//! next.

use std::{path::Path, time::Duration};

use relay_proto::{ids::RequestId, payload::kind_of_draft, timestamp::Timestamp, v1};
use serde::Serialize;
use tonic::Response;

use super::{count, message, once_for_sure, receipts};
use crate::{
    args::{SendArgs, SendVerb, WaitFor},
    client::Node,
    context::{Context, Stage},
    exit::Exit,
    failure::Failure,
    files, message_file,
    render::{Page, time},
    report::Report,
    view::{DeliveryView, MessageView, ReceiptView, words},
};

/// What is promised so far.
#[derive(Debug, Clone, Serialize)]
pub struct SendReport {
    pub request_id: String,
    /// False after `--dry-run`.
    pub stored: bool,
    /// The answer to an earlier call with this request id.
    pub repeated_request: bool,
    pub message: MessageView,
    pub receipts: Vec<ReceiptView>,
    /// What was waited for: `delivered`, `handover`, `ack`.
    pub waited_for: Option<&'static str>,
    pub reached: Option<bool>,
}

/// Reads the file, sends, waits where that is asked for.
pub async fn run(context: &Context, verb: SendVerb) -> Result<Exit, Failure> {
    let (kind, args) = match verb {
        SendVerb::Alert(args) => (Some(v1::Kind::Alert), args),
        SendVerb::Preservation(args) => (Some(v1::Kind::PreservationRequest), args),
        SendVerb::Message(args) => (None, args),
    };
    let id = context.request_id(&args.repeat);
    let draft = read(context, kind, &args, id)?;
    let node = context.node().await?;
    if !args.dry_run {
        context.printer().say_request(id, &context.again(id));
    }
    let request = v1::SendMessageRequest {
        request_id: id.to_string(),
        draft: Some(draft),
        validate_only: args.dry_run,
        etag: String::new(),
    };
    let call = || {
        let (mut client, request) = (node.messages(), node.request(request.clone()));
        async move { client.send_message(request).await }
    };
    let answer = match args.dry_run {
        // A check stores nothing: there is nothing to be sure of.
        true => call().await.map(Response::into_inner).map_err(|status| node.failure(&status)),
        false => once_for_sure(context, &node, id, call).await,
    };
    let answer = answer.map_err(Failure::in_file).map_err(|failure| match failure.exit {
        Exit::Faults if !failure.faults.is_empty() => of_file(failure, &args.file),
        Exit::Faults | Exit::PeerNotTrusted | Exit::NotFound => failure.safe("nothing was sent"),
        _ => failure,
    })?;
    let message = MessageView::from(&answer.message.unwrap_or_default());
    let mut report = SendReport {
        request_id: id.to_string(),
        stored: !args.dry_run,
        repeated_request: answer.repeated_request,
        message,
        receipts: Vec::new(),
        waited_for: args.wait.map(word),
        reached: None,
    };
    if !args.dry_run {
        context.reach(Stage::Stored(report.message.short_id.clone()));
    }
    if let Some(goal) = args.wait {
        wait(context, &node, &mut report, goal).await?;
    }
    context.printer().report(&report)
}

/// The draft of a file of the right kind, or all its faults.
fn read(
    context: &Context,
    kind: Option<v1::Kind>,
    args: &SendArgs,
    id: RequestId,
) -> Result<v1::Draft, Failure> {
    let text = files::read_text(&args.file, FILE_BYTES_MAX)?;
    let name = args.file.display();
    let draft = resolved(&text, id, context.now(), &args.file)?;
    let found = kind_of_draft(&draft);
    match kind {
        Some(kind) if found != kind => {
            let (is, verb) = (words::kind(found.into()), verb(found));
            Err(Failure::new(Exit::Usage, format!("{name} holds another kind: {is}."))
                .safe("nothing was sent")
                .with_remedy(format!("relay-cli send {verb} --file {name}")))
        }
        _ => Ok(draft),
    }
}

/// Faults of a message file, told alike whether they were found here or by the node.
fn of_file(mut failure: Failure, file: &Path) -> Failure {
    let (name, left) = (file.display(), usize::try_from(failure.faults_left).unwrap_or_default());
    let number = count(failure.faults.len().saturating_add(left), "fault");
    failure.what = format!("{name} has {number}.");
    failure
        .safe("nothing was sent")
        .with_remedy(format!("mend {name}, then the same command with --dry-run"))
}

/// The draft with its offsets resolved. They count from the instant that the request id carries,
/// not from now: so the same file under the same id has the same content whenever it is repeated.
fn resolved(text: &str, id: RequestId, now: Timestamp, file: &Path) -> Result<v1::Draft, Failure> {
    let parse = |from| {
        message_file::parse(text, from)
            .map_err(|faults| of_file(Failure::new(Exit::Faults, "").with_faults(faults), file))
    };
    let draft = parse(id.made_at().unwrap_or(now))?;
    // An id of another kind says no instant; then nothing may count from one.
    if id.made_at().is_none() && parse(now.after(WAIT_TIME))? != draft {
        let name = file.display();
        let what = format!(
            "{name} has times that count from now (\"@...\"), and this request id does not say \
             when that was: a repetition would be another message."
        );
        return Err(Failure::new(Exit::Usage, what)
            .safe("nothing was sent")
            .with_remedy("leave out --request-id: one is made and printed, to repeat with")
            .with_remedy("or give a UUID of version 7, or write whole times in the file"));
    }
    Ok(draft)
}

/// Asks until every recipient has got as far as `goal`, one of them never will, or the time is up.
async fn wait(
    context: &Context,
    node: &Node,
    report: &mut SendReport,
    goal: WaitFor,
) -> Result<(), Failure> {
    let limit = context.global().timeout.unwrap_or(WAIT_TIME);
    let deadline = tokio::time::Instant::now() + limit;
    context.printer().say(&promise(report));
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
        let next = tokio::time::Instant::now() + WAIT_STEP;
        if over || next > deadline {
            return Ok(());
        }
        tokio::time::sleep_until(next).await;
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
}

impl Report for SendReport {
    const VERB: &'static str = "send";

    fn people(&self, page: &mut Page) {
        let short = &self.message.short_id;
        let lost = self.message.deliveries.iter().any(lost);
        if let (Some(goal), Some(reached)) = (self.waited_for, self.reached) {
            page.line(match reached {
                true => format!("REACHED   {goal} at every recipient"),
                false if lost => "NOT SENT TO ALL: see who, and why".to_owned(),
                false => format!("OPEN      {goal} not reached yet; it goes on by itself"),
            });
        }
        page.line(promise(self));
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
        page.line(format!("Track: relay-cli show {short}"));
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

fn verb(kind: v1::Kind) -> &'static str {
    match kind {
        v1::Kind::Alert => "alert",
        v1::Kind::PreservationRequest => "preservation",
        _ => "message",
    }
}

/// A payload of the largest bucket, written as JSON with room for indentation.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// How long `--wait` waits when nothing is said.
const WAIT_TIME: Duration = Duration::from_secs(60);

/// Between two looks.
const WAIT_STEP: Duration = Duration::from_millis(200);
