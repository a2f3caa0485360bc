//! `ack`: states that a message was taken, by a named officer or by a case system.

use relay_proto::v1;
use serde::Serialize;

use super::once_for_sure;
use crate::{
    args::AckArgs,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::Page,
    report::Report,
    view::{AckView, MessageView, ReceiptView},
};

/// What was stated.
#[derive(Debug, Clone, Serialize)]
pub struct AckReport {
    pub request_id: String,
    pub capacity: &'static str,
    pub by: String,
    pub already_acknowledged: bool,
    pub message: MessageView,
    pub receipt: Option<ReceiptView>,
}

/// Asks the node.
pub async fn run(context: &Context, args: &AckArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let id = context.request_id(&args.repeat);
    let (capacity, word) = match args.handover {
        true => (v1::AckCapacity::Handover, "handover"),
        false => (v1::AckCapacity::Desk, "desk"),
    };
    let by = args.by.clone().unwrap_or_default();
    let request = v1::AcknowledgeMessageRequest {
        request_id: id.to_string(),
        name: args.id.clone(),
        capacity: capacity.into(),
        by: by.clone(),
    };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.messages(), node.request(request.clone()));
        async move { client.acknowledge_message(request).await }
    });
    let answer = answer.await?;
    context.printer().report(&AckReport {
        request_id: id.to_string(),
        capacity: word,
        by,
        already_acknowledged: answer.already_acknowledged,
        message: MessageView::from(&answer.message.unwrap_or_default()),
        receipt: answer.receipt.as_ref().map(ReceiptView::from),
    })
}

impl Report for AckReport {
    const VERB: &'static str = "ack";

    fn people(&self, page: &mut Page) {
        let (short, from) = (&self.message.short_id, &self.message.from);
        let who = match (self.capacity, self.by.as_str()) {
            ("handover", "") => "a case system".to_owned(),
            (_, by) => by.to_owned(),
        };
        if self.already_acknowledged {
            let same = |ack: &&AckView| ack.capacity == self.capacity && !ack.by.is_empty();
            let earlier = self.message.acknowledgements.iter().find(same);
            let earlier = earlier.map(|ack| format!(" by {}", ack.by)).unwrap_or_default();
            page.line(format!("{short} was taken before{earlier}; that stands"));
            page.line(format!("{who} is noted here only; no second receipt was issued"));
            return;
        }
        let receipt = self.receipt.as_ref();
        let held = receipt.filter(|receipt| receipt.is_held());
        page.line(match held {
            Some(_) => format!("NOTED {short}, taken by {who}: NOT SIGNED, our log is held"),
            None => format!("TAKEN {short} by {who}"),
        });
        if let Some(ReceiptView { event, time, .. }) = receipt {
            page.line(match held {
                Some(_) => format!(
                    "to {from}: {event} is signed and sent when the log signs again \
                     (relay-cli status)"
                ),
                None => format!("to {from}: {event} of {}", page.when(*time)),
            });
        }
        page.line("Not stated by this: that anything was decided, or data preserved");
    }
}
