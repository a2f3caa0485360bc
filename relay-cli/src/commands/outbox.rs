//! `outbox`: our messages on their way, per recipient, with the reason and the next try.

use serde::Serialize;

use super::{count, or_more, pages, tell_stuck, waits};
use crate::{
    args::ListArgs,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Page, Table},
    report::Report,
    view::{DeliveryView, MessageView},
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
        let number = |is: fn(&DeliveryView) -> bool| {
            self.messages.iter().filter(|m| m.deliveries.iter().any(is)).count()
        };
        let (open, held) = (number(DeliveryView::is_open), number(DeliveryView::is_held));
        let tried = number(|delivery| delivery.is_open() && !delivery.is_held());
        page.line(match open {
            0 => "Nothing waits: every message is settled".to_owned(),
            n => {
                let waits = waits(held, held + tried);
                let more = or_more(self.more);
                format!("{}{more} without the peer's receipt. {waits}", count(n, "message"))
            }
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
            tell_stuck(page, self.messages.iter());
        }
        if tried > 0 {
            page.line(
                "To try now: relay-cli retry REF.  Why a peer is silent: relay-cli peer list",
            );
        }
    }
}
