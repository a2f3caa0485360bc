//! The warning that our node sends by itself where our unit preserves data.

use std::sync::Arc;

use relay_proto::{
    envelope::Priority,
    ids::{Digest, Uuid},
    limits::LIFETIME_MAX,
    timestamp::Timestamp,
    v1,
};
use tracing::warn;

use super::{
    Name, Terms,
    term::{DAY, Term},
};
use crate::{
    relay::{
        Relay,
        submit::{Principal, Submission, SubmitError},
    },
    store::records::MessageRecord,
};

impl Terms {
    /// Warns the other side that the time ends; false: not now.
    pub(super) async fn warn(&self, term: &Term<'_>, name: &Name, now: Timestamp) -> bool {
        let Some(record) = term.request(&self.ctx) else { return false };
        let relay = Relay { ctx: Arc::clone(&self.ctx) };
        let end = term.record.due();
        // The same id for the same occasion: if the node dies now, or the case is looked at again,
        // it is not sent twice.
        let peer = name.1.as_str().as_bytes();
        let [due, occasion] = [end, term.occasion(now)].map(|at| at.as_millis().to_be_bytes());
        let digest = Digest::of_parts(&[name.0.as_bytes(), peer, &due, &occasion]);
        let mut id = [0; 16];
        id.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        let submission = Submission {
            principal: Principal::node(),
            request_id: Uuid::random(id),
            draft: warning(&record, name, end, now),
            validate_only: false,
            etag: String::new(),
            granted: None,
        };
        match relay.submit(vec![submission]).await.pop() {
            // It was sent, with the days that were left then.
            Some(Ok(_) | Err(SubmitError::RequestConflict)) => true,
            Some(Err(error)) => {
                warn!(case = %name.0, peer = %name.1, %error, "end of preservation not warned of");
                false
            }
            None => false,
        }
    }
}

/// What our node says by itself.
fn warning(record: &MessageRecord, name: &Name, end: Timestamp, now: Timestamp) -> v1::Draft {
    let id = record.message_id();
    let reference = id.map(|id| id.short().to_string()).unwrap_or_default();
    let days_left = end.since(now).as_secs() / DAY;
    let body = v1::ExpiryWarning {
        q_reference: String::new(),
        preserved_until_ms: end.as_millis(),
        days_left: u32::try_from(days_left).unwrap_or(u32::MAX),
        // Else nothing would end.
        mla_seen: v1::Answer::No.into(),
    };
    v1::Draft {
        profile: record.profile.clone(),
        to: vec![name.1.to_string()],
        priority: Priority::Routine.to_wire().into(),
        // A side that cannot be reached for weeks is to have it all the same.
        expire_time: instant(now.after(LIFETIME_MAX)),
        payload: Some(v1::Payload {
            case_id: name.0.as_bytes().to_vec().into(),
            in_reply_to: id.map(|id| id.as_bytes().to_vec().into()).unwrap_or_default(),
            sender_ref: reference,
            body: Some(v1::payload::Body::ExpiryWarning(body)),
            ..v1::Payload::default()
        }),
    }
}

fn instant(at: Timestamp) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(at.as_millis() / 1000).ok()?;
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}
