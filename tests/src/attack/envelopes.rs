//! A hacked peer whose messages are not what they say: sent again without end, in another's name,
//! under another's key, with the id of another message or with another's payload.

use bytes::Bytes;
use relay_node::keys::{KeyStore, KeyUse};
use relay_proto::{
    envelope::{NewHeader, Priority},
    ids::{MessageId, UnitId},
    payload::clear_bytes,
    signed::Unsigned,
    v1::{self, frame::Kind},
};
use tokio::time::{Duration, Instant};

use super::{honest::now, peer::Session, report::Outcome, stage::Stage};
use crate::cluster::draft_payload;

/// One message 10,000 times: one effect, and the stored receipt each time, or a deferral once the
/// quota of repeated receipts is used up.
pub async fn replays(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let before = stage.messages_of_hacked().await;
    let first = envelope(stage, Made::by(stage)).await;
    if let Err(fault) = replay(stage, until, &first, &mut outcome).await {
        outcome.demand(false, fault);
    }
    let after = stage.messages_of_hacked().await;
    outcome.demand(after == before + 1, format!("{} messages of one", after - before));
    outcome
}

async fn replay(
    stage: &Stage,
    until: Instant,
    first: &v1::Envelope,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let mut session = stage.session().await?;
    let digest = digest(first);
    let mut stored: Option<Bytes> = None;
    let mut number = session_number();
    while outcome.sent.total() < REPLAYS || Instant::now() < until {
        for _ in 0..BATCH {
            outcome.sent.add("copy of one message");
            session.send(1, transfer(number, first.clone())).await?;
            number += 1;
        }
        // What is answered is read, but not waited for.
        while let Ok(kind) = session.arrivals.try_recv() {
            heard(kind, &digest, &mut stored, outcome);
        }
        tokio::time::sleep(PAUSE).await;
    }
    while let Ok(Some(kind)) = tokio::time::timeout(QUIET, session.arrivals.recv()).await {
        heard(kind, &digest, &mut stored, outcome);
    }
    outcome.demand(stored.is_some(), "no receipt");
    Ok(())
}

fn heard(kind: Kind, digest: &[u8], stored: &mut Option<Bytes>, outcome: &mut Outcome) {
    match kind {
        Kind::Receipts(group) => {
            for receipt in group.receipts {
                let statement: v1::Statement =
                    prost::Message::decode(receipt.statement.clone()).unwrap_or_default();
                if statement.header_digest != digest {
                    continue;
                }
                let same = stored.get_or_insert(receipt.statement.clone()) == &receipt.statement;
                outcome.demand(same, "another receipt for the same message");
                outcome.answered.add(format!("{:?}", statement.event()));
            }
        }
        Kind::Deferral(_) => outcome.answered.add("deferral"),
        Kind::Fault(fault) => outcome.demand(false, format!("a good copy: {}", fault.reason)),
        _ => {}
    }
}

/// All nine pairs of sender and signing key on the hacked peer's session, each naming the sender's
/// or the key's unit; all but its own are refused, unsigned and without effect.
pub async fn mismatches(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let before = stage.messages_of_hacked().await;
    let dirs = [stage.hacked.dir.clone(), stage.attacked.dir.clone(), stage.honest.dir.clone()];
    let units = [
        stage.hacked.unit.clone(),
        stage.attacked.unit.parse().expect("a unit id"),
        stage.honest.unit.parse().expect("a unit id"),
    ];
    let keys = dirs.map(|dir| KeyStore::open(&dir.join("keys"), 1).expect("the unit's keys"));
    while Instant::now() < until {
        let pairs = (0..9).map(|pair| (pair / 3, pair % 3)).filter(|pair| *pair != (0, 0));
        for (from, key) in pairs {
            let (Some(sender), Some(signer)) = (units.get(from), keys.get(key)) else { continue };
            for named in [from, key] {
                let Some(named) = units.get(named) else { continue };
                let made = Made { from: sender, keys: signer, named, ..Made::by(stage) };
                let envelope = envelope(stage, made).await;
                outcome.sent.add("message of another");
                match refused(stage, envelope).await {
                    Ok(reason) => outcome.answered.add(reason),
                    Err(fault) => outcome.demand(false, fault),
                }
            }
        }
    }
    outcome.demand_only(&["SENDER_MISMATCH", "BAD_SIGNATURE"]);
    let after = stage.messages_of_hacked().await;
    outcome.demand(after == before, "a message of another was stored");
    outcome
}

