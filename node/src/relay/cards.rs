//! Whether a message suits the cards of its two units: asked of what we send and of what arrives.
//!
//! Enter through [`Context::suits`] and [`Context::takes`]. The rules are core's; here the cards
//! are chosen: our own, and the newest that is held of the other unit.

use relay_core::{
    policy::{self, Ends},
    profile::Profile,
};
use relay_proto::{payload::Payload, reason::Reason};
use tracing::debug;

use super::{
    Context,
    submit::{SubmitError, together},
};

impl Context {
    /// Of a message of ours: by the card of each recipient, all that is wrong together.
    pub(super) fn suits(&self, profile: &Profile, message: &Payload) -> Result<(), SubmitError> {
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
}
