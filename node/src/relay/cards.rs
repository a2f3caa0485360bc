//! Whether a message suits the cards of its two units, and whether an emergency reply answers a
//! request: asked of what we send and of what arrives.
//!
//! Enter through [`Context::suits`] and [`Context::takes`]. The rules are core's; here the cards
//! are chosen: our own, and the newest that is held of the other unit.

use relay_core::{
    policy::{self, Ends},
    profile::Profile,
};
use relay_proto::{payload::Payload, reason::Reason, v1};
use tracing::debug;

use super::{
    Context,
    submit::{SubmitError, together},
};
use crate::store::StoreError;

impl Context {
    /// Of a message of ours: by the card of each recipient, all that is wrong together.
    pub(super) fn suits(&self, profile: &Profile, message: &Payload) -> Result<(), SubmitError> {
        if !self.is_answered(message)? {
            return Err(SubmitError::Refused(Reason::UnknownCase));
        }
        let (sender, snapshot) = (self.parts.directory.own(), self.parts.directory.snapshot());
        let mut unfit = Vec::new();
        for peer in message.to.iter().filter_map(|unit| snapshot.peer(unit)) {
            let judged = policy::by_cards(profile, message, Ends { sender, recipient: &peer.card });
            unfit.extend(judged.err().map(|unfit| SubmitError::Cards(Box::new(unfit))));
        }
        if unfit.is_empty() { Ok(()) } else { Err(together(unfit)) }
    }

    /// Of a message that arrived. `INTERNAL`: it cannot be told now.
    pub(super) fn takes(&self, profile: &Profile, message: &Payload) -> Result<(), Reason> {
        match self.is_answered(message) {
            Ok(true) => {}
            Ok(false) => return Err(Reason::UnknownCase),
            Err(_) => return Err(Reason::Internal),
        }
        let (recipient, snapshot) = (self.parts.directory.own(), self.parts.directory.snapshot());
        // Its header verified a moment ago: who was suspended since is told so by the link.
        let sender = snapshot.verified(&message.from).ok_or(Reason::Internal)?;
        let ends = Ends { sender: &sender.card, recipient };
        policy::by_cards(profile, message, ends).map_err(|unfit| {
            let (peer, of, card) = (&message.from, &unfit.unit, unfit.card);
            debug!(%peer, reason = unfit.reason.label(), %of, card, "message refused by a card");
            unfit.reason
        })
    }

    /// An emergency reply goes from the unit that was asked to the one that asked it, in the
    /// request's case; any other kind is answered elsewhere.
    fn is_answered(&self, message: &Payload) -> Result<bool, StoreError> {
        if message.kind() != v1::Kind::EmergencyReply {
            return Ok(true);
        }
        let store = &self.parts.store;
        let (Some(asking), Some(id)) = (message.to.first(), &message.in_reply_to) else {
            return Ok(false);
        };
        let Some(digest) = store.by_sender(asking, id)? else { return Ok(false) };
        Ok(store.message(&digest)?.is_some_and(|request| {
            request.kind == v1::Kind::EmergencyRequest as u32
                && request.to == [message.from.to_string()]
                && request.case_id == message.case_id.as_bytes().as_slice()
        }))
    }
}
