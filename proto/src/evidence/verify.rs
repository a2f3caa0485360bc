//! The judgement of a bundle.
//!
//! Order: cards, header, payload, each receipt, then the receipts against each other. Every step
//! goes on after a problem, so that the verdict names all of them. Invariant: a key counts as
//! anchored only through an anchor for the very unit or log that it speaks for.

use bytes::Bytes;

use crate::{
    card::WorkingKey,
    envelope::{Header, HeaderError},
    evidence::{
        anchors::TrustAnchors,
        verdict::{Bounds, Effect, NOT_PROVEN, Outcome, Problem, ReceiptLine, Verdict},
        verify::{cross::cross_check, outcome::judge, parties::Parties},
    },
    ids::{Digest, LogOrigin, UnitId},
    keys::{KeyId, PublicKey},
    limits,
    payload::{check_inner, open_clear},
    reason::Reason,
    receipt::{Statement, check_message, is_outside},
    scan::{self, schema},
    tlog::{Checkpoint, CheckpointError, SignedCheckpoint, path_from_wire, verify_inclusion},
    v1,
};

mod cross;
#[cfg(test)]
mod growth;
mod outcome;
mod parties;
#[cfg(test)]
mod tests;

/// Checks everything in a bundle against what the verifier trusts.
pub fn verify(bundle: &v1::EvidenceBundle, trust: &TrustAnchors) -> Verdict {
    let mut verdict = Verdict {
        outcome: Outcome::Invalid,
        anchored_by: Default::default(),
        unanchored: Default::default(),
        message_id: None,
        header_digest: None,
        from: None,
        to: Vec::new(),
        payload_matches: false,
        ladder: Vec::new(),
        parts: Default::default(),
        problems: Vec::new(),
        not_proven: NOT_PROVEN,
    };
    let parties = Parties::read(&bundle.cards, trust, &mut verdict);
    let header = check_header(bundle.header.as_ref(), &parties, &mut verdict);
    check_payload(&bundle.payload, header.as_ref(), &mut verdict);
    let mut checked = Vec::new();
    for (position, receipt) in bundle.receipts.iter().enumerate() {
        let mut case = Case {
            number: position + 1,
            parties: &parties,
            trust,
            header: header.as_ref(),
            verdict: &mut verdict,
            issuer: None,
            verified: true,
        };
        checked.extend(case.check(receipt));
    }
    cross_check(&checked, &mut verdict);
    judge(&mut verdict);
    verdict
}

/// A receipt whose statement could be read.
struct Checked {
    number: usize,
    statement: Statement,
    index: u64,
    checkpoint: Option<Checkpoint>,
}

fn check_header(
    signed: Option<&v1::Signed>,
    parties: &Parties<'_>,
    verdict: &mut Verdict,
) -> Option<Header> {
    let Some(signed) = signed else {
        verdict.invalid("header", Reason::Malformed, "the bundle has no header");
        return None;
    };
    verdict.header_digest = Some(Digest::of(&signed.bytes));
    // The signer's name is inside: it only chooses whose keys are tried.
    let raw = scan::decode::<v1::Header>(&signed.bytes, &schema::HEADER, limits::HEADER_BYTES_MAX);
    let raw = match raw {
        Ok(raw) => raw,
        Err(error) => {
            verdict.invalid("header", error.reason(), &error.to_string());
            return None;
        }
    };
    let signer = raw.signer.as_ref().and_then(|signer| signer.unit.parse::<UnitId>().ok());
    let Some(signer) = signer.filter(|unit| parties.knows(unit)) else {
        verdict.invalid("header", Reason::UnknownSender, "no card of the sender is at hand");
        return None;
    };
    let mut used: Option<WorkingKey> = None;
    let opened = Header::open(signed, |id: KeyId| {
        used = parties.signing_keys(&signer, id).first().copied();
        used.map(|key| (signer.clone(), key.key))
    });
    let header = match opened {
        Ok(header) => header,
        Err(error) => {
            verdict.invalid("header", header_reason(&error), &error.to_string());
            return None;
        }
    };
    if let Some(key) = used {
        check_key_time(&parties.signing_keys(&signer, key.key.id()), &header, verdict);
    }
    parties.anchor(&signer, verdict);
    verdict.message_id = Some(header.message_id);
    verdict.from = Some(header.from.clone());
    verdict.to.clone_from(&header.to);
    Some(header)
}

fn header_reason(error: &HeaderError) -> Reason {
    match error {
        HeaderError::Signed(error) => error.reason(),
        HeaderError::Rule(reason) => *reason,
    }
}

