//! `receipts`: all that units stated about a message, in order.

use relay_proto::v1;
use serde::Serialize;
use tonic::Response;

use super::{count, message};
use crate::{
    args::RefArgs,
    client::Node,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Page, Table, time},
    report::Report,
    view::{MessageView, ReceiptView},
};

/// The receipts of a message.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptsReport {
    pub message: MessageView,
    pub receipts: Vec<ReceiptView>,
}

/// Asks the node.
pub async fn run(context: &Context, args: &RefArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let message = MessageView::from(&message(&node, &args.id).await?);
    let receipts = of_message(&node, &message.message_id).await?;
    context.printer().report(&ReceiptsReport { message, receipts })
}

/// The receipts of a message.
pub async fn of_message(node: &Node, id: &str) -> Result<Vec<ReceiptView>, Failure> {
    let request = v1::ListReceiptsRequest { name: id.to_owned() };
    let answer = node.messages().list_receipts(node.request(request)).await;
    let answer = answer.map(Response::into_inner).map_err(|status| node.failure(&status))?;
    Ok(answer.receipts.iter().map(ReceiptView::from).collect())
}

/// The receipts as a ladder; those that failed a check are marked.
pub fn ladder(page: &mut Page, receipts: &[ReceiptView]) {
    let mut table = Table::new(&["", "RECEIPT", "BY", "TIME", "STATES"], 4);
    for (step, receipt) in receipts.iter().enumerate() {
        let at = match receipt.time {
            Some(at) if page.look().utc => at.to_string(),
            Some(at) => time::short(at, page.now()),
            None => String::new(),
        };
        let mut states = receipt.meaning().to_owned();
        if let Some(actor) = &receipt.actor {
            states = format!("{actor} took it");
        }
        if let Some(reason) = &receipt.reason {
            states = format!("{reason}: {states}");
        }
        if receipt.is_held() {
            states = format!("NOT SIGNED while our log is held: {states}");
        } else if !receipt.verified {
            states = format!("NOT VERIFIED {}", receipt.flags.join(", "));
        } else if receipt.is_undated() {
            states = format!("TIME NOT PROVEN: {states}");
        }
        table.row([
            (step + 1).to_string(),
            receipt.event.clone(),
            receipt.issuer_unit.clone(),
            at,
            states,
        ]);
    }
    page.table(&table);
}

impl ReceiptsReport {
    /// Those that failed a check.
    fn bad(&self) -> usize {
        self.receipts.iter().filter(|receipt| !receipt.verified && !receipt.is_held()).count()
    }

    fn held(&self) -> usize {
        self.receipts.iter().filter(|receipt| receipt.is_held()).count()
    }
}

impl Report for ReceiptsReport {
    const VERB: &'static str = "receipts";

    fn people(&self, page: &mut Page) {
        let short = &self.message.short_id;
        let number = count(self.receipts.len(), "receipt");
        page.line(match (self.bad(), self.held()) {
            (0, 0) => format!("{number} for {short}, all verified here"),
            (0, n) => format!("{n} of {number} for {short} NOT SIGNED: our log is held"),
            (n, _) => format!("{n} of {number} for {short} NOT VERIFIED"),
        });
        if self.held() > 0 {
            page.line("Noted; signed and sent when the log signs again: relay-cli status");
        }
        page.gap();
        ladder(page, &self.receipts);
        for receipt in &self.receipts {
            if page.verbose() {
                let (log, index, leaf) = (&receipt.log, receipt.index, &receipt.leaf_hash);
                page.line(format!("{}  {log}  index {index}  leaf {leaf}", receipt.event));
                page.line(format!("  clock {}  node {}", receipt.clock, receipt.issuer_node));
            }
        }
        page.gap();
        // A log that is held gives no evidence.
        if self.held() == 0 {
            page.line(format!("For others: relay-cli evidence export {short} --to DIR"));
        }
    }

    fn exit(&self) -> Exit {
        match (self.bad(), self.held()) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Attention,
            _ => Exit::Invalid,
        }
    }
}
