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
        verify::{cross::cross_check, parties::Parties},
    },
    ids::{Digest, LogOrigin, UnitId},
    keys::{KeyId, PublicKey},
    limits,
    payload::{check_inner, open_clear},
    reason::Reason,
    receipt::{Statement, check_message, is_outside},
    scan::{self, schema},
    tlog::{Checkpoint, SignedCheckpoint, path_from_wire, verify_inclusion},
    v1,
};

mod cross;
#[cfg(test)]
mod growth;
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
            verified: true,
        };
        checked.extend(case.check(receipt));
    }
    cross_check(&checked, &mut verdict);
    verdict.outcome = outcome(&verdict);
    verdict
}

/// A receipt whose statement could be read.
struct Checked {
    number: usize,
    statement: Statement,
    index: u64,
    checkpoint: Option<Checkpoint>,
}

fn outcome(verdict: &Verdict) -> Outcome {
    match verdict.problems.iter().map(|problem| problem.effect).max() {
        Some(Effect::Invalid) => Outcome::Invalid,
        Some(Effect::UnprovenTime) => Outcome::UnprovenTime,
        _ if verdict.unanchored.is_empty() && !verdict.anchored_by.is_empty() => Outcome::Valid,
        _ => Outcome::Consistent,
    }
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
        used = parties.signing_key(&signer, id);
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
        check_key_time(&key, &header, verdict);
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
/// would.
fn check_key_time(key: &WorkingKey, header: &Header, verdict: &mut Verdict) {
    if is_revoked(key) {
        let text = "the sender's key was revoked, and nobody else proves when it signed";
        verdict.unproven("header", Reason::KeyRevoked, text);
    }
    if header.created_at < key.not_before || header.created_at > key.not_after {
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
        Ok(opened) => match check_inner(&opened, header) {
            Ok(()) => verdict.payload_matches = true,
            Err(reason) => {
                let text = "the payload names another sender, other recipients or another id";
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
        let mut used = None;
        let find = |origin: &LogOrigin| {
            used = self.log_key(issuer, origin);
            used
        };
        let checkpoint = match SignedCheckpoint::open(note, find) {
            Ok(signed) => signed.checkpoint().clone(),
            Err(error) => {
                self.invalid(error.reason(), &error.to_string());
                return None;
            }
        };
        let origin = &checkpoint.origin;
        let on_card = self.parties.logs(issuer, origin);
        if let Some(anchor) = self.trust.log(origin) {
            if on_card.iter().any(|log| log.key.key != anchor) {
                self.invalid(Reason::BadCard, "a card names another key than the trusted one");
            }
            self.verdict.anchored_by.insert(format!("verifier key of {origin}"));
        } else {
            self.parties.anchor(issuer, self.verdict);
        }
        if on_card.iter().any(|log| is_revoked(&log.key)) {
            let text = "the log's key was revoked, and nobody else proves when it signed";
            self.verified = false;
            self.verdict.unproven(&format!("receipt {}", self.number), Reason::KeyRevoked, text);
        }
        let window = on_card.iter().map(|log| &log.key).find(|key| Some(key.key) == used);
        if window.is_some_and(|key| is_outside(statement, key)) {
            self.outside_window(statement);
        }
        let beyond =
            self.parties.closed_size(issuer, origin).is_some_and(|size| checkpoint.size > size);
        match self.parties.succession(issuer, origin) {
            Some(succession) if succession.denies(checkpoint.size, &checkpoint.root) => {
                self.invalid(Reason::PeerRolledBack, "the issuer states another root of this size");
            }
            // Perhaps signed before the issuer's store was set back, perhaps by a thief of the key
            // of the closed log: only a time that somebody else proves would tell.
            Some(_) if beyond => {
                let text = "the log was closed after a rollback, at a smaller size";
                self.verified = false;
                let place = format!("receipt {}", self.number);
                let (effect, reason) = (Effect::UnprovenTime, Reason::PeerRolledBack);
                self.verdict.problem(effect, &place, reason, text);
            }
            None if beyond => {
                self.invalid(Reason::PeerRolledBack, "the log was closed at a smaller size");
            }
            _ => {}
        }
        Some(checkpoint)
    }

    /// The statement gives its own date, so a synchronised clock contradicts itself; another clock
    /// proves nothing either way.
    fn outside_window(&mut self, statement: &Statement) {
        let text = "the statement is dated outside the window of its log's key";
        if statement.clock.state() == v1::ClockState::Synced {
            return self.invalid(Reason::UnknownKey, text);
        }
        self.verified = false;
        self.verdict.unproven(&format!("receipt {}", self.number), Reason::ClockUntrusted, text);
    }

    /// Only a log of the issuer itself: nobody confirms in another unit's name.
    fn log_key(&self, issuer: &UnitId, origin: &LogOrigin) -> Option<PublicKey> {
        if origin.unit != *issuer {
            return None;
        }
        let on_card = || self.parties.logs(issuer, origin).first().map(|log| log.key.key);
        self.trust.log(origin).or_else(on_card)
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
        self.verified = false;
        self.verdict.invalid(&format!("receipt {}", self.number), reason, text);
    }
}

impl Verdict {
    fn problem(&mut self, effect: Effect, place: &str, reason: Reason, text: &str) {
        let (place, text) = (place.to_owned(), text.to_owned());
        self.problems.push(Problem { effect, reason, place, text });
    }

    fn invalid(&mut self, place: &str, reason: Reason, text: &str) {
        self.problem(Effect::Invalid, place, reason, text);
    }

    fn unproven(&mut self, place: &str, reason: Reason, text: &str) {
        self.problem(Effect::UnprovenTime, place, reason, text);
    }
}