/// A time that the signer wrote does not protect against a thief of its key: only others' times
/// would. A newer card that narrows the window takes nothing back.
fn check_key_time(key: &[WorkingKey], header: &Header, verdict: &mut Verdict) {
    if key.iter().any(is_revoked) {
        let text = "the sender's key was revoked, and nobody else proves when it signed";
        verdict.problem(Effect::UnprovenTime, "header", None, Reason::KeyRevoked, text);
    }
    let at = header.created_at;
    if key.iter().all(|key| at < key.not_before || at > key.not_after) {
        let text = "the header is dated outside the window of its key";
        verdict.invalid("header", Reason::UnknownKey, text);
    }
}

fn is_revoked(key: &WorkingKey) -> bool {
    key.status == v1::KeyStatus::Revoked || key.compromised_since.is_some()
}

fn check_payload(payload: &Bytes, header: Option<&Header>, verdict: &mut Verdict) {
    let Some(header) = header.filter(|_| !payload.is_empty()) else { return };
    if Digest::of(payload) != header.payload_digest {
        let text = "the payload is not the one that the header fixes";
        verdict.invalid("payload", Reason::PayloadMismatch, text);
        return;
    }
    match open_clear(payload) {
        // A header may have been put before another's payload.
        Ok(opened) => match check_inner(payload, &opened, header) {
            Ok(()) => verdict.payload_matches = true,
            Err(reason) => {
                let text = "the payload names another sender, id, recipients or attachments";
                verdict.invalid("payload", reason, text);
            }
        },
        Err(error) => verdict.invalid("payload", error.reason(), &error.to_string()),
    }
}

/// The check of one receipt.
struct Case<'a> {
    number: usize,
    parties: &'a Parties<'a>,
    trust: &'a TrustAnchors,
    header: Option<&'a Header>,
    verdict: &'a mut Verdict,
    /// Who states it, as far as that could be read.
    issuer: Option<UnitId>,
    verified: bool,
}

