//! CaseService: a case as its messages tell it.

use relay_core::case::{self, Case, ItemStatus, Outcome, Side, State};
use relay_proto::{
    ids::{CaseId, MessageId, ShortId, UnitId},
    reason::Reason,
    timestamp::Timestamp,
    v1::{self, case_service_server::CaseService},
};
use tonic::{Request, Response, Status};

use super::{
    Service,
    access::Caller,
    args,
    convert::{case_id, instant},
    status::Problem,
    token,
};
use crate::{
    relay::cases::{Held, duty, rule, stage},
    store::records::{TermRecord, case::etag},
};

#[tonic::async_trait]
impl CaseService for Service {
    async fn get_case(
        &self,
        request: Request<v1::GetCaseRequest>,
    ) -> Result<Response<v1::Case>, Status> {
        let caller = Caller::of(request.extensions())?;
        let name = request.into_inner().name;
        let case = self.blocking(move |service| {
            let (id, peer) = service.case_of(&name)?;
            if !service.sees_case(&caller, &id, &peer)? {
                return Err(no_case());
            }
            let held = service.relay().case(&id, &peer)?;
            held.map(|held| service.case(&id, &peer, &held)).transpose()?.ok_or_else(no_case)
        });
        Ok(Response::new(case.await?))
    }

    async fn list_obligations(
        &self,
        request: Request<v1::ListObligationsRequest>,
    ) -> Result<Response<v1::ListObligationsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let listed = self.blocking(move |service| service.obligations(&caller, &request));
        Ok(Response::new(listed.await?))
    }

    async fn list_cases(
        &self,
        request: Request<v1::ListCasesRequest>,
    ) -> Result<Response<v1::ListCasesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let listed = self.blocking(move |service| service.cases(&caller, &request));
        Ok(Response::new(listed.await?))
    }
}

impl Service {
    fn obligations(
        &self,
        caller: &Caller,
        request: &v1::ListObligationsRequest,
    ) -> Result<v1::ListObligationsResponse, Problem> {
        let (mut due, mut more) = (Vec::new(), false);
        let (mut after, mut outside) = (Vec::new(), Some(Vec::new()));
        let wanted = |one: &v1::Obligation| request.unit.is_empty() || one.unit == request.unit;
        loop {
            if let Some(after) = outside.take() {
                let (found, next) = self.expected(caller, &after, PAGE)?;
                due.extend(found.into_iter().filter(wanted));
                outside = next;
            }
            let listed = self.relay().store().cases(&after, PAGE)?;
            let is_last = listed.len() < PAGE && outside.is_none();
            for ((id, peer), next) in listed {
                after = next;
                if !self.sees_case(caller, &id, &peer)? {
                    continue;
                }
                let Some(held) = self.relay().case(&id, &peer)? else { continue };
                let shown = self.due(&format!("cases/{id}/{peer}"), &peer, &held);
                due.extend(shown.into_iter().filter(wanted));
            }
            // After each page, so that what is held does not grow with the cases.
            due.sort_by_key(|one: &v1::Obligation| {
                one.due_time.map_or((true, 0, 0), |at| (false, at.seconds, at.nanos))
            });
            more |= due.len() > OBLIGATIONS_MAX;
            due.truncate(OBLIGATIONS_MAX);
            if is_last {
                return Ok(v1::ListObligationsResponse { obligations: due, more });
            }
        }
    }

    fn due(&self, case: &str, peer: &UnitId, held: &Held) -> Vec<v1::Obligation> {
        let (now, short_id) = (self.relay().clock().now(), self.short_id(held));
        let each = held.obligations.iter().map(move |one| v1::Obligation {
            case: case.to_owned(),
            duty: duty(one.duty).into(),
            unit: self.unit_of(one.side, peer, held),
            begin_time: instant(one.since.as_millis()),
            due_time: time(one.due),
            rule: rule(one.rule).into(),
            basis: one.basis.to_owned(),
            short_id: short_id.clone(),
            stage: stage(one.stage(now)).into(),
            message: String::new(),
        });
        each.collect()
    }

    /// Eight characters of the request's id; of the first message as long as that is not here.
    fn short_id(&self, held: &Held) -> String {
        let first = held.rows.iter().find(|row| row.is_first()).or(held.rows.first());
        let record = first.and_then(|row| self.relay().store().message(&row.digest()).ok()?);
        let id = record.and_then(|record| record.message_id());
        id.map(|id| id.short().to_string()).unwrap_or_default()
    }

