//! A hacked peer that takes connections and streams and gives nothing: too many of them, half
//! frames, one byte now and then.

use std::time::Duration;

use relay_proto::{
    limits,
    v1::{self, frame::Kind},
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    peer::{How, closed, connect, frame, raw_frame},
    report::Outcome,
    stage::Stage,
};

/// Many connections at once that never say hello; some open the lanes and stop there.
pub async fn connections(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        let mut tasks = JoinSet::new();
        for number in 0..CONNECTIONS {
            let (how, to) = (How::like_a_node(&stage.hacked.identity), stage.address);
            tasks.spawn(async move {
                let peer = match connect(&how, to).await {
                    Ok(peer) => peer,
                    Err(refused) => return refused,
                };
                let _lanes = if number % 2 == 0 { peer.open().await.ok() } else { None };
                peer.closed().await
            });
        }
        while let Some(answer) = tasks.join_next().await {
            outcome.sent.add("silent connection");
            outcome.answered.add(answer.expect("a task that ends by itself"));
        }
    }
    outcome.demand_only(&[TOO_MANY, NO_HELLO, "QUIC 0x2"]);
    outcome.demand(outcome.answered.of(TOO_MANY) > 0, "no connection was too many");
    outcome
}

/// Sessions that take over from each other as fast as they can be made.
pub async fn sessions(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        outcome.sent.add("session");
        let first = stage.session().await;
        let second = stage.session().await;
        match (first, second) {
            (Ok(first), Ok(_second)) => outcome.answered.add(closed(&first.connection).await),
            (first, second) => {
                let errors = [first.err(), second.err()];
                errors.into_iter().flatten().for_each(|error| outcome.answered.add(error));
            }
        }
    }
    outcome.demand_only(&[SUPERSEDED]);
    outcome
}

/// A fifth stream, a lane twice, a unidirectional stream, as a hacked peer in session.
pub async fn streams(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        match stage.session().await {
            Ok(session) => {
                let uni = tokio::time::timeout(BRIEFLY, session.connection.open_uni()).await;
                outcome.demand(uni.is_err(), "a unidirectional stream was allowed");
                outcome.sent.add("fifth stream");
                if let Ok((mut send, _)) = session.connection.open_bi().await {
                    let _ = send.write_all(&frame(Kind::Open(v1::Open { lane: 2 }))).await;
                }
                outcome.answered.add(closed(&session.connection).await);
            }
            Err(refused) => outcome.answered.add(refused),
        }
        outcome.sent.add("lane twice");
        match connect(&How::like_a_node(&stage.hacked.identity), stage.address).await {
            Ok(peer) => {
                let mut lanes = Vec::new();
                for _ in 0..2 {
                    if let Ok((mut send, receive)) = peer.connection.open_bi().await {
                        let _ = send.write_all(&frame(Kind::Open(v1::Open { lane: 2 }))).await;
                        lanes.push((send, receive));
                    }
                }
                outcome.answered.add(peer.closed().await);
            }
            Err(refused) => outcome.answered.add(refused),
        }
    }
    outcome.demand_only(&[MALFORMED]);
    outcome
}

/// Half a frame of the greatest length on every lane, all but its last byte, then nothing.
pub async fn never_ending(stage: &Stage, until: Instant) -> Outcome {
    let half = |lane: usize| {
        let max = if lane == 0 { limits::CONTROL_BYTES_MAX } else { limits::FRAME_BYTES_MAX };
        let mut bytes = raw_frame(&vec![0x12; max]);
        bytes.pop();
        bytes
    };
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        match stage.session().await {
            Ok(mut session) => {
                for lane in 0..4 {
                    outcome.sent.add("half frame");
                    if let Err(refused) = session.send_bytes(lane, &half(lane)).await {
                        outcome.answered.add(refused);
                    }
                }
                outcome.answered.add(closed(&session.connection).await);
            }
            Err(refused) => outcome.answered.add(refused),
        }
    }
    outcome.demand_only(&[SLOW]);
    outcome
}

/// One byte now and then of a long frame, on every lane.
pub async fn dribble(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        let mut session = match stage.session().await {
            Ok(session) => session,
            Err(refused) => {
                outcome.answered.add(refused);
                continue;
            }
        };
        for lane in 0..4 {
            let _ = session.send_bytes(lane, &200_000u32.to_be_bytes()).await;
        }
        while session.connection.close_reason().is_none() {
            tokio::time::sleep(BRIEFLY).await;
            for lane in 0..4 {
                outcome.sent.add("byte");
                // The node may have closed by now; the loop ends then.
                let _ = session.send_bytes(lane, &[0x12]).await;
            }
        }
        outcome.answered.add(closed(&session.connection).await);
    }
    outcome.demand_only(&[SLOW]);
    outcome
}

pub(super) const MALFORMED: &str = "0x1003";
const SLOW: &str = "0x1005";
const NO_HELLO: &str = "0x1006";
const SUPERSEDED: &str = "0x100c";
const TOO_MANY: &str = "0x100e";

const CONNECTIONS: usize = 64;
const BRIEFLY: Duration = Duration::from_millis(50);
