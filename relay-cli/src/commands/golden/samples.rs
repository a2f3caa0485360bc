//! What a node might answer, with a peer's hostile string wherever a peer may write one.

use relay_proto::{
    evidence::{Bounds, Effect, NOT_PROVEN, Outcome, Problem, ReceiptLine, Verdict},
    ids::{Digest, UnitId},
    keys::PublicKey,
    reason::Reason,
    receipt::Event,
    timestamp::Timestamp,
    v1,
};

use crate::{render::Look, view::ReceiptView};

/// A peer's string that tries everything: a fake line of ours, the cursor, the reading direction.
pub const HOSTILE: &str =
    "x\u{1b}[2J\u{1b}[31m\r\nVALID \u{202e}dlrow\u{2066}\u{9b}0m\u{7f}\u{200b}";

pub fn now() -> Timestamp {
    "2026-11-24T03:12:00Z".parse().unwrap()
}

pub fn ago(minutes: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(now().as_millis() / 1000 - minutes * 60).unwrap();
    Some(prost_types::Timestamp { seconds, nanos: 482_000_000 })
}

pub fn ahead(minutes: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(now().as_millis() / 1000 + minutes * 60).unwrap();
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

pub fn look() -> Look {
    Look { now: now(), utc: false, plain: false, quiet: false, verbose: false }
}

pub fn delivery(recipient: &str, state: v1::DeliveryState, reason: &str) -> v1::Delivery {
    let open = matches!(state, v1::DeliveryState::Deferred | v1::DeliveryState::Queued);
    v1::Delivery {
        recipient: recipient.into(),
        state: state.into(),
        attempts: 3,
        next_attempt_time: if open { ahead(2) } else { None },
        reason: reason.into(),
        queued_time: ago(125),
        settled_time: if open { None } else { ago(124) },
    }
}

pub fn outgoing() -> v1::Message {
    v1::Message {
        name: "messages/0193c8a0-1c00-7abc-8def-0123456789ab".into(),
        message_id: "0193c8a0-1c00-7abc-8def-0123456789ab".into(),
        short_id: "4D2P-F2DB".into(),
        direction: v1::Direction::Out.into(),
        from: "xa.cyber-poc".into(),
        to: vec!["xb.ncu".into(), "xc.cyber-poc".into()],
        profile: "budapest-247".into(),
        priority: v1::Priority::Urgent.into(),
        kind: v1::Kind::Alert.into(),
        create_time: ago(125),
        expire_time: ahead(1315),
        store_time: ago(125),
        header_digest: vec![0x9c; 32].into(),
        deliveries: vec![
            delivery("xb.ncu", v1::DeliveryState::Delivered, ""),
            delivery("xc.cyber-poc", v1::DeliveryState::Deferred, "PEER_UNREACHABLE"),
        ],
        title: "Credential phishing wave, banks".into(),
        ..Default::default()
    }
}

pub fn incoming() -> v1::Message {
    v1::Message {
        direction: v1::Direction::In.into(),
        from: "xb.ncu".into(),
        to: vec!["xa.cyber-poc".into()],
        priority: v1::Priority::Emergency.into(),
        kind: v1::Kind::PreservationRequest.into(),
        deliveries: Vec::new(),
        title: HOSTILE.into(),
        uses: Some(v1::Uses {
            confirm_first: true,
            named_persons_only: true,
            released_to: vec!["xc.cyber-poc".into()],
            ..Default::default()
        }),
        ..outgoing()
    }
}

pub fn clock() -> v1::Clock {
    v1::Clock {
        state: v1::ClockState::Synced.into(),
        source: v1::ClockSource::Kernel.into(),
        uncertainty_ms: 1,
    }
}

pub fn receipt(event: v1::Event, by: &str, minutes: u64) -> v1::ReceiptView {
    v1::ReceiptView {
        event: event.into(),
        issuer_unit: by.into(),
        issuer_node: format!("{by}/a"),
        recipient: "xb.ncu".into(),
        event_time: ago(minutes),
        clock: Some(clock()),
        log_origin: format!("{by}/log/1"),
        log_index: 88_213,
        leaf_hash: vec![7; 32].into(),
        verified: true,
        ..Default::default()
    }
}

/// One of ours while our log is held.
pub fn held_receipt() -> ReceiptView {
    ReceiptView::from(&v1::ReceiptView {
        verified: false,
        flags: vec!["LOG_HELD".into()],
        ..receipt(v1::Event::ConsignmentAcceptance, "xa.cyber-poc", 1)
    })
}

pub fn receipts() -> Vec<ReceiptView> {
    let accepted = v1::ReceiptView {
        actor: format!("K. Novak {HOSTILE}"),
        ..receipt(v1::Event::ConsignmentAcceptance, "xb.ncu", 30)
    };
    let bad = v1::ReceiptView {
        verified: false,
        flags: vec!["BAD_INCLUSION".into()],
        ..receipt(v1::Event::ContentHandover, "xc.cyber-poc", 20)
    };
    let all = [
        receipt(v1::Event::SubmissionAcceptance, "xa.cyber-poc", 125),
        receipt(v1::Event::ContentConsignment, "xb.ncu", 124),
        accepted,
        bad,
    ];
    all.iter().map(ReceiptView::from).collect()
}

fn card() -> v1::Card {
    v1::Card {
        unit: "xb.ncu".into(),
        number: 3,
        names: vec![v1::CardName { language: "en".into(), name: format!("Unit B {HOSTILE}") }],
        phone_24x7: "+999 1 555 0100".into(),
        languages: vec!["en".into(), "fr".into()],
        office_hours: "Mon-Fri 08:00-16:00".into(),
        time_zone: "Europe/Prague".into(),
        parties: vec![v1::Treaty::Budapest.into(), v1::Treaty::SecondProtocol.into()],
        reservations: Some(v1::Reservations {
            art29_4: true,
            art9_subscriber_only: true,
            followup_required: true,
        }),
        preservation_days: Some(v1::PreservationDays { min: 60, usual: 90, max: 180 }),
        ..Default::default()
    }
}

pub fn peers() -> Vec<v1::Peer> {
    let up = v1::Peer {
        name: "peers/xb.ncu".into(),
        unit: "xb.ncu".into(),
        trust: v1::PeerTrust::Verified.into(),
        state: v1::PeerState::Up.into(),
        card: Some(card()),
        addresses: vec!["198.51.100.7:7443".into()],
        last_contact_time: ago(1),
        rtt_us: 21_400,
        key_exchange: "X25519MLKEM768".into(),
        received_24h: 9,
        clock_skew_ms: -3,
        software: HOSTILE.into(),
        verified_by: "K. Novak".into(),
        verified_time: ago(60 * 24 * 90),
        fingerprint: "12345 ".repeat(12),
        ..Default::default()
    };
    let down = v1::Peer {
        unit: "xc.cyber-poc".into(),
        trust: v1::PeerTrust::Verified.into(),
        state: v1::PeerState::Down.into(),
        last_contact_time: ago(125),
        next_attempt_time: ahead(1),
        last_reason: "PEER_UNREACHABLE".into(),
        outbox_messages: 4,
        oldest_outbox_time: ago(125),
        alarms: vec!["PEER_ROLLED_BACK log shrank from 120 to 110".into()],
        ..Default::default()
    };
    let suspended = v1::Peer {
        unit: "xe.ncu".into(),
        trust: v1::PeerTrust::Suspended.into(),
        state: v1::PeerState::Down.into(),
        last_contact_time: ago(125),
        outbox_messages: 4,
        suspended_by: format!("K. Novak {HOSTILE}"),
        suspended_time: ago(30),
        suspend_reason: format!("their key may be lost {HOSTILE}"),
        rollback: "xe.ncu/log/3".into(),
        rollback_accepted_by: format!("K. Novak {HOSTILE}"),
        ..Default::default()
    };
    let (trust, state) = (v1::PeerTrust::Unverified.into(), v1::PeerState::Never.into());
    let new = v1::Peer { unit: "xd.new".into(), trust, state, ..Default::default() };
    let refusing = v1::Peer {
        unit: "xf.ncu".into(),
        last_reason: "NOT_VERIFIED_THERE".into(),
        alarms: Vec::new(),
        state: v1::PeerState::Never.into(),
        last_contact_time: None,
        ..down.clone()
    };
    let [idle, off] = quiet(&up);
    vec![up, down, new, suspended, refusing, idle, off]
}

/// Two that are well for all that is known: one was not tried, one takes nothing for now.
fn quiet(up: &v1::Peer) -> [v1::Peer; 2] {
    let idle = v1::Peer {
        unit: "xg.ncu".into(),
        state: v1::PeerState::Idle.into(),
        last_contact_time: None,
        rtt_us: 0,
        ..up.clone()
    };
    let putting_off = v1::Peer {
        unit: "xh.ncu".into(),
        last_reason: "QUEUE_FULL".into(),
        next_attempt_time: ahead(1),
        outbox_messages: 120,
        ..up.clone()
    };
    [idle, putting_off]
}

fn scrub() -> v1::ScrubStatus {
    let last = v1::ScrubRound {
        start_time: ago(60 * 20),
        end_time: ago(60 * 19),
        bytes: 3_100_000_000,
        records: 80_000,
        segments: 47,
        complete: true,
        ..Default::default()
    };
    v1::ScrubStatus { last: Some(last), running: None, total_bytes: 3_190_000_000 }
}

/// One that stands, and one that ended.
pub fn alarms() -> Vec<v1::Alarm> {
    let standing = v1::Alarm {
        id: 4711,
        reason: "CONTRADICTION".into(),
        unit: "xc.cyber-poc".into(),
        time: ago(125),
        detail: format!("two roots of size 120 {HOSTILE}"),
        evidence: vec![0xab; 4].into(),
        ..Default::default()
    };
    let ended = v1::Alarm {
        id: 12,
        reason: "PEER_ROLLED_BACK".into(),
        unit: "xb.ncu".into(),
        detail: "its log lost receipts and goes on as xb.ncu/log/2".into(),
        evidence: Vec::new().into(),
        cleared_by: format!("K. Novak {HOSTILE}"),
        cleared_reason: "the rollback was accepted".into(),
        cleared_time: ago(30),
        ..standing.clone()
    };
    vec![standing, ended]
}

/// A store in which one message is not what was written; the next round is under way.
pub fn damaged() -> v1::StoreStatus {
    let store = status().store.unwrap_or_default();
    let damage = v1::Damage {
        text: "body is not what was written (segment 3, offset 4711, sequence 12), message \
               4D2P-F2DB from xb.ncu to xa.cyber-poc"
            .into(),
        segment: 3,
        offset: 4711,
        first_seq: 12,
        last_seq: 12,
        message_id: "0193c8a0-1c00-7abc-8def-0123456789ab".into(),
        from: "xb.ncu".into(),
        to: vec!["xa.cyber-poc".into()],
    };
    let mut scrub = scrub();
    scrub.running = scrub.last.clone().map(|last| v1::ScrubRound {
        start_time: ago(1),
        end_time: None,
        bytes: 41_000_000,
        complete: false,
        ..last
    });
    scrub.last =
        scrub.last.map(|last| v1::ScrubRound { damages: vec![damage], damages_total: 1, ..last });
    v1::StoreStatus { scrub: Some(scrub), ..store }
}

pub fn status() -> v1::NodeStatus {
    v1::NodeStatus {
        unit: "xa.cyber-poc".into(),
        node: "xa.cyber-poc/a".into(),
        software: "relay-node 0.1.0".into(),
        now: ahead(0),
        start_time: ago(60 * 30),
        clock: Some(clock()),
        display_name: "Country A, Cybercrime Unit".into(),
        store: Some(v1::StoreStatus {
            state: "ok".into(),
            durable_seq: 88_213,
            indexed_seq: 88_200,
            bytes: 3_200_000_000,
            free_bytes: 41_000_000_000,
            sync_p50_us: 2100,
            sync_p99_us: 6000,
            scrub: Some(scrub()),
            room: "AMPLE".into(),
        }),
        log: Some(v1::LogStatus {
            origin: "xa.cyber-poc/log/1".into(),
            size: 88_213,
            root: vec![1; 32].into(),
            held: String::new(),
        }),
        working_keys_expire_time: ahead(60 * 24 * 61),
        ..Default::default()
    }
}

/// A judgement with one receipt; what was found goes with the outcome.
pub fn verdict(outcome: Outcome) -> Verdict {
    let unit: UnitId = "xb.ncu".parse().unwrap();
    let problem = |effect, reason, text: &str| Problem {
        effect,
        reason,
        place: "receipt 1".into(),
        unit: Some(unit.clone()),
        text: text.into(),
    };
    let problems = match outcome {
        Outcome::Invalid => {
            vec![problem(Effect::Invalid, Reason::BadInclusion, "the path leads elsewhere")]
        }
        Outcome::UnprovenTime => {
            vec![problem(Effect::UnprovenTime, Reason::KeyRevoked, "the log key was revoked")]
        }
        _ => Vec::new(),
    };
    // RFC 8032, section 7.1, test 1: any well-formed key will do.
    let key = PublicKey::from_bytes(&[
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
        0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
        0x51, 0x1a,
    ]);
    let anchored = outcome == Outcome::Valid;
    // What the sender states is as good as its key.
    let sender = outcome.min(Outcome::Consistent);
    Verdict {
        outcome,
        anchored_by: anchored.then(|| "card of xb.ncu".to_owned()).into_iter().collect(),
        unanchored: (!anchored)
            .then(|| (unit.clone(), key.ok().map(|k| k.id())))
            .into_iter()
            .collect(),
        message_id: "0193c8a0-1c00-7abc-8def-0123456789ab".parse().ok(),
        header_digest: Some(Digest::from_array([0x9c; 32])),
        from: "xa.cyber-poc".parse().ok(),
        to: vec![unit.clone()],
        payload_matches: anchored,
        ladder: vec![ReceiptLine {
            number: 1,
            event: Event::ConsignmentAcceptance,
            issuer: unit.clone(),
            recipient: Some(unit.clone()),
            event_time: now(),
            clock: clock(),
            reason: None,
            actor: Some(format!("K. Novak {HOSTILE}")),
            flags: vec![v1::StatementFlag::ClockUnverified],
            index: 88_213,
            log: Some(unit.log_origin(1)),
            size: Some(88_214),
            bounds: Bounds::default(),
            verified: outcome != Outcome::Invalid,
        }],
        parts: [("xa.cyber-poc".parse().unwrap(), sender), (unit, outcome)].into(),
        problems,
        not_proven: NOT_PROVEN,
    }
}
