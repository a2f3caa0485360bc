//! `retry`: clears the back-off of the peers that a message waits for.

use relay_proto::v1;
use serde::Serialize;

use super::once_for_sure;
use crate::{
    args::RefArgs,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::Page,
    report::Report,
    view::{MessageView, words},
};

/// What is tried again.
#[derive(Debug, Clone, Serialize)]
pub struct RetryReport {
    pub request_id: String,
    pub message: MessageView,
}

/// Asks the node.
pub async fn run(context: &Context, args: &RefArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let id = context.request_id(&args.repeat);
    let request = v1::RetryMessageRequest { request_id: id.to_string(), name: args.id.clone() };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.messages(), node.request(request.clone()));
        async move { client.retry_message(request).await }
    });
    let answer = answer.await.map_err(|failure| match failure.reason.as_deref() {
        Some(words::PEER_SUSPENDED | words::PEER_UNVERIFIED | words::UNKNOWN_RECIPIENT) => {
            failure.safe("the message is stored, and held while this lasts")
        }
        _ => failure,
    });
    let message = answer?.message.unwrap_or_default();
    let message = MessageView::from(&message);
    context.printer().report(&RetryReport { request_id: id.to_string(), message })
}

impl Report for RetryReport {
    const VERB: &'static str = "retry";

    fn people(&self, page: &mut Page) {
        let short = &self.message.short_id;
        let open = || self.message.deliveries.iter().filter(|delivery| delivery.is_open());
        match open().count() {
            0 => page.line(format!("Nothing to try: {short} waits for nobody")),
            _ => page.line(format!("TRYING AGAIN {short} now")),
        }
        for delivery in open() {
            let why = delivery.reason.as_ref().map(|why| format!(", last {why}"));
            page.line(format!(
                "{}  {} after {} tries{}",
                delivery.recipient,
                delivery.state,
                delivery.attempts,
                why.unwrap_or_default()
            ));
        }
        page.line(format!("Track: relay-cli show {short}"));
    }
}
