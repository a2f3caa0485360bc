//! What is expected outside of cases, and what markings mean, as the API says it.

use relay_proto::v1;

use super::{Service, access::Caller, convert::instant, status::Problem};
use crate::{
    relay::{
        cases::{duty, rule, stage},
        exchange::Expectation,
    },
    store::records::MessageRecord,
};

impl Service {
    /// A page of what is expected after a place, as far as this caller may know it; and where the
    /// next page begins.
    pub(super) fn expected(
        &self,
        caller: &Caller,
        after: &[u8],
        max: usize,
    ) -> Result<(Vec<v1::Obligation>, Option<Vec<u8>>), Problem> {
        let (found, next) = self.relay().expectations(after, max)?;
        let mut seen = Vec::with_capacity(found.len());
        for one in found {
            if self.sees(caller, &one.message)? {
                seen.push(self.obligation(&one));
            }
        }
        Ok((seen, next))
    }

    fn obligation(&self, one: &Expectation) -> v1::Obligation {
        let (of, id) = (&one.obligation, one.message.message_id());
        v1::Obligation {
            case: String::new(),
            duty: duty(of.duty).into(),
            unit: match one.ours {
                true => self.relay().node().unit().to_string(),
                false => one.peer.to_string(),
            },
            begin_time: instant(of.since.as_millis()),
            due_time: of.due.and_then(|due| instant(due.as_millis())),
            rule: rule(of.rule).into(),
            basis: of.basis.to_owned(),
            stage: stage(of.stage(self.relay().clock().now())).into(),
            short_id: id.map(|id| id.short().to_string()).unwrap_or_default(),
            message: id.map(|id| format!("messages/{id}")).unwrap_or_default(),
        }
    }

    /// What the markings of a received message allow.
    pub(super) fn uses(&self, record: &MessageRecord) -> Result<Option<v1::Uses>, Problem> {
        let marks = record.known().map(|known| known.said.marks);
        let uses = self.relay().uses(record)?;
        Ok(uses.map(|uses| v1::Uses {
            evidence_use: uses.evidence,
            may_forward: uses.forward,
            may_export: uses.export,
            may_automate: uses.automate,
            confirm_first: uses.confirm_first,
            named_persons_only: marks.is_some_and(|marks| marks.is_red()),
            released_to: uses.released_to.iter().map(ToString::to_string).collect(),
        }))
    }
}
