//! `mla`: the requesting side says how far its request for mutual assistance is (kind 19). That
//! alone stops no clock; the requested side's confirmation that it came does (Article 29(7)).

use relay_proto::v1::{self, payload::Body};

use super::casework::{Saying, Standing, dated, own_number, today};
use crate::{args::MlaArgs, context::Context, exit::Exit, failure::Failure};

/// Reads the case, sends the notice.
pub async fn run(context: &Context, args: MlaArgs) -> Result<Exit, Failure> {
    let (id, now) = dated(context, &args.post)?;
    let node = context.node().await?;
    let standing = Standing::of(&node, &args.case).await?;
    let notice = v1::MlaNotice {
        mla_reference: args.reference.clone(),
        status: v1::MlaStatus::from(args.status).into(),
        channel: args.channel.clone(),
        central_authority: args.authority.clone(),
        date: args.date.clone().unwrap_or_else(|| today(now)),
    };
    let saying = Saying {
        body: Body::MlaNotice(notice),
        sender_ref: own_number(&standing)?,
        in_reply_to: None,
        taken: Vec::new(),
    };
    standing.send(context, &node, (id, &args.post), saying).await
}
