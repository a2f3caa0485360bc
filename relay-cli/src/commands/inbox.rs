//! `inbox`: what came. No titles here: a screen in a duty room shows no personal data.

use serde::Serialize;

use super::{count, or_more, pages};
use crate::{
    args::ListArgs,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Page, Table},
    report::Report,
    view::MessageView,
};

/// Messages that came.
#[derive(Debug, Clone, Serialize)]
pub struct InboxReport {
    pub messages: Vec<MessageView>,
    /// Not all that match are listed.
    pub more: bool,
    /// Those that somebody took are listed as well.
    pub all: bool,
}

/// Asks the node.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let mut filter = "direction = IN".to_owned();
    if !args.all {
        filter.push_str(" AND acknowledged = no");
    }
    if let Some(peer) = &args.peer {
        filter.push_str(&format!(" AND peer = \"{peer}\""));
    }
    let (messages, more) = pages(&node, &filter, args.limit).await?;
    context.printer().report(&InboxReport { messages, more, all: args.all })
}

impl Report for InboxReport {
    const VERB: &'static str = "inbox";

    fn people(&self, page: &mut Page) {
        let open = self.messages.iter().filter(|m| m.acknowledgements.is_empty()).count();
        let more = or_more(self.more);
        page.line(match open {
            0 => "Nothing waits for you".to_owned(),
            n => format!("{}{more} to take: relay-cli ack REF --by NAME", count(n, "message")),
        });
        page.gap();
        let mut table = Table::new(&["REF", "FROM", "WHAT", "SINCE", "EXPIRES IN", "TAKEN BY"], 5);
        for message in &self.messages {
            let by = message.acknowledgements.first().map(|ack| match ack.by.as_str() {
                "" => ack.capacity.clone(),
                by => by.to_owned(),
            });
            table.row([
                message.short_id.clone(),
                message.from.clone(),
                message.kind_with_priority(),
                page.span(message.stored, ""),
                page.span(message.expires, "late"),
                by.unwrap_or_default(),
            ]);
        }
        page.table(&table);
        if self.more {
            page.line("There are more: --limit N");
        }
    }
}
