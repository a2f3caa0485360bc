//! `withdraw`: the requesting side needs a request, or items of it, no more (kind 21).

use relay_proto::v1::{self, payload::Body};

use super::casework::{Saying, Standing, dated, own_number};
use crate::{args::WithdrawArgs, context::Context, exit::Exit, failure::Failure};

/// Reads the case, sends the withdrawal.
pub async fn run(context: &Context, args: WithdrawArgs) -> Result<Exit, Failure> {
    let (id, _) = dated(context, &args.post)?;
    let node = context.node().await?;
    let standing = Standing::of(&node, &args.case).await?;
    let withdrawal = v1::Withdrawal {
        items: args.item.clone(),
        reason: v1::WithdrawalReason::from(args.reason).into(),
        note: args.note.clone().unwrap_or_default(),
    };
    let saying = Saying {
        body: Body::Withdrawal(withdrawal),
        sender_ref: own_number(&standing)?,
        in_reply_to: None,
        taken: Vec::new(),
    };
    standing.send(context, &node, (id, &args.post), saying).await
}
