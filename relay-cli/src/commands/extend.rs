//! `extend`: the requesting side asks for a later end of preservation (kind 17).

use relay_proto::v1::{self, payload::Body};

use super::casework::{Saying, Standing, dated, own_number};
use crate::{args::ExtendArgs, context::Context, exit::Exit, failure::Failure};

/// Reads the case, asks for the extension under the number of the other side's confirmation.
pub async fn run(context: &Context, args: ExtendArgs) -> Result<Exit, Failure> {
    let (id, now) = dated(context, &args.post)?;
    let node = context.node().await?;
    let standing = Standing::of(&node, &args.case).await?;
    let extension = v1::ExtensionRequest {
        previous_reference: standing.their_reference(&node).await?.unwrap_or_default(),
        items: args.item.clone(),
        requested_until_ms: args.until.until(now).as_millis(),
        reason: args.reason.clone(),
        mla_status: v1::MlaStatus::from(args.mla_status).into(),
    };
    let saying = Saying {
        body: Body::ExtensionRequest(extension),
        sender_ref: own_number(&standing)?,
        in_reply_to: None,
        taken: Vec::new(),
    };
    standing.send(context, &node, (id, &args.post), saying).await
}
