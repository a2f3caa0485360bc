//! The scrub's rounds as they are shown.

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;

use super::{instant, stated};
use crate::render::{Page, bytes};

/// The last round of the scrub and the one under way.
#[derive(Debug, Clone, Serialize)]
pub struct ScrubView {
    pub last: Option<RoundView>,
    pub running: Option<RoundView>,
    pub total_bytes: u64,
}

/// One round.
#[derive(Debug, Clone, Serialize)]
pub struct RoundView {
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub bytes: u64,
    pub records: u64,
    pub segments: u64,
    pub complete: bool,
    pub damages: Vec<DamageView>,
    pub damages_total: u64,
}

/// A record that is not what was written.
#[derive(Debug, Clone, Serialize)]
pub struct DamageView {
    pub text: String,
    pub segment: u64,
    pub offset: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    pub message_id: Option<String>,
    pub from: Option<String>,
    pub to: Vec<String>,
}

impl ScrubView {
    /// How many damages are known.
    pub fn damages(&self) -> u64 {
        let of = |round: &Option<RoundView>| round.as_ref().map_or(0, |round| round.damages_total);
        of(&self.last).max(of(&self.running))
    }

    /// On one line.
    pub fn text(&self, page: &Page) -> String {
        let last = self.last.as_ref().map_or("no round was ended yet".to_owned(), |last| {
            let verdict = match last.damages_total {
                0 => "sound".to_owned(),
                1 => "1 DAMAGE".to_owned(),
                n => format!("{n} DAMAGES"),
            };
            let (records, read) = (last.records, bytes(last.bytes));
            format!("{verdict} in {records} records, {read}, {}", page.distance(last.ended))
        });
        match &self.running {
            Some(running) => {
                let (read, all) = (bytes(running.bytes), bytes(self.total_bytes));
                format!("{last}. Under way: {read} of {all}")
            }
            None => last,
        }
    }
}

impl From<&v1::ScrubStatus> for ScrubView {
    fn from(status: &v1::ScrubStatus) -> Self {
        Self {
            last: status.last.as_ref().map(RoundView::from),
            running: status.running.as_ref().map(RoundView::from),
            total_bytes: status.total_bytes,
        }
    }
}

impl From<&v1::ScrubRound> for RoundView {
    fn from(round: &v1::ScrubRound) -> Self {
        Self {
            started: instant(round.start_time.as_ref()),
            ended: instant(round.end_time.as_ref()),
            bytes: round.bytes,
            records: round.records,
            segments: round.segments,
            complete: round.complete,
            damages: round.damages.iter().map(DamageView::from).collect(),
            damages_total: round.damages_total,
        }
    }
}

impl From<&v1::Damage> for DamageView {
    fn from(damage: &v1::Damage) -> Self {
        Self {
            text: damage.text.clone(),
            segment: damage.segment,
            offset: damage.offset,
            first_seq: damage.first_seq,
            last_seq: damage.last_seq,
            message_id: stated(&damage.message_id),
            from: stated(&damage.from),
            to: damage.to.clone(),
        }
    }
}
