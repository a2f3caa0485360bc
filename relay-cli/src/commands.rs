//! The verbs, one file per noun. Each asks the node, and hands a `Report` to the printer.
//!
//! Enter through [`run`]. A verb neither prints nor ends the process by itself.

mod ack;
mod alarm;
mod approval;
mod attach;
mod attachment;
mod audit;
mod case;
mod casework;
mod deadlines;
mod draft;
mod evidence;
mod extend;
#[cfg(test)]
mod golden;
mod inbox;
mod interactive;
mod mla;
mod outbox;
mod paper;
mod peer;
mod receipts;
mod respond;
mod retry;
mod send;
mod sending;
mod show;
mod status;
mod template;
mod top;
mod watch;
mod withdraw;

use std::{collections::BTreeSet, future::Future, time::Duration};

use relay_proto::{ids::RequestId, v1};
use tonic::{Response, Status};

use crate::{
    args::Verb,
    client::Node,
    context::{Context, Stage},
    exit::Exit,
    failure::{Failure, answer_lost},
    render::Page,
    typed::Command,
    view::{MessageView, words},
};

/// Runs one verb.
pub async fn run(context: &Context, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Status => status::run(context).await,
        Verb::Top => top::run(context).await,
        Verb::Alarm(verb) => alarm::run(context, verb).await,
        Verb::Case(verb) => case::run(context, verb).await,
        Verb::Deadlines(args) => deadlines::run(context, args).await,
        Verb::Peer(verb) => peer::run(context, verb).await,
        Verb::Send(verb) => send::run(context, verb).await,
        Verb::Respond(args) => respond::run(context, *args).await,
        Verb::Withdraw(args) => withdraw::run(context, args).await,
        Verb::Extend(args) => extend::run(context, args).await,
        Verb::Draft(verb) => draft::run(context, verb).await,
        Verb::Template(verb) => template::run(context, &verb),
        Verb::Mla(args) => mla::run(context, args).await,
        Verb::Inbox(args) => inbox::run(context, &args).await,
        Verb::Outbox(args) => outbox::run(context, &args).await,
        Verb::Retry(args) => retry::run(context, &args).await,
        Verb::Show(args) => show::run(context, &args).await,
        Verb::Attachment(verb) => attachment::run(context, verb).await,
        Verb::Ack(args) => ack::run(context, &args).await,
        Verb::Watch(args) => watch::run(context, args).await,
        Verb::Receipts(args) => receipts::run(context, &args).await,
        Verb::Evidence(verb) => evidence::run(context, verb).await,
        Verb::Approval(verb) => approval::run(context, verb).await,
        Verb::Audit(verb) => audit::run(context, verb).await,
    }
}

/// Makes a call that changes something. When its answer is lost on the way it is repeated, with
/// the same request id, so that it happens once; the user is told.
async fn once_for_sure<T, F>(
    context: &Context,
    node: &Node,
    id: RequestId,
    call: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    once_under(context, node, &context.again(id), call).await
}

/// The same for a verb that knows better which command repeats it.
async fn once_under<T, F>(
    context: &Context,
    node: &Node,
    again: &Command,
    mut call: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    // From here on an interruption is told with the command that finds out.
    context.reach(Stage::Asked(again.clone()));
    let sure = |status: &Status| unsure(node.failure(status), again);
    let mut wait = REPEAT_WAIT_MIN;
    for _ in 0..REPEATS_MAX {
        match call().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if answer_lost(&status) => {
                let after = wait.as_millis();
                context.printer().say(&format!(
                    "The connection was lost before the answer. Repeating in {after} ms with the \
                     same request id; nothing happens twice."
                ));
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            Err(status) => return Err(sure(&status)),
        }
    }
    call().await.map(Response::into_inner).map_err(|status| sure(&status))
}

/// Adds how to find out, where nobody knows whether the node did it: its answer was lost, or its
/// disk failed under it.
fn unsure(failure: Failure, again: &Command) -> Failure {
    match (failure.exit, failure.reason.as_deref()) {
        (Exit::Unreachable, None) | (_, Some("STORE_STOPPED" | "INTERNAL")) => failure
            .safe("it may have been done; repeating with the same request id is safe, and tells")
            .with_repeat(again.clone()),
        _ => failure,
    }
}

