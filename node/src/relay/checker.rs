//! What a receiver checks of one receipt, and why one that is genuine changes nothing.
//!
//! Enter through [`Checker`]. Reads the store, writes nothing.

use bytes::Bytes;
use relay_proto::{
    envelope::Header,
    ids::{Digest, UnitId},
    limits,
    reason::Reason,
    receipt::{Expected, Legality, Logged, Received, Statement, check_receipt, legal_after},
    tlog::SignedCheckpoint,
    v1,
};
use tracing::warn;

use super::{Context, alarms::unreadable};
use crate::{
    directory::Peer,
    store::{NewReceipt, StoreError},
    telemetry::Counter,
};

/// Checks the receipts of one group.
pub(super) struct Checker<'a> {
    pub ctx: &'a Context,
    /// Their issuer.
    pub unit: &'a UnitId,
    /// The group's checkpoint.
    pub signed: &'a SignedCheckpoint,
    /// The issuer's card, and those before it.
    pub peer: &'a Peer,
}

/// What is wrong with a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is about a message that is not here, as after a restore.
    NotHere,
    /// It is itself not as it must be.
    Bad(Reason),
}

impl Checker<'_> {
    /// Tells that the message of a receipt cannot be read.
    pub async fn unreadable(
        &self,
        numbered: &v1::NumberedReceipt,
        error: &StoreError,
    ) -> Result<(), StoreError> {
        let Ok(statement) = Statement::from_bytes(&numbered.statement) else { return Ok(()) };
        match self.ctx.parts.store.message(&statement.header_digest)? {
            Some(record) => unreadable(self.ctx, &record, error).await,
            None => Ok(()),
        }
    }

    /// Checks one receipt. `taken` came before it in its group.
    pub fn check(
        &self,
        numbered: &v1::NumberedReceipt,
        taken: &[Statement],
    ) -> Result<Result<(NewReceipt, Statement), Wrong>, StoreError> {
        let statement = match Statement::from_bytes(&numbered.statement) {
            Ok(statement) => statement,
            Err(error) => return Ok(Err(Wrong::Bad(error.reason()))),
        };
        let Some(header) = self.header(&statement.header_digest)? else {
            return Ok(Err(Wrong::NotHere));
        };
        let Some(path) = digests(&numbered.path, limits::PATH_HASHES_MAX) else {
            return Ok(Err(Wrong::Bad(Reason::BadInclusion)));
        };
        let received = Received { statement: &statement, index: numbered.index, path: &path };
        let (issuer, earlier) = (&*self.peer.card, &*self.peer.earlier);
        let expected = Expected { header: &header, issuer, earlier, hubs: &[] };
        if let Err(error) = check_receipt(received, self.signed.checkpoint(), expected) {
            return Ok(Err(Wrong::Bad(error.reason())));
        }
        let actor_fits = numbered.actor.is_empty()
            || (numbered.actor.chars().count() <= limits::ACTOR_CHARS_MAX
                && statement.is_actor(&numbered.actor));
        if !actor_fits {
            return Ok(Err(Wrong::Bad(Reason::Malformed)));
        }
        let mut flags = self.flags(&statement, taken)?;
        if expected.is_outside(&statement, &self.signed.checkpoint().origin) {
            // Its clock proves nothing. It settles, or an honest peer would get the message again
            // without end; its part of the evidence is UNPROVEN-TIME.
            flags.push(Reason::ClockUntrusted);
        }
        let receipt = NewReceipt {
            digest: header.digest,
            recipient: statement.recipient.clone(),
            event: statement.event,
            reason: statement.reason.clone().unwrap_or_default(),
            statement: numbered.statement.clone(),
            index: numbered.index,
            path: numbered.path.clone(),
            actor: numbered.actor.clone(),
            flags,
        };
        Ok(Ok((receipt, statement)))
    }

    /// Why a receipt that is genuine changes nothing.
    fn flags(&self, statement: &Statement, taken: &[Statement]) -> Result<Vec<Reason>, StoreError> {
        let held = self.ctx.parts.store.receipts(&statement.header_digest)?;
        let held = held.iter().filter_map(|held| {
            let statement = Statement::from_bytes(&held.statement).ok()?;
            Some(Logged { statement, log: held.origin.parse().ok() })
        });
        // One group may contradict itself.
        let same = |one: &&Statement| one.header_digest == statement.header_digest;
        let log = Some(self.signed.checkpoint().origin.clone());
        let logged = |one: &Statement| Logged { statement: one.clone(), log: log.clone() };
        let held: Vec<Logged> = held.chain(taken.iter().filter(same).map(logged)).collect();
        Ok(match legal_after(&held, &logged(statement)) {
            Legality::Applied | Legality::Repeats => Vec::new(),
            Legality::LateAfterFailure => {
                if let Some(left_out) = self.ctx.quotas.meter(self.unit).line() {
                    let message = statement.message_id;
                    warn!(%message, left_out, "receipt came after the failure was stated");
                }
                vec![Reason::LateAfterFailure]
            }
            Legality::Contradiction => {
                self.ctx.parts.counters.add(Counter::Equivocation);
                if let Some(left_out) = self.ctx.quotas.meter(self.unit).line() {
                    let message = statement.message_id;
                    warn!(peer = %self.unit, %message, left_out, "receipts contradict");
                }
                vec![Reason::Contradiction]
            }
        })
    }

    /// The header of one of our own messages: receipts of others are about nothing that we sent.
    fn header(&self, digest: &Digest) -> Result<Option<Header>, StoreError> {
        let record = self.ctx.parts.store.message(digest)?.filter(|record| record.is_out());
        let Some(record) = record else { return Ok(None) };
        Ok(Header::stored(&self.ctx.parts.store.header(&record)?).ok())
    }
}

/// Hashes of the wire, if there are not too many.
pub(super) fn digests(hashes: &[Bytes], max: usize) -> Option<Vec<Digest>> {
    if hashes.len() > max {
        return None;
    }
    hashes.iter().map(|hash| Digest::from_bytes(hash).ok()).collect()
}
