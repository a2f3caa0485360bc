//! `send alert|preservation|message`: a message file becomes a draft of the right kind, then is
//! sent.

use std::path::Path;

use relay_proto::{ids::RequestId, payload::kind_of_draft, timestamp::Timestamp, v1};

use super::{
    attach, count, interactive,
    sending::{self, Outgoing, WAIT_TIME},
};
use crate::{
    args::{PreservationArgs, SendArgs, SendVerb},
    context::Context,
    exit::Exit,
    failure::Failure,
    files, message_file,
    view::words,
};

/// Reads the file, sends, waits where that is asked for.
pub async fn run(context: &Context, verb: SendVerb) -> Result<Exit, Failure> {
    match verb {
        SendVerb::Alert(args) => from_file(context, Some(v1::Kind::Alert), &args).await,
        SendVerb::Message(args) => from_file(context, None, &args).await,
        SendVerb::Preservation(PreservationArgs { file, to, post, .. }) => match (file, to) {
            (Some(file), _) => {
                let kind = Some(v1::Kind::PreservationRequest);
                from_file(context, kind, &SendArgs { file, post }).await
            }
            (None, Some(_)) if !post.attach.is_empty() => {
                Err(Failure::new(Exit::Usage, "--attach goes with --file, not with --interactive."))
            }
            (None, Some(to)) => interactive::run(context, &to, post.wait).await,
            (None, None) => Err(Failure::new(Exit::Usage, "Neither --file nor --to is stated.")),
        },
    }
}

async fn from_file(
    context: &Context,
    kind: Option<v1::Kind>,
    args: &SendArgs,
) -> Result<Exit, Failure> {
    let id = context.request_id(&args.post.repeat);
    let mut draft = read(context, kind, args, id)?;
    let files = attach::prepare(&args.post.attach)?;
    attach::list(&mut draft, &files);
    let node = context.node().await?;
    if !args.post.dry_run {
        attach::upload(context, &node, &files).await?;
    }
    let outgoing = Outgoing {
        id,
        draft,
        etag: String::new(),
        again: context.again(id),
        dry_run: args.post.dry_run,
        wait: args.post.wait,
    };
    let sent = sending::send(context, &node, outgoing).await;
    let report = sent.map_err(|failure| match failure.exit {
        Exit::Faults if !failure.faults.is_empty() => of_file(failure, &args.file),
        _ => failure,
    })?;
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
pub fn of_file(mut failure: Failure, file: &Path) -> Failure {
    let (name, left) = (file.display(), usize::try_from(failure.faults_left).unwrap_or_default());
    let number = count(failure.faults.len().saturating_add(left), "fault");
    failure.what = format!("{name} has {number}.");
    failure
        .safe("nothing was sent")
        .with_remedy(format!("mend {name}, then the same command with --dry-run"))
}

/// The draft with its offsets resolved. They count from the instant that the request id carries,
/// not from now: so the same file under the same id has the same content whenever it is repeated.
pub fn resolved(
    text: &str,
    id: RequestId,
    now: Timestamp,
    file: &Path,
) -> Result<v1::Draft, Failure> {
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

fn verb(kind: v1::Kind) -> &'static str {
    match kind {
        v1::Kind::Alert => "alert",
        v1::Kind::PreservationRequest => "preservation",
        _ => "message",
    }
}

/// A payload of the largest bucket, written as JSON with room for indentation.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
