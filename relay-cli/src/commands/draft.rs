//! `draft …`: messages that are being written, and sent when they are finished.

use relay_proto::{
    ids::RequestId,
    payload::{Faults, kind_of_draft},
};
use serde::Serialize;

use super::{
    count,
    send::{of_file, resolved},
    sending::{self, Outgoing},
};
use crate::{
    args::{DraftVerb, RepeatArgs, WaitFor},
    client::Node,
    context::Context,
    drafts::{Draft, Drafts},
    exit::Exit,
    failure::{Failure, Fault},
    files, form, message_file,
    render::{Page, Table},
    report::Report,
    terminal::apart,
    view::words,
};

/// `draft list`
#[derive(Debug, Clone, Serialize)]
pub struct DraftsReport {
    pub drafts: Vec<DraftView>,
}

/// A draft.
#[derive(Debug, Clone, Serialize)]
pub struct DraftView {
    pub name: String,
    /// What it is, where it can be read.
    pub kind: Option<String>,
    pub to: Vec<String>,
    /// What is wrong or not filled in, as far as can be seen without the node.
    pub faults: Vec<Fault>,
    /// The node may have it already: submitting tells.
    pub tried: bool,
}

/// What became of one draft.
#[derive(Debug, Clone, Serialize)]
pub struct DraftReport {
    pub draft: DraftView,
    /// `saved`, `edited`, `removed`.
    pub done: &'static str,
}

/// `draft show`
#[derive(Debug, Clone, Serialize)]
pub struct DraftText {
    pub name: String,
    pub request_id: Option<String>,
    pub text: String,
}

/// Runs a verb of the noun.
pub async fn run(context: &Context, verb: DraftVerb) -> Result<Exit, Failure> {
    let drafts = Drafts::of(context)?;
    match verb {
        DraftVerb::Save { name, file } => {
            let draft = Draft { request_id: None, text: files::read_text(&file, BYTES_MAX)? };
            drafts.make(&name, &draft)?;
            saved(context, &name, &draft)
        }
        DraftVerb::List => {
            let names = drafts.names()?.into_iter();
            let all: Result<Vec<_>, Failure> = names
                .map(|name| drafts.read(&name).map(|draft| view(context, &name, &draft)))
                .collect();
            context.printer().report(&DraftsReport { drafts: all? })
        }
        DraftVerb::Show { name } => {
            let Draft { request_id, text } = drafts.read(&name)?;
            let request_id = request_id.map(|id| id.to_string());
            context.printer().report(&DraftText { name, request_id, text })
        }
        DraftVerb::Edit { name } => edit(context, &drafts, &name).await,
        DraftVerb::Submit { name, dry_run, wait } => {
            let node = context.node().await?;
            submit(context, &node, &drafts, &name, dry_run, wait).await
        }
        DraftVerb::Remove { name } => {
            let draft = view(context, &name, &drafts.read(&name)?);
            drafts.remove(&name)?;
            context.printer().report(&DraftReport { draft, done: "removed" })
        }
    }
}

/// Says that a draft is kept.
pub fn saved(context: &Context, name: &str, draft: &Draft) -> Result<Exit, Failure> {
    let draft = view(context, name, draft);
    context.printer().report(&DraftReport { draft, done: "saved" })
}

async fn edit(context: &Context, drafts: &Drafts, name: &str) -> Result<Exit, Failure> {
    drafts.read(name)?;
    let path = drafts.path(name);
    let by_hand = format!("edit {}", path.display());
    context.may_ask(&by_hand)?;
    let editor = context.editor().ok_or_else(|| {
        Failure::new(Exit::Usage, "Neither VISUAL nor EDITOR names a program.")
            .safe("nothing was changed")
            .with_remedy(by_hand)
    })?;
    // With its own arguments, as in `vim -n`.
    let mut words = editor.split_whitespace().map(str::to_owned);
    let program = words.next().unwrap_or_default();
    let mut command = std::process::Command::new(&program);
    command.args(words).arg(&path);
    let ended = apart(move || command.status()).await?;
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => {
            return Err(Failure::new(Exit::Attention, format!("{program} ended with {status}.")));
        }
        Err(error) => {
            return Err(Failure::new(Exit::Usage, format!("{program} does not start: {error}."))
                .safe("nothing was changed"));
        }
    }
    let draft = view(context, name, &drafts.read(name)?);
    context.printer().report(&DraftReport { draft, done: "edited" })
}