    /// Which unit a side is.
    fn unit_of(&self, side: Side, peer: &UnitId, held: &Held) -> String {
        match held.side {
            Some(ours) if ours == side => self.relay().node().unit().to_string(),
            _ => peer.to_string(),
        }
    }

    /// The case and peer of a name.
    fn case_of(&self, name: &str) -> Result<(CaseId, UnitId), Problem> {
        let store = self.relay().store();
        let text = name.strip_prefix("cases/").unwrap_or(name);
        let (id, peer) = match text.split_once('/') {
            Some((id, peer)) if !text.starts_with("messages/") => (id, Some(peer)),
            _ => (text, None),
        };
        let is_message = text.starts_with("messages/") || text.parse::<ShortId>().is_ok();
        let case = id.parse::<CaseId>().ok().filter(|_| !is_message);
        let peers = match &case {
            Some(case) => store.case_peers(case)?,
            None => Vec::new(),
        };
        match (case, peer, peers.as_slice()) {
            (Some(case), Some(peer), _) => Ok((case, args::unit(peer)?)),
            (Some(case), None, [only]) => Ok((case, only.clone())),
            (Some(case), None, [_, ..]) => {
                let names = peers.iter().map(|peer| format!("cases/{case}/{peer}"));
                let text = "this matter is shared with several units; name one of these";
                let problem = Problem::field(Reason::Ambiguous, "name", text);
                Err(problem.with("candidates", names.collect::<Vec<_>>().join(" ")))
            }
            // Some message ids have the form of a case id.
            (Some(_), None, []) if text.parse::<MessageId>().is_err() => Err(no_case()),
            (_, None, []) => {
                let record = args::message(store, text)?;
                let peer = if record.is_out() { record.to.first() } else { Some(&record.from) };
                let peer = peer.and_then(|peer| peer.parse().ok()).ok_or_else(no_case)?;
                let case = CaseId::from_bytes(&record.case_id).map_err(|_| no_case())?;
                Ok((case, peer))
            }
            (None, Some(_), _) | (None, None, [_, ..]) => Err(no_case()),
        }
    }

    fn cases(
        &self,
        caller: &Caller,
        request: &v1::ListCasesRequest,
    ) -> Result<v1::ListCasesResponse, Problem> {
        let size = args::page_size(request.page_size)?;
        let query = if request.include_ended { ALL_QUERY } else { OPEN_QUERY };
        let mut after = token::read(query, &request.page_token)?.unwrap_or_default();
        let mut response = v1::ListCasesResponse::default();
        for _ in 0..ROUNDS_MAX {
            let listed = self.relay().store().cases(&after, PAGE)?;
            let is_last = listed.len() < PAGE;
            for ((id, peer), next) in listed {
                if response.cases.len() >= size {
                    response.next_page_token = token::write(query, &after);
                    return Ok(response);
                }
                after = next;
                if !self.sees_case(caller, &id, &peer)? {
                    continue;
                }
                let Some(held) = self.relay().case(&id, &peer)? else { continue };
                let ended = held.case.as_ref().is_some_and(|case| case.state.is_end());
                if request.include_ended || !ended {
                    let mut case = self.case(&id, &peer, &held)?;
                    case.steps.clear();
                    response.cases.push(case);
                }
            }
            if is_last {
                return Ok(response);
            }
        }
        response.next_page_token = token::write(query, &after);
        Ok(response)
    }