impl Case<'_> {
    fn check(&mut self, receipt: &v1::Receipt) -> Option<Checked> {
        let statement = match Statement::from_bytes(&receipt.statement) {
            Ok(statement) => statement,
            Err(error) => {
                self.invalid(error.reason(), &error.to_string());
                return None;
            }
        };
        self.issuer = Some(statement.issuer.clone());
        let checkpoint = self.checkpoint(&statement, &receipt.checkpoint);
        if let Some(checkpoint) = &checkpoint {
            self.inclusion(&statement, receipt, checkpoint);
        }
        if !self.parties.has_node(&statement.issuer, &statement.node) {
            self.invalid(Reason::WrongIssuer, "no card of the issuer names the issuing node");
        }
        match self.header.map(|header| check_message(&statement, header, self.trust.hubs())) {
            Some(Err(error)) => self.invalid(error.reason(), &error.to_string()),
            Some(Ok(())) => {}
            None => self.verified = false,
        }
        let actor = self.actor(&statement, &receipt.actor);
        self.verdict.ladder.push(ReceiptLine {
            number: self.number,
            event: statement.event,
            issuer: statement.issuer.clone(),
            recipient: statement.recipient.clone(),
            event_time: statement.event_time,
            clock: statement.clock,
            reason: statement.reason.clone(),
            actor,
            flags: statement.flags.clone(),
            index: receipt.index,
            log: checkpoint.as_ref().map(|checkpoint| checkpoint.origin.clone()),
            size: checkpoint.as_ref().map(|checkpoint| checkpoint.size),
            bounds: Bounds::default(),
            verified: self.verified,
        });
        Some(Checked { number: self.number, statement, index: receipt.index, checkpoint })
    }

    /// The checkpoint, if the key of a log of the statement's issuer signed it.
    fn checkpoint(&mut self, statement: &Statement, note: &str) -> Option<Checkpoint> {
        let issuer = &statement.issuer;
        let (checkpoint, used) = match self.open_checkpoint(issuer, note) {
            Ok(opened) => opened,
            Err(error) => {
                self.invalid(error.reason(), &error.to_string());
                return None;
            }
        };
        let (parties, origin) = (self.parties, &checkpoint.origin);
        let on_card = parties.logs(issuer, origin);
        let keys: Vec<&WorkingKey> =
            on_card.iter().map(|log| &log.key).filter(|key| key.key == used).collect();
        if self.trust.log(origin).is_some() {
            if keys.is_empty() && !on_card.is_empty() {
                self.invalid(Reason::BadCard, "a card names another key than the trusted one");
            }
            self.verdict.anchored_by.insert(format!("verifier key of {origin}"));
        } else {
            parties.anchor(issuer, self.verdict);
        }
        if keys.iter().any(|key| is_revoked(key)) {
            let text = "the log's key was revoked, and nobody else proves when it signed";
            self.unproven(Reason::KeyRevoked, text);
        }
        // A newer card that narrows the window takes nothing back.
        if !keys.is_empty() && keys.iter().all(|key| is_outside(statement, key)) {
            self.outside_window(statement);
        }
        self.check_end(issuer, &checkpoint);
        Some(checkpoint)
    }

    /// The checkpoint with the key that signed it: the trusted one of the log, else one that a card
    /// of the issuer gives, the newest first. A card that gives the log another key takes nothing
    /// back of what the first one signed.
    fn open_checkpoint(
        &self,
        issuer: &UnitId,
        note: &str,
    ) -> Result<(Checkpoint, PublicKey), CheckpointError> {
        let mut place = 0;
        loop {
            let (mut used, mut is_last) = (None, true);
            let opened = SignedCheckpoint::open(note, |origin: &LogOrigin| {
                let keys = self.log_keys(issuer, origin);
                is_last = place + 1 >= keys.len();
                used = keys.get(place).copied();
                used
            });
            match (opened, used) {
                (Ok(signed), Some(key)) => return Ok((signed.checkpoint().clone(), key)),
                (Err(error), _) if is_last => return Err(error),
                _ => place += 1,
            }
        }
    }

    /// Only of a log of the issuer itself: nobody confirms in another unit's name.
    fn log_keys(&self, issuer: &UnitId, origin: &LogOrigin) -> Vec<PublicKey> {
        if origin.unit != *issuer {
            return Vec::new();
        }
        if let Some(trusted) = self.trust.log(origin) {
            return vec![trusted];
        }
        let mut keys = Vec::new();
        for log in self.parties.logs(issuer, origin) {
            if !keys.contains(&log.key.key) {
                keys.push(log.key.key);
            }
        }
        keys
    }

    /// A log that was closed counts up to where it ended.
    fn check_end(&mut self, issuer: &UnitId, checkpoint: &Checkpoint) {
        let (parties, origin) = (self.parties, &checkpoint.origin);
        let beyond = parties.closed_size(issuer, origin).is_some_and(|end| checkpoint.size > end);
        match parties.succession(issuer, origin) {
            Some(succession) if succession.denies(checkpoint.size, &checkpoint.root) => {
                self.invalid(Reason::PeerRolledBack, "the issuer states another root of this size");
            }
            // Perhaps signed before the issuer's store was set back, perhaps by a thief of the key
            // of the closed log: only a time that somebody else proves would tell.
            Some(_) if beyond => {
                let text = "the log was closed after a rollback, at a smaller size";
                self.unproven(Reason::PeerRolledBack, text);
            }
            None if beyond => {
                self.invalid(Reason::PeerRolledBack, "the log was closed at a smaller size");
            }
            _ => {}
        }
    }

    /// The statement gives its own date, so a synchronised clock contradicts itself; another clock
    /// proves nothing either way.
    fn outside_window(&mut self, statement: &Statement) {
        let text = "the statement is dated outside the window of its log's key";
        match statement.clock.state() {
            v1::ClockState::Synced => self.invalid(Reason::UnknownKey, text),
            _ => self.unproven(Reason::ClockUntrusted, text),
        }
    }

    fn inclusion(&mut self, statement: &Statement, receipt: &v1::Receipt, checkpoint: &Checkpoint) {
        let (leaf, size) = (statement.leaf_hash(), checkpoint.size);
        let included = path_from_wire(&receipt.path, limits::PATH_HASHES_MAX)
            .and_then(|path| verify_inclusion(receipt.index, size, &leaf, &path, &checkpoint.root));
        if let Err(error) = included {
            self.invalid(error.reason(), &error.to_string());
        }
    }

    /// The name may have been erased; one that is there must be the one committed to.
    fn actor(&mut self, statement: &Statement, name: &str) -> Option<String> {
        if name.is_empty() {
            return None;
        }
        if !statement.is_actor(name) {
            let text = "the name is not the one that the statement commits to";
            self.invalid(Reason::InvalidContent, text);
            return None;
        }
        Some(name.to_owned())
    }

    fn invalid(&mut self, reason: Reason, text: &str) {
        self.problem(Effect::Invalid, reason, text);
    }

    fn unproven(&mut self, reason: Reason, text: &str) {
        self.problem(Effect::UnprovenTime, reason, text);
    }

    fn problem(&mut self, effect: Effect, reason: Reason, text: &str) {
        self.verified = false;
        let place = format!("receipt {}", self.number);
        self.verdict.problem(effect, &place, self.issuer.as_ref(), reason, text);
    }
}

impl Verdict {
    fn problem(
        &mut self,
        effect: Effect,
        place: &str,
        unit: Option<&UnitId>,
        reason: Reason,
        text: &str,
    ) {
        let (place, unit, text) = (place.to_owned(), unit.cloned(), text.to_owned());
        self.problems.push(Problem { effect, reason, place, unit, text });
    }

    /// Of what all units' parts rest on.
    fn invalid(&mut self, place: &str, reason: Reason, text: &str) {
        self.problem(Effect::Invalid, place, None, reason, text);
    }
}
