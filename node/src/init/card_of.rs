//! The first card of a unit: its keys, its log, its node, and what people need to know.
//!
//! Enter through [`sign`]. Invariant: the card is signed by the identity key and by nothing else.

use std::time::Duration;

use bytes::Bytes;
use relay_proto::{
    ids::NodeId, keys::PublicKey, payload::MINOR, signed::Unsigned, timestamp::Timestamp, v1,
};

use super::InitOptions;
use crate::keys::{Identity, KeyStore, KeyUse};

/// Card number 1 of the unit.
pub(super) fn sign(
    options: &InitOptions,
    node: &NodeId,
    keys: &KeyStore,
    identity: &Identity,
    now: Timestamp,
) -> v1::Signed {
    let key_id = identity.public().id();
    let card = card(options, node, keys, identity, now);
    let unsigned = Unsigned::new(&card, key_id);
    let signature = identity.sign(unsigned.input());
    unsigned.signed(signature)
}

fn card(
    options: &InitOptions,
    node: &NodeId,
    keys: &KeyStore,
    identity: &Identity,
    now: Timestamp,
) -> v1::Card {
    let (unit, people, signer) = (node.unit(), &options.people, keys.signer());
    let working = |kind, public: &PublicKey, epoch| key(kind, public, epoch, now, WORKING_WINDOW);
    let signing = |kind, r#use| working(kind, &signer.public(r#use), signer.epoch(r#use));
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let language = people.language.clone();
    let name = people.name.clone().unwrap_or_else(|| unit.as_str().to_owned());
    let transport = keys.transport();
    let law = &options.law;
    v1::Card {
        version: 1,
        unit: unit.as_str().into(),
        number: 1,
        issued_at_ms: now.as_millis(),
        names: vec![v1::CardName { language: language.clone(), name }],
        phone_24x7: people.phone.clone(),
        languages: vec![language],
        office_hours: text(&people.hours),
        time_zone: people.time_zone.clone().unwrap_or_else(|| "UTC".into()),
        capabilities: CAPABILITIES.map(str::to_owned).into(),
        identity_key: Some(key(
            v1::KeyKind::Identity,
            &identity.public(),
            IDENTITY_EPOCH,
            now,
            IDENTITY_WINDOW,
        )),
        keys: vec![
            signing(v1::KeyKind::Signing, KeyUse::Envelope),
            signing(v1::KeyKind::Witness, KeyUse::Cosignature),
        ],
        logs: vec![v1::CardLog {
            origin: unit.log_origin(1).to_string(),
            key: Some(signing(v1::KeyKind::Log, KeyUse::Checkpoint)),
            state: v1::LogState::Open.into(),
            ..Default::default()
        }],
        nodes: vec![v1::CardNode {
            name: node.name().into(),
            addresses: options.advertise.clone(),
            transport_keys: vec![working(
                v1::KeyKind::Transport,
                &transport.public(),
                transport.epoch(),
            )],
        }],
        email: text(&people.email),
        role: ROLE.into(),
        payload_minor: MINOR,
        signer: Some(v1::Signer {
            unit: unit.as_str().into(),
            key_id: Bytes::copy_from_slice(identity.public().id().as_bytes()),
            algorithm: v1::Algorithm::Ed25519.into(),
            epoch: IDENTITY_EPOCH,
        }),
        extensions: Vec::new(),
        parties: parties(&law.parties),
        reservations: Some(law.reservations).filter(|stated| *stated != Default::default()),
        preservation_days: law.preservation_days,
        max_classification: law.classification_max.into(),
        takes_exercises: law.takes_exercises,
    }
}

/// Ascending, as the card wants them.
fn parties(treaties: &[v1::Treaty]) -> Vec<i32> {
    let mut parties: Vec<i32> = treaties.iter().map(|treaty| i32::from(*treaty)).collect();
    parties.sort_unstable();
    parties
}

fn key(
    kind: v1::KeyKind,
    public: &PublicKey,
    epoch: u32,
    now: Timestamp,
    window: Duration,
) -> v1::PublicKey {
    v1::PublicKey {
        kind: kind.into(),
        algorithm: v1::Algorithm::Ed25519.into(),
        epoch,
        public_key: Bytes::copy_from_slice(public.as_bytes()),
        not_before_ms: now.before(MARGIN).as_millis(),
        not_after_ms: now.after(window).as_millis(),
        status: v1::KeyStatus::Active.into(),
        revoked_at_ms: 0,
        compromised_since_ms: 0,
    }
}

/// A clock that is put right after `init`, by a day back at the most, leaves the keys valid.
const MARGIN: Duration = Duration::from_secs(24 * 3600);

/// Two years: rotation is an exercise that should not be forgotten between two times.
const WORKING_WINDOW: Duration = Duration::from_secs(2 * 365 * 24 * 3600);

/// Ten years: another identity key costs a telephone call with every peer.
const IDENTITY_WINDOW: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const IDENTITY_EPOCH: u32 = 1;
const CAPABILITIES: [&str; 2] = ["alert", "preservation_request"];
const ROLE: &str = "24/7 point of contact";