/// Sends a draft under its own request id, which is on disk before; once it is stored at the node
/// it is a draft no more.
pub async fn submit(
    context: &Context,
    node: &Node,
    drafts: &Drafts,
    name: &str,
    dry_run: bool,
    wait: Option<WaitFor>,
) -> Result<Exit, Failure> {
    let mut draft = drafts.read(name)?;
    let path = drafts.path(name);
    let id: RequestId = match draft.request_id {
        Some(id) => id,
        None => context.request_id(&RepeatArgs { request_id: None }),
    };
    let message = resolved(&draft.text, id, context.now(), &path)?;
    if !dry_run && draft.request_id.is_none() {
        draft.request_id = Some(id);
        drafts.write(name, &draft)?;
    }
    let again = context.command(&["draft", "submit", name]);
    let outgoing = Outgoing { id, draft: message, etag: String::new(), again, dry_run, wait };
    let sent = sending::send(context, node, outgoing).await;
    let report = match sent {
        Ok(report) => report,
        Err(failure) => {
            let refused =
                matches!(failure.exit, Exit::Faults | Exit::PeerNotTrusted | Exit::NotFound);
            if refused && !dry_run {
                // It is stored nowhere: the next try is a new one, whose times count from then.
                draft.request_id = None;
                drafts.write(name, &draft)?;
            }
            return Err(explained(failure, name, &path));
        }
    };
    if report.stored {
        drafts.remove(name)?;
    }
    context.printer().report(&report)
}

fn explained(failure: Failure, name: &str, path: &std::path::Path) -> Failure {
    match failure.exit {
        Exit::Faults if !failure.faults.is_empty() => {
            of_file(failure, path).only_remedy(format!("relay-cli draft edit {name}"))
        }
        Exit::Conflict => failure
            .safe("what the draft said at its first try is stored; this is not")
            .only_remedy("relay-cli outbox --all    (what was stored)")
            .with_remedy("relay-cli draft show NAME > FILE, then send it as a new message"),
        _ => failure.with_remedy(format!("it is kept: relay-cli draft submit {name}")),
    }
}

/// A draft as far as it can be judged here: read, then checked as a node would complete it.
fn view(context: &Context, name: &str, draft: &Draft) -> DraftView {
    let (name, tried, now) = (name.to_owned(), draft.request_id.is_some(), context.now());
    match message_file::parse(&draft.text, now) {
        Ok(message) => DraftView {
            name,
            kind: Some(words::kind(kind_of_draft(&message).into())),
            faults: form::check(&message, now).err().map(told).unwrap_or_default(),
            to: message.to,
            tried,
        },
        Err(faults) => DraftView { name, kind: None, to: Vec::new(), faults, tried },
    }
}

fn told(faults: Faults) -> Vec<Fault> {
    faults.iter().map(message_file::fault).collect()
}

impl DraftView {
    fn state(&self) -> String {
        match (self.faults.len(), self.tried) {
            (_, true) => "tried: submit it again to know".to_owned(),
            (0, false) => "can be submitted".to_owned(),
            (faults, false) => format!("{} to mend", count(faults, "place")),
        }
    }
}

impl Report for DraftsReport {
    const VERB: &'static str = "draft.list";

    fn people(&self, page: &mut Page) {
        page.line(match self.drafts.len() {
            0 => "No draft".to_owned(),
            number => count(number, "draft"),
        });
        page.gap();
        let mut table = Table::new(&["NAME", "KIND", "TO", "STATE"], 3);
        for draft in &self.drafts {
            let kind = draft.kind.clone().unwrap_or_default();
            table.row([draft.name.clone(), kind, draft.to.join(", "), draft.state()]);
        }
        page.table(&table);
    }
}

impl Report for DraftReport {
    const VERB: &'static str = "draft";

    fn people(&self, page: &mut Page) {
        let name = &self.draft.name;
        page.line(match self.done {
            "removed" => format!("REMOVED   draft {name}"),
            "edited" => format!("EDITED    draft {name}: {}", self.draft.state()),
            _ => format!("SAVED     draft {name}; nothing was sent"),
        });
        if self.done == "removed" {
            if self.draft.tried {
                page.line(
                    "A try to send it was made; whether it is stored: relay-cli outbox --all",
                );
            }
            return;
        }
        for fault in &self.draft.faults {
            page.hanging(&format!("  {}: {}", fault.path, fault.what), 4);
        }
        page.line(format!("relay-cli draft edit {name}, then relay-cli draft submit {name}"));
    }
}

impl Report for DraftText {
    const VERB: &'static str = "draft.show";

    fn people(&self, page: &mut Page) {
        page.file(&self.text);
    }
}

/// As of message files.
const BYTES_MAX: u64 = 2 * 1024 * 1024;
