//! Alarms: those that stand and those that ended, and an operator's word that ends one.

use relay_proto::{ids::Digest, reason::Reason, v1};

use super::{Service, access::Caller, args, convert::instant, status::Problem, token};
use crate::{
    relay::submit::request_key,
    store::{ClearAlarm, PeerRequest, records::AlarmRecord},
};

impl Service {
    pub(super) fn list_alarms(
        &self,
        request: &v1::ListAlarmsRequest,
    ) -> Result<v1::ListAlarmsResponse, Problem> {
        let size = args::page_size(request.page_size)?;
        let after = token::read(ALARMS_QUERY, &request.page_token)?;
        let after = after.and_then(|after| <[u8; 8]>::try_from(after.as_slice()).ok());
        let mut before = after.map_or(u64::MAX, u64::from_be_bytes);
        let mut response = v1::ListAlarmsResponse::default();
        // Each round moves on by a page.
        loop {
            let page = self.relay().store().all_alarms(before, PAGE)?;
            let is_last = page.len() < PAGE;
            for (seq, alarm) in page {
                if response.alarms.len() >= size {
                    response.next_page_token = token::write(ALARMS_QUERY, &before.to_be_bytes());
                    return Ok(response);
                }
                before = seq;
                if request.include_cleared || alarm.stands() {
                    response.alarms.push(shown(seq, alarm));
                }
            }
            if is_last {
                return Ok(response);
            }
        }
    }

    pub(super) async fn clear(
        &self,
        caller: Caller,
        request: v1::ClearAlarmRequest,
    ) -> Result<v1::Alarm, Problem> {
        let request_id = args::request_id(&request.request_id)?;
        let (by, why) =
            (args::person("by", &request.by)?, args::person("reason", &request.reason)?);
        let seq = request.id;
        let parts: [&[u8]; 5] = [&seq.to_be_bytes(), b"\0", by.as_bytes(), b"\0", why.as_bytes()];
        let request = PeerRequest {
            key: request_key(&caller.principal.account, "clear-alarm", &request_id),
            content: Digest::of_parts(&parts),
        };
        self.is_over(seq)?;
        self.note_change(&caller, "ClearAlarm", format!("alarms/{seq}")).await?;
        let now = self.relay().clock().now();
        let clear = ClearAlarm { seq, by, why, request };
        Ok(shown(seq, self.relay().store().clear_alarm(clear, now).await?))
    }

    /// An operator's word does not end what still stands: the log that signs nothing.
    fn is_over(&self, seq: u64) -> Result<(), Problem> {
        let relay = self.relay();
        let Some(hold) = relay.tlog().hold() else { return Ok(()) };
        let newest = relay.store().all_alarms(seq.saturating_add(1), 1)?;
        let is_held = |(of, alarm): &(u64, AlarmRecord)| {
            *of == seq
                && alarm.stands()
                && alarm.reason == Reason::LogHeld.label()
                && alarm.peer == relay.node().unit().as_str()
        };
        if newest.iter().any(is_held) {
            let text = format!("the log still signs nothing: {hold}. The alarm ends with that");
            return Err(Problem::text(Reason::LogHeld, text));
        }
        Ok(())
    }
}

fn shown(seq: u64, alarm: AlarmRecord) -> v1::Alarm {
    let cleared = !alarm.stands();
    v1::Alarm {
        id: seq,
        reason: alarm.reason,
        unit: alarm.peer,
        time: instant(alarm.at_ms),
        detail: alarm.detail,
        evidence: alarm.evidence,
        cleared_by: alarm.cleared_by,
        cleared_reason: alarm.cleared_why,
        cleared_time: cleared.then(|| instant(alarm.cleared_at_ms)).flatten(),
    }
}

/// What a token of a list of alarms is bound to.
const ALARMS_QUERY: &str = "alarms";

/// Alarms that are read at once.
const PAGE: usize = 256;
