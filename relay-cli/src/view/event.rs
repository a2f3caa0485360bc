//! One record of what happened at our unit.

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;

use super::{ObligationView, hex, instant, stated, words};
use crate::{
    render::{Page, time},
    report::Report,
};

/// One record; `cursor` is where to go on after it.
#[derive(Debug, Clone, Serialize)]
pub struct EventView {
    pub cursor: String,
    pub kind: String,
    pub time: Option<Timestamp>,
    pub message_id: Option<String>,
    pub short_id: Option<String>,
    pub peer: Option<String>,
    pub receipt_event: Option<String>,
    pub priority: Option<String>,
    pub reason: Option<String>,
    pub recovered: bool,
    pub header_digest: Option<String>,
    /// With `Term`: what is due, and how far its time has run.
    pub obligation: Option<ObligationView>,
}

impl Report for EventView {
    const VERB: &'static str = "watch";

    fn people(&self, page: &mut Page) {
        let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let at = match self.time {
            Some(at) if page.look().utc => at.to_string(),
            Some(at) => time::short(at, page.now()),
            None => "-".to_owned(),
        };
        let what = match &self.receipt_event {
            Some(event) => format!("{} {event}", self.kind),
            None => self.kind.clone(),
        };
        let mut line =
            format!("{at:<13} {:<16} {:<9}  {what}", dash(&self.peer), dash(&self.short_id));
        if let Some(priority) = self.priority.as_ref().filter(|p| *p != "ROUTINE") {
            line.push_str(&format!("  {priority}"));
        }
        if let Some(one) = &self.obligation {
            let (stage, duty, unit) = (&one.stage, &one.duty, &one.unit);
            let due = page.distance(one.due);
            line.push_str(&format!("  {stage}: {unit} to {duty}, {due}  {}", one.rule));
            line.push_str(&format!("  relay-cli case show {}", one.short_id));
        }
        if let Some(reason) = &self.reason {
            line.push_str(&format!("  {reason}"));
        }
        if self.recovered {
            line.push_str("  (recovered: may have been acted on already)");
        }
        if self.kind == "MessageReceived" {
            line.push_str(&format!("  relay-cli show {}", dash(&self.short_id)));
        }
        page.line(line);
    }
}

impl From<&v1::UnitEvent> for EventView {
    fn from(event: &v1::UnitEvent) -> Self {
        Self {
            cursor: event.cursor.clone(),
            kind: words::unit_event(event.kind),
            time: instant(event.time.as_ref()),
            message_id: stated(&event.message_id),
            short_id: stated(&event.short_id),
            peer: stated(&event.peer),
            receipt_event: (event.receipt_event != 0).then(|| words::event(event.receipt_event)),
            priority: (event.priority != 0).then(|| words::priority(event.priority)),
            reason: stated(&event.reason),
            recovered: event.recovered,
            obligation: event.obligation.as_ref().map(ObligationView::from),
            header_digest: (!event.header_digest.is_empty()).then(|| hex(&event.header_digest)),
        }
    }
}
