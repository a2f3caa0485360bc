//! Tables of who may say what about which message: each rule fails here when it is removed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use relay_proto::{
    envelope::Priority,
    ids::{Digest, MessageId, UnitId, Uuid},
    reason::Reason,
    timestamp::Timestamp,
    v1::{Kind, WantedUse},
};

use super::*;
use crate::case::{Duty, Rule};

mod answers;
mod forwards;
mod replies;

fn unit(name: &str) -> UnitId {
    name.parse().unwrap()
}

fn at(minutes: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + minutes * 60_000)
}

fn id(number: u8) -> MessageId {
    MessageId::new(at(0), [number; 10])
}

/// TLP AMBER, PAP GREEN, no code, BPL.
fn marks() -> Marks {
    Marks { tlp: 3, pap: 2, europol: 0, classification: 2, conditions: [].into(), delete_by: None }
}

fn said(kind: Kind, in_reply_to: Option<u8>, says: Says) -> Said {
    let in_reply_to = in_reply_to.map(id);
    Said { kind, marks: marks(), in_reply_to, files: vec![], origin: None, says }
}

fn alert(kind: Kind, revision: u32, in_reply_to: Option<u8>) -> Said {
    said(
        kind,
        in_reply_to,
        Says::Alert {
            id: Uuid::random([9; 16]),
            revision,
            indicators: ["i1", "i2"].map(Short::of).to_vec(),
            onward: true,
            asks: true,
            respond_by: None,
        },
    )
}

fn known(number: u8, from: &str, said: Said) -> Known {
    let digest = Digest::of(&[number]);
    Known { digest, id: id(number), from: unit(from), sent_at: at(number.into()), said }
}

/// A judgement at one end, of a message from A to B.
fn judged(end: End, new: &Said, held: &Held) -> Result<(), Reason> {
    let (from, to) = (unit(A), unit(B));
    let sent_at = at(100);
    let exchange = Exchange { new, from: &from, to: &to, sent_at, end };
    judge(&exchange, held).map_err(Objection::reason)
}

/// The same at both ends.
fn both(new: &Said, held: &Held) -> Result<(), Reason> {
    let sending = judged(End::Sending, new, held);
    assert_eq!(sending, judged(End::Taking, new, held), "{new:?}");
    sending
}

fn answered(known: Known) -> Held {
    Held { answered: Some(known), ..Held::default() }
}

const A: &str = "xa.ncu";
const B: &str = "xb.ncu";
const C: &str = "xc.ncu";
