//! `show`: one message. Who has it, who took it, then what it says.

use relay_proto::v1;
use serde::Serialize;
use serde_json::Value;

use super::{count, full, message, paper, receipts, tell_stuck};
use crate::{
    args::ShowArgs,
    context::Context,
    exit::Exit,
    failure::Failure,
    message_file,
    render::{Page, Table, clean},
    report::Report,
    terminal::ask,
    view::{DeliveryView, MessageView, ReceiptView, UsesView, stated},
};

/// A message with its receipts and content.
#[derive(Debug, Clone, Serialize)]
pub struct ShowReport {
    pub message: MessageView,
    pub title: Option<String>,
    pub receipts: Vec<ReceiptView>,
    /// The content as a message file; null with `--no-content`, or when it was erased.
    pub content: Value,
}

/// Asks the node.
pub async fn run(context: &Context, args: &ShowArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let answer = match args.no_content {
        true => message(&node, &args.id).await?,
        false => full(context, &node, &args.id).await?,
    };
    if let Some(format) = args.paper.format {
        return paper::request(context, &answer, format, &args.paper);
    }
    if !args.no_content {
        confirmed(context, &answer).await?;
    }
    let receipts = receipts::of_message(&node, &answer.message_id).await?;
    context.printer().report(&ShowReport {
        message: MessageView::from(&answer),
        title: stated(&answer.title).filter(|_| !args.no_content),
        receipts,
        content: message_file::content(&answer),
    })
}

/// H3: at a terminal the conditions are confirmed before the content is shown; a program has them
/// in its document, and acts by `uses.confirm_first`.
async fn confirmed(context: &Context, message: &v1::Message) -> Result<(), Failure> {
    let asks = message.uses.as_ref().is_some_and(|uses| uses.confirm_first);
    if !asks || !context.at_terminal() {
        return Ok(());
    }
    let handling = message.payload.as_ref().and_then(|payload| payload.handling.as_ref());
    let conditions = handling.map(|handling| handling.conditions.as_slice()).unwrap_or_default();
    let say = |text: &str| context.printer().say(&clean(text));
    say("H3: its sender's conditions bind whoever reads it:");
    conditions.iter().for_each(|condition| say(&format!("  {condition}")));
    match ask("Type yes to confirm and open it: ").await?.as_str() {
        "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Usage, "Not confirmed, so it was not opened.")
            .safe("nothing was changed")
            .with_remedy(format!("relay-cli show {} --no-content", message.short_id))),
    }
}

impl ShowReport {
    /// How far it has got, in one line.
    fn verdict(&self) -> String {
        let message = &self.message;
        let short = &message.short_id;
        if message.is_incoming() {
            let taken = message.acknowledgements.iter().map(|ack| match ack.by.as_str() {
                "" => "a case system".to_owned(),
                by => by.to_owned(),
            });
            let taken: Vec<String> = taken.collect();
            return match taken.is_empty() {
                true => format!("{short} NOT TAKEN yet: relay-cli ack {short} --by NAME"),
                false => format!("{short} taken by {}", taken.join(", ")),
            };
        }
        let (number, delivered) = (message.deliveries.len(), message.delivered());
        let lost = message.deliveries.iter().filter(|delivery| delivery.is_lost()).count();
        let accepted = v1::Event::ConsignmentAcceptance;
        let taken = self.receipts.iter().filter(|r| r.verified && r.event() == accepted).count();
        let mut text = format!("{short} at {delivered} of {}", count(number, "recipient"));
        text.push_str(&format!(", taken by {}", count(taken, "officer")));
        if lost > 0 {
            text.push_str(&format!(", {lost} WILL NOT GET IT"));
        } else if message.deliveries.iter().any(DeliveryView::is_held) {
            let held = message.deliveries.iter().filter(|delivery| delivery.is_held()).count();
            text.push_str(&format!(", {held} HELD"));
        } else if delivered < number {
            text.push_str(", the rest is retried");
        }
        text
    }

    fn way(&self, page: &mut Page) {
        let mut table = Table::new(&["TO", "STATE", "SINCE", "TRIES", "NEXT TRY", "WHY"], 5);
        for delivery in &self.message.deliveries {
            table.row([
                delivery.recipient.clone(),
                delivery.state.clone(),
                page.distance(delivery.settled.or(delivery.queued)),
                delivery.attempts.to_string(),
                page.distance(delivery.next_attempt.filter(|_| delivery.is_open())),
                delivery.reason.clone().unwrap_or_default(),
            ]);
        }
        page.table(&table);
        if self.message.deliveries.iter().any(|one| one.is_open() && !one.is_held()) {
            page.line(format!("To try now: relay-cli retry {}", self.message.short_id));
        }
        tell_stuck(page, std::iter::once(&self.message));
        page.gap();
    }
}

impl Report for ShowReport {
    const VERB: &'static str = "show";

    fn people(&self, page: &mut Page) {
        let message = &self.message;
        page.line(self.verdict());
        page.line(format!("{} from {}", message.kind_with_priority(), message.from));
        if message.exercise {
            page.line("A drill: nothing of it may reach a provider");
        }
        if message.recovered {
            page.line("RECOVERED: it came again after our log lost its receipt; it may have been");
            page.line("acted on already");
        }
        page.gap();
        self.way(page);
        receipts::ladder(page, &self.receipts);
        page.gap();
        page.fact("TO", message.to.join(", "));
        page.fact("PROFILE", &message.profile);
        page.fact("CREATED", page.when(message.created));
        page.fact("STORED", page.when(message.stored));
        page.fact("EXPIRES", page.when(message.expires));
        page.fact("ID", &message.message_id);
        if page.verbose() {
            page.fact("DIGEST", &message.header_digest);
        }
        if let Some(title) = &self.title {
            page.fact("TITLE", title);
        }
        if !self.content.is_null() {
            page.gap();
            for line in self.message.uses.iter().flat_map(UsesView::banner) {
                page.line(line);
            }
            page.line("CONTENT");
            content(page, None, &self.content, 1, CONTENT_DEPTH_MAX);
        }
    }
}

/// The content as indented `name: value` lines; it is a peer's, so nothing of it is a heading of
/// ours.
fn content(page: &mut Page, name: Option<&str>, value: &Value, level: usize, depth: usize) {
    let indent = "  ".repeat(level);
    let label = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let nested: Vec<(Option<&str>, &Value)> = match value {
        _ if depth == 0 => return page.line(format!("{indent}{label}...")),
        Value::Object(fields) => fields.iter().map(|(k, v)| (Some(k.as_str()), v)).collect(),
        Value::Array(items) if items.iter().any(|i| i.is_object() || i.is_array()) => {
            items.iter().map(|item| (Some("-"), item)).collect()
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            return page.quote(&format!("{label}{}", items.join(", ")), indent.len());
        }
        other => return page.quote(&format!("{label}{}", plain(other)), indent.len()),
    };
    if let Some(name) = name {
        let name = if name == "-" { name.to_owned() } else { format!("{name}:") };
        page.quote(&name, indent.len());
    }
    let deeper = if name.is_some() { level + 1 } else { level };
    for (name, value) in nested {
        content(page, name, value, deeper, depth - 1);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Message files are not nested deeper than wire messages.
const CONTENT_DEPTH_MAX: usize = 12;
