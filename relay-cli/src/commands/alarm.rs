//! `alarm …`: what an operator must look at, and his word that it is done with.

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;

use super::{count, once_for_sure};
use crate::{
    args::{AlarmVerb, RepeatArgs},
    context::Context,
    exit::Exit,
    failure::Failure,
    render::Page,
    report::Report,
    view::{hex, instant, stated},
};

/// `alarm list`
#[derive(Debug, Clone, Serialize)]
pub struct AlarmsReport {
    pub alarms: Vec<AlarmView>,
    /// Not all are listed.
    pub more: bool,
    /// Those that ended are listed as well.
    pub all: bool,
}

/// `alarm clear`
#[derive(Debug, Clone, Serialize)]
pub struct ClearReport {
    pub request_id: String,
    pub alarm: AlarmView,
}

/// One alarm.
#[derive(Debug, Clone, Serialize)]
pub struct AlarmView {
    pub id: u64,
    pub reason: String,
    pub unit: String,
    pub time: Option<Timestamp>,
    pub detail: String,
    pub evidence: Option<String>,
    pub cleared_by: Option<String>,
    pub cleared_reason: Option<String>,
    pub cleared: Option<Timestamp>,
}

/// Runs a verb of the noun.
pub async fn run(context: &Context, verb: AlarmVerb) -> Result<Exit, Failure> {
    match verb {
        AlarmVerb::List { all, limit } => list(context, all, limit).await,
        AlarmVerb::Clear { id, by, reason, repeat } => {
            clear(context, id, by, reason, &repeat).await
        }
    }
}

async fn list(context: &Context, all: bool, limit: u32) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut alarms, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListAlarmsRequest { include_cleared: all, page_size: 1000, page_token };
        let answer = node.node().list_alarms(node.request(request)).await;
        let answer = answer.map_err(|status| node.failure(&status))?.into_inner();
        alarms.extend(answer.alarms.iter().map(AlarmView::from));
        page_token = answer.next_page_token;
        if page_token.is_empty() || alarms.len() > limit {
            break;
        }
    }
    let more = alarms.len() > limit || !page_token.is_empty();
    alarms.truncate(limit);
    context.printer().report(&AlarmsReport { alarms, more, all })
}

async fn clear(
    context: &Context,
    alarm: u64,
    by: String,
    reason: String,
    repeat: &RepeatArgs,
) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let id = context.request_id(repeat);
    let request = v1::ClearAlarmRequest { request_id: id.to_string(), id: alarm, by, reason };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.node(), node.request(request.clone()));
        async move { client.clear_alarm(request).await }
    });
    let alarm = answer.await.map_err(|failure| match failure.exit {
        Exit::NotFound => failure.only_remedy("relay-cli alarm list"),
        _ => failure,
    });
    let alarm = AlarmView::from(&alarm?);
    context.printer().report(&ClearReport { request_id: id.to_string(), alarm })
}

impl From<&v1::Alarm> for AlarmView {
    fn from(alarm: &v1::Alarm) -> Self {
        Self {
            id: alarm.id,
            reason: alarm.reason.clone(),
            unit: alarm.unit.clone(),
            time: instant(alarm.time.as_ref()),
            detail: alarm.detail.clone(),
            evidence: stated(&hex(&alarm.evidence)),
            cleared_by: stated(&alarm.cleared_by),
            cleared_reason: stated(&alarm.cleared_reason),
            cleared: instant(alarm.cleared_time.as_ref()),
        }
    }
}

impl AlarmView {
    fn stands(&self) -> bool {
        self.cleared_by.is_none()
    }

    fn show(&self, page: &mut Page) {
        let word = if self.stands() { "STANDS" } else { "ended " };
        let (id, reason, unit) = (self.id, &self.reason, &self.unit);
        page.line(format!("{id}  {word}  {reason}  {unit}  {}", page.when(self.time)));
        page.quote(&self.detail, 2);
        if let Some(by) = &self.cleared_by {
            let why = self.cleared_reason.as_deref().unwrap_or("-");
            page.quote(&format!("ended by {by}, {}: {why}", page.when(self.cleared)), 2);
        }
    }
}

impl AlarmsReport {
    fn standing(&self) -> usize {
        self.alarms.iter().filter(|alarm| alarm.stands()).count()
    }
}

impl Report for AlarmsReport {
    const VERB: &'static str = "alarm.list";

    fn people(&self, page: &mut Page) {
        match self.standing() {
            0 => page.line("No alarm stands"),
            n => page.line(format!("ACTION NEEDED: {}", count(n, "alarm"))),
        }
        page.gap();
        for alarm in &self.alarms {
            alarm.show(page);
        }
        if self.more {
            page.line("There are more: --limit N");
        }
        if self.standing() > 0 {
            page.gap();
            page.line("Done with one: relay-cli alarm clear ID --by NAME --reason TEXT");
        }
    }

    fn exit(&self) -> Exit {
        if self.standing() == 0 { Exit::Done } else { Exit::Attention }
    }
}

impl Report for ClearReport {
    const VERB: &'static str = "alarm.clear";

    fn people(&self, page: &mut Page) {
        page.line(format!("ENDED {}: it is not in the status any more", self.alarm.id));
        self.alarm.show(page);
        page.line("A cause that is still there raises it again.");
    }
}