/// All pages of a list, up to `limit` messages, and whether there are more.
async fn pages(node: &Node, filter: &str, limit: u32) -> Result<(Vec<MessageView>, bool), Failure> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut found, mut page_token) = (Vec::new(), String::new());
    // A page may be short or empty and still have a next one.
    loop {
        let left = limit.saturating_sub(found.len()).min(PAGE_MAX);
        let page_size = i32::try_from(left).unwrap_or(i32::MAX);
        let request = v1::ListMessagesRequest { page_size, page_token, filter: filter.to_owned() };
        let answer = node.messages().list_messages(node.request(request)).await;
        let answer = answer.map_err(|status| node.failure(&status))?.into_inner();
        found.extend(answer.messages.iter().map(MessageView::from));
        page_token = answer.next_page_token;
        if page_token.is_empty() || found.len() >= limit {
            break;
        }
    }
    let more = !page_token.is_empty() || found.len() > limit;
    found.truncate(limit);
    Ok((found, more))
}

/// A message without its content.
async fn message(node: &Node, id: &str) -> Result<v1::Message, Failure> {
    let view = v1::MessageView::Basic.into();
    let request = v1::GetMessageRequest { name: id.to_owned(), view, ..Default::default() };
    let answer = node.messages().get_message(node.request(request)).await;
    answer.map(Response::into_inner).map_err(|status| node.failure(&status))
}

/// A message with its content; whoever sits at the terminal is asked for what he reads it, where
/// nothing else says it.
async fn full(context: &Context, node: &Node, id: &str) -> Result<v1::Message, Failure> {
    let mut purpose = context.purpose();
    loop {
        match full_for(node, id, &purpose).await {
            Ok(message) => return Ok(message),
            Err(failure) => purpose = context.other_purpose(failure, &purpose).await?,
        }
    }
}

/// A message with its content, read for this purpose; empty: the account's own.
async fn full_for(node: &Node, id: &str, purpose: &str) -> Result<v1::Message, Failure> {
    let view = v1::MessageView::Full.into();
    let (name, purpose) = (id.to_owned(), purpose.to_owned());
    let request = v1::GetMessageRequest { name, view, purpose };
    let answer = node.messages().get_message(node.request(request)).await;
    answer.map(Response::into_inner).map_err(|status| node.failure(&status))
}

/// What is true of open deliveries: `Safe on disk, retrying`.
fn waits(held: usize, open: usize) -> String {
    match held {
        0 => "Safe on disk, retrying".to_owned(),
        _ if held >= open => "Safe on disk, HELD: not sent".to_owned(),
        n => format!("Safe on disk; {n} HELD, the rest is retried"),
    }
}

/// Says once of each recipient for which waiting does not help what does: its node refuses ours,
/// or it is no peer that is trusted here.
fn tell_stuck<'a>(page: &mut Page, messages: impl Iterator<Item = &'a MessageView>) {
    let (mut refusing, mut held, mut full) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for message in messages {
        let stuck = message.deliveries.iter().filter(|delivery| delivery.is_held());
        held.extend(stuck.map(|delivery| (&delivery.recipient, delivery.reason.as_deref())));
        let refused = message.deliveries.iter().filter(|delivery| delivery.is_refused_us());
        let put_off = message.deliveries.iter().filter(|delivery| delivery.is_put_off());
        full.extend(put_off.map(|delivery| &delivery.recipient));
        refusing.extend(refused.map(|delivery| (&delivery.recipient, &message.from)));
    }
    for (unit, reason) in held {
        page.line(match reason {
            Some(words::PEER_SUSPENDED) => {
                format!("{unit} is suspended, nothing is sent to it: relay-cli peer show {unit}")
            }
            Some(words::PEER_UNVERIFIED) => {
                format!("{unit} is not verified, nothing is sent: relay-cli peer verify {unit}")
            }
            _ => format!("{unit} is no peer, nothing is sent to it: relay-cli peer add CARD"),
        });
    }
    for unit in full {
        page.line(format!(
            "{unit} puts us off: nobody takes our messages there; telephone them (relay-cli peer \
             show {unit})"
        ));
    }
    for (unit, us) in refusing {
        page.line(format!(
            "{unit} has not verified us: telephone them (relay-cli peer show {unit})"
        ));
        page.line(format!("  they run: relay-cli peer verify {us} --by NAME"));
    }
}

/// `1 message`, `2 messages`.
fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

/// Behind a number that was counted up to a bound.
fn or_more(more: bool) -> &'static str {
    if more { " or more" } else { "" }
}

/// How often a lost answer is asked for again: 15 s in all, longer than a node takes to start.
const REPEATS_MAX: u32 = 6;

/// The first wait; it doubles.
const REPEAT_WAIT_MIN: Duration = Duration::from_millis(250);

/// The node gives out at most this many messages a page.
const PAGE_MAX: usize = 1000;
