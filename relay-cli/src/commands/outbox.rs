//! `outbox`: our messages on their way, per recipient, with the reason and the next try.

use serde::Serialize;

use super::{count, pages, tell_refusing};
use crate::{
    args::ListArgs,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Page, Table},
    report::Report,
    view::MessageView,
};

/// Messages of ours.
#[derive(Debug, Clone, Serialize)]
pub struct OutboxReport {
    pub messages: Vec<MessageView>,
    /// Not all that match are listed.
    pub more: bool,
    /// Settled ones are listed as well.
    pub all: bool,
}

/// Asks the node: all of ours, or those of which a delivery is open.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let mut filter = "direction = OUT".to_owned();
    if !args.all {
        filter.push_str(" AND open = yes");
    }
    if let Some(peer) = &args.peer {
        filter.push_str(&format!(" AND peer = \"{peer}\""));
    }
    let (mut messages, more) = pages(&node, &filter, args.limit).await?;
    messages.sort_by_key(|message| message.stored);
    context.printer().report(&OutboxReport { messages, more, all: args.all })
}

impl Report for OutboxReport {
    const VERB: &'static str = "outbox";

    fn people(&self, page: &mut Page) {
        let waiting = |m: &&MessageView| m.deliveries.iter().any(|delivery| delivery.is_open());
        let open = self.messages.iter().filter(waiting).count();
        page.line(match open {
            0 => "Nothing waits: every message is settled".to_owned(),
            n => format!(
                "{} without the peer's receipt. Safe on disk, retrying",
                count(n, "message")
            ),
        });
        page.gap();
        let mut table = Table::new(&["REF", "TO", "STATE", "TRIES", "NEXT TRY", "WHY"], 5);
        for message in &self.messages {
            for delivery in &message.deliveries {
                if !self.all && !delivery.is_open() {
                    continue;
                }
                table.row([
                    message.short_id.clone(),
                    delivery.recipient.clone(),
                    delivery.state.clone(),
                    delivery.attempts.to_string(),
                    page.distance(delivery.next_attempt.filter(|_| delivery.is_open())),
                    delivery.reason.clone().unwrap_or_default(),
                ]);
            }
        }
        page.table(&table);
        if self.more {
            page.line("There are more: --limit N");
        }
        if open > 0 {
            page.gap();
            tell_refusing(page, self.messages.iter());
            page.line(
                "To try now: relay-cli retry REF.  Why a peer is silent: relay-cli peer list",
            );
        }
    }
}