    fn case(&self, id: &CaseId, peer: &UnitId, held: &Held) -> Result<v1::Case, Problem> {
        let unit = |side: Side| self.unit_of(side, peer, held);
        let mut shown = v1::Case {
            name: format!("cases/{id}/{peer}"),
            case_id: id.to_string(),
            peer: peer.to_string(),
            waiting: u32::try_from(held.rows.len()).unwrap_or(u32::MAX),
            etag: etag(&held.rows),
            short_id: self.short_id(held),
            ..v1::Case::default()
        };
        let Some(case) = &held.case else { return Ok(shown) };
        shown.requesting_unit = unit(Side::Requesting);
        shown.requested_unit = unit(Side::Requested);
        shown.state = state(case.state).into();
        shown.obligations = self.due(&shown.name, peer, held);
        shown.revision = case.revision;
        shown.priority = case.priority.to_wire().into();
        shown.turn = case.turn().map(unit).unwrap_or_default();
        shown.legal = held.side.map(|side| legal(case, side)).unwrap_or_default();
        shown.preserved_until = time(case.preserved_until());
        shown.answers_due = time(case.answers_due);
        shown.extension_pending = case.extension_pending;
        shown.mla_announced = case.mla_announced;
        shown.sync_conflict = case.sync_conflict;
        shown.items = case.items.iter().map(|(id, item)| shown_item(id, item)).collect();
        shown.waiting = u32::try_from(case.waiting.len()).unwrap_or(u32::MAX);
        for step in &case.steps {
            let record = self.relay().store().message(&step.digest)?;
            let id = record.as_ref().and_then(|record| record.message_id());
            shown.steps.push(v1::CaseStep {
                message_id: id.map(|id| id.to_string()).unwrap_or_default(),
                short_id: id.map(|id: MessageId| id.short().to_string()).unwrap_or_default(),
                kind: step.kind.to_wire().into(),
                from: record.as_ref().map(|record| record.from.clone()).unwrap_or_default(),
                create_time: record.and_then(|record| instant(record.created_at_ms)),
                outcome: match step.outcome {
                    Outcome::Made(_) => v1::StepOutcome::Made,
                    Outcome::Overtaken => v1::StepOutcome::Overtaken,
                    Outcome::NotLegal => v1::StepOutcome::NotLegal,
                }
                .into(),
                state: state(step.state).into(),
            });
        }
        Ok(shown)
    }
}

fn no_case() -> Problem {
    Problem::new(Reason::UnknownCase)
}

fn time(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.and_then(|at| instant(at.as_millis()))
}

/// Kinds that a side may send; the warning of an end is its node's.
fn legal(case: &Case, side: Side) -> Vec<i32> {
    let mut kinds: Vec<v1::Kind> =
        case.legal(side).into_iter().map(case::MoveKind::to_wire).collect();
    kinds.retain(|kind| *kind != v1::Kind::ExpiryWarning);
    kinds.dedup();
    kinds.into_iter().map(i32::from).collect()
}

fn shown_item(id: &str, item: &case::Item) -> v1::CaseItem {
    use v1::ItemState as S;
    let state = match item.status {
        ItemStatus::Pending => S::Pending,
        ItemStatus::Preserved => S::Preserved,
        ItemStatus::Partial => S::Partial,
        ItemStatus::NotFound => S::NotFound,
        ItemStatus::NotHeldHere => S::NotHeldHere,
        ItemStatus::Refused => S::Refused,
        ItemStatus::Expired => S::Expired,
        ItemStatus::Released => S::Released,
        ItemStatus::Withdrawn => S::Withdrawn,
    };
    v1::CaseItem {
        item_id: id.to_owned(),
        state: state.into(),
        preserved_from: time(item.preserved.map(|(from, _)| from)),
        preserved_until: time(item.preserved.map(|(_, until)| until)),
    }
}

/// A term as it was told.
pub(super) fn told(record: &TermRecord, own: &UnitId, short_id: String) -> v1::Obligation {
    let case = case_id(&record.case_id);
    v1::Obligation {
        case: format!("cases/{case}/{}", record.peer),
        duty: record.duty().map(duty).unwrap_or_default().into(),
        unit: if record.ours { own.to_string() } else { record.peer.clone() },
        begin_time: instant(record.since_ms),
        due_time: instant(record.due_ms),
        rule: record.rule().map(rule).unwrap_or_default().into(),
        basis: record.basis.clone(),
        stage: record.stage().map(stage).unwrap_or_default().into(),
        short_id,
        message: String::new(),
    }
}

fn state(state: State) -> v1::CaseState {
    use v1::CaseState as S;
    match state {
        State::Submitted => S::Submitted,
        State::Rejected => S::Rejected,
        State::Undeliverable => S::Undeliverable,
        State::Delivered => S::Delivered,
        State::Acknowledged => S::Acknowledged,
        State::InfoRequired => S::InfoRequired,
        State::RiskNotified => S::RiskNotified,
        State::Accepted => S::Accepted,
        State::Preserved => S::Preserved,
        State::MlaPending => S::MlaPending,
        State::Released => S::Released,
        State::Expired => S::Expired,
        State::Refused => S::Refused,
        State::NoData => S::NoData,
        State::Withdrawn => S::Withdrawn,
        State::Lapsed => S::Lapsed,
    }
}

/// What page tokens of this list are good for.
const OPEN_QUERY: &str = "cases";
const ALL_QUERY: &str = "cases, ended too";

/// Obligations in one answer.
const OBLIGATIONS_MAX: usize = 1000;

/// Cases that are looked at together.
const PAGE: usize = 100;

/// Rounds for one page; it may be short and still have a next one.
const ROUNDS_MAX: usize = 40;