/// Copies whose parts do not fit: another payload, a signature of another kind of object, no
/// signature, another recipient, a sealed payload.
pub async fn broken_copies(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let before = stage.messages_of_hacked().await;
    while Instant::now() < until {
        for (reason, envelope) in broken(stage).await {
            outcome.sent.add(reason);
            match refused(stage, envelope).await {
                Ok(answer) => {
                    outcome.demand(answer == reason, format!("{reason} answered {answer}"));
                    outcome.answered.add(answer);
                }
                Err(fault) => outcome.demand(false, fault),
            }
        }
    }
    let after = stage.messages_of_hacked().await;
    outcome.demand(after == before, "a broken copy was stored");
    outcome
}

async fn broken(stage: &Stage) -> Vec<(&'static str, v1::Envelope)> {
    let good = || envelope(stage, Made::by(stage));
    let (mut swapped, mut sealed) = (good().await, good().await);
    swapped.payload = Some(v1::envelope::Payload::Clear(Bytes::from_static(&[1; 100])));
    sealed.payload = Some(v1::envelope::Payload::Sealed(Bytes::from_static(&[1; 100])));
    let mut unsigned = good().await;
    set_signature(&mut unsigned, [0; 64]);
    // The header's bytes signed as other objects are: with the tag of a deferral, of a card, of
    // none.
    let signer = stage.hacked.keys.signer();
    let mut crossed = Vec::new();
    for tag in ["relay/v1/deferral", "relay/v1/card", "relay/v1/log-succession", ""] {
        let mut other = good().await;
        let bytes = other.header.as_ref().map(|header| header.bytes.clone()).unwrap_or_default();
        let digest = relay_proto::ids::Digest::of(&bytes);
        let input = [tag.as_bytes(), &[0], digest.as_bytes()].concat();
        let signature = signer.sign(KeyUse::Envelope, &input).await.expect("a signature");
        set_signature(&mut other, signature);
        crossed.push(("BAD_SIGNATURE", other));
    }
    let mut weak = good().await;
    // Points of small order verify under anything that does not look (RFC 8032, 5.1.7).
    let mut identity = [0; 64];
    identity.first_mut().into_iter().for_each(|byte| *byte = 1);
    set_signature(&mut weak, identity);
    let elsewhere = envelope(stage, Made { to: "xb.honest", ..Made::by(stage) }).await;
    let mut rest = vec![
        ("PAYLOAD_MISMATCH", swapped),
        ("UNSUPPORTED_SEALING", sealed),
        ("BAD_SIGNATURE", unsigned),
        ("BAD_SIGNATURE", weak),
        ("NOT_A_RECIPIENT", elsewhere),
    ];
    rest.extend(crossed);
    rest
}

fn set_signature(envelope: &mut v1::Envelope, signature: [u8; 64]) {
    if let Some(header) = &mut envelope.header {
        let signature = Bytes::copy_from_slice(&signature);
        header.signature = Some(v1::signed::Signature::Ed25519(signature));
    }
}

/// The same id with other bytes: the first stands, the second is a signed refusal and an alarm.
pub async fn conflicts(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let before = stage.messages_of_hacked().await;
    let mut ids = 0;
    while Instant::now() < until && ids < CONFLICTS {
        ids += 1;
        let id = MessageId::new(now(), rand::random());
        let made = Made { id, ..Made::by(stage) };
        let pair = [envelope(stage, made).await, envelope(stage, made).await];
        for (place, envelope) in pair.into_iter().enumerate() {
            outcome.sent.add("message under one id");
            match judged(stage, envelope).await {
                Ok(answer) => {
                    let right = (answer == "ContentConsignment") == (place == 0);
                    outcome.demand(right, format!("message {place} of an id: {answer}"));
                    outcome.answered.add(answer);
                }
                Err(fault) => outcome.demand(false, fault),
            }
        }
    }
    outcome.demand_only(&["ContentConsignment", "CONFLICT"]);
    let after = stage.messages_of_hacked().await;
    outcome.demand(after == before + ids, format!("{} messages of {ids} ids", after - before));
    let alarms = stage.alarms().await;
    outcome.demand(alarms.iter().any(|alarm| alarm.contains("CONFLICT")), "no alarm CONFLICT");
    outcome
}

