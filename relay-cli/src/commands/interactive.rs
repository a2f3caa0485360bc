//! `send preservation --interactive`: the form on a terminal, then the same way as any draft.
//!
//! What is typed is saved as a draft before the node hears of it, so that nothing of it is lost
//! whatever happens next.

use std::io;

use relay_proto::{ids::UnitId, v1};

use super::draft;
use crate::{
    args::WaitFor,
    client::Node,
    context::Context,
    drafts::{Draft, Drafts},
    exit::Exit,
    failure::Failure,
    form::{Choice, Form, Interview},
    render::Look,
    terminal::apart,
};

/// Asks, then sends, saves or leaves.
pub async fn run(context: &Context, to: &UnitId, wait: Option<WaitFor>) -> Result<Exit, Failure> {
    context.may_ask(
        "relay-cli template show art29 > FILE, fill it in, relay-cli send preservation --file FILE",
    )?;
    let drafts = Drafts::of(context)?;
    let node = context.node().await?;
    let mut form = Form::new(to, &our_name(&node).await?, context.now());
    let mut made: Option<String> = None;
    let look = context.printer().look;
    let mut first = true;
    loop {
        let (choice, filled) = asked(form, look, first).await?;
        (form, first) = (filled, false);
        let saved = Draft { request_id: None, text: form.file() };
        match choice {
            Choice::Leave => {
                context.printer().say("Left. Nothing was stored or sent.");
                if let Some(name) = made.filter(|name| drafts.has(name)) {
                    drafts.remove(&name)?;
                }
                return Ok(Exit::Done);
            }
            Choice::Save => {
                let name = keep(&drafts, to, &mut made, &saved)?;
                return draft::saved(context, &name, &saved);
            }
            Choice::Check | Choice::Send => {
                let dry_run = choice == Choice::Check;
                let name = keep(&drafts, to, &mut made, &saved)?;
                let sent = draft::submit(context, &node, &drafts, &name, dry_run, wait).await;
                match sent {
                    // Mended on the review page.
                    Err(failure) if failure.exit == Exit::Faults => {
                        context.printer().failure(&failure);
                    }
                    Ok(_) if dry_run => {}
                    ended => return ended,
                }
            }
        }
    }
}

/// Writes what was typed under the name of this form: one that was free when it was first written.
fn keep(
    drafts: &Drafts,
    to: &UnitId,
    made: &mut Option<String>,
    saved: &Draft,
) -> Result<String, Failure> {
    if let Some(name) = made {
        drafts.write(name, saved)?;
        return Ok(name.clone());
    }
    let mut last = None;
    for _ in 0..NAMES_TRIED {
        let name = drafts.free_name(&to.to_string());
        match drafts.make(&name, saved) {
            Ok(()) => return Ok(made.insert(name).clone()),
            // Another terminal was quicker.
            Err(failure) if failure.exit == Exit::Conflict => last = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::new(Exit::Conflict, "No name is free for the draft.")))
}

/// Terminals of one account that save at the same moment.
const NAMES_TRIED: usize = 16;

/// The dialogue, on a thread of its own.
async fn asked(mut form: Form, look: Look, first: bool) -> Result<(Choice, Form), Failure> {
    let ended = apart(move || {
        // The process's own buffer: a line that was typed ahead is there for the next round.
        let mut interview = Interview::new(io::stdin().lock(), io::stderr(), look);
        let choice = match first {
            true => interview.fill(&mut form),
            false => interview.review(&mut form),
        };
        choice.map(|choice| (choice, form))
    });
    ended.await?.map_err(|error| {
        Failure::new(Exit::Usage, format!("The terminal cannot be read: {error}."))
            .safe("nothing was sent")
    })
}

/// Our unit's name, for the form's first line.
async fn our_name(node: &Node) -> Result<String, Failure> {
    let answer = node.node().get_status(node.request(v1::GetStatusRequest {})).await;
    answer.map(|answer| answer.into_inner().display_name).map_err(|status| node.failure(&status))
}