/// Sends a copy that has to be refused; the reason of the fault.
async fn refused(stage: &Stage, envelope: v1::Envelope) -> Result<String, String> {
    let mut session = stage.session().await?;
    session.send(1, transfer(session_number(), envelope)).await?;
    session
        .next(|kind| match kind {
            Kind::Fault(fault) => Some(fault.reason),
            _ => None,
        })
        .await
}

/// Sends a copy that is judged; the event of its receipt, or its reason.
async fn judged(stage: &Stage, envelope: v1::Envelope) -> Result<String, String> {
    let mut session: Session = stage.session().await?;
    let digest = digest(&envelope);
    session.send(1, transfer(session_number(), envelope)).await?;
    session
        .next(|kind| {
            let Kind::Receipts(group) = kind else { return None };
            group.receipts.into_iter().find_map(|receipt| {
                let statement: v1::Statement = prost::Message::decode(receipt.statement).ok()?;
                let event = format!("{:?}", statement.event());
                let said = if statement.reason.is_empty() { event } else { statement.reason };
                (statement.header_digest == digest).then_some(said)
            })
        })
        .await
}

/// How a message is made.
#[derive(Clone, Copy)]
pub struct Made<'a> {
    from: &'a UnitId,
    keys: &'a KeyStore,
    named: &'a UnitId,
    to: &'a str,
    id: MessageId,
}

impl<'a> Made<'a> {
    /// As the hacked peer would.
    pub fn by(stage: &'a Stage) -> Self {
        let hacked = &stage.hacked;
        let id = MessageId::new(now(), rand::random());
        Self {
            from: &hacked.unit,
            keys: &hacked.keys,
            named: &hacked.unit,
            to: &stage.attacked.unit,
            id,
        }
    }
}

/// A message with a good payload, and a signature that is good for the key.
pub async fn envelope(stage: &Stage, made: Made<'_>) -> v1::Envelope {
    let to: UnitId = made.to.parse().expect("a unit id");
    let mut payload = draft_payload(&stage.hacked.dir, &stage.hacked.unit, &to);
    payload.from = made.from.to_string();
    payload.message_id = Bytes::copy_from_slice(made.id.as_bytes());
    let clear = clear_bytes(rand::random(), &payload);
    let signer = made.keys.signer();
    let key_id = signer.key_id(KeyUse::Envelope);
    let created_at = now();
    let new = NewHeader {
        attachments: None,
        message_id: made.id,
        from: made.from,
        to: std::slice::from_ref(&to),
        profile: "budapest-247",
        priority: Priority::Routine,
        created_at,
        expires_at: created_at.after(Duration::from_secs(3600)),
        payload: &clear,
        key_id,
        epoch: 1,
    };
    let mut header = new.header();
    header.signer.get_or_insert_default().unit = made.named.to_string();
    let unsigned = Unsigned::new(&header, key_id);
    let signature = signer.sign(KeyUse::Envelope, unsigned.input()).await.expect("a signature");
    v1::Envelope {
        header: Some(unsigned.signed(signature)),
        payload: Some(v1::envelope::Payload::Clear(clear)),
        wraps: Vec::new(),
    }
}

/// A copy on its way.
pub fn transfer(number: u64, envelope: v1::Envelope) -> Kind {
    Kind::Transfer(v1::Transfer { number, envelope: Some(envelope), ..Default::default() })
}

/// Numbers grow with time, so that no two messages of one run have the same.
pub fn session_number() -> u64 {
    now().as_millis() * 1_000
}

fn digest(envelope: &v1::Envelope) -> Vec<u8> {
    let header = envelope.header.as_ref().map(|header| header.bytes.clone()).unwrap_or_default();
    relay_proto::ids::Digest::of(&header).as_bytes().to_vec()
}

/// What the table asks for.
const REPLAYS: u64 = 10_000;

const BATCH: usize = 100;

/// Between two batches: some 10,000 copies a second at most.
const PAUSE: Duration = Duration::from_millis(10);

/// When nothing more comes.
const QUIET: Duration = Duration::from_secs(1);

/// Each pair leaves two leaves in the log for ever.
const CONFLICTS: usize = 20;
