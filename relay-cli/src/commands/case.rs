//! `case …`: requests for preservation from first to last, and whose turn it is.

use relay_proto::v1;
use serde::Serialize;
use tonic::Response;

use super::{count, deadlines::terms};
use crate::{
    args::CaseVerb,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Page, Table},
    report::Report,
    seen,
    view::CaseView,
};

/// `case list`
#[derive(Debug, Clone, Serialize)]
pub struct CasesReport {
    /// Our unit, where a case says so.
    pub cases: Vec<CaseView>,
    /// Not all are listed.
    pub more: bool,
    /// Those that ended are listed as well.
    pub all: bool,
}

/// `case show`
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    pub case: CaseView,
}

/// Runs a verb of the noun.
pub async fn run(context: &Context, verb: CaseVerb) -> Result<Exit, Failure> {
    match verb {
        CaseVerb::List { all, limit } => list(context, all, limit).await,
        CaseVerb::Show { name } => show(context, name).await,
    }
}

async fn list(context: &Context, all: bool, limit: u32) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut cases, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListCasesRequest { page_size: 1000, page_token, include_ended: all };
        let answer = node.cases().list_cases(node.request(request)).await;
        let answer = answer.map_err(|status| node.failure(&status))?.into_inner();
        cases.extend(answer.cases.iter().map(CaseView::from));
        page_token = answer.next_page_token;
        if page_token.is_empty() || cases.len() > limit {
            break;
        }
    }
    let more = cases.len() > limit || !page_token.is_empty();
    cases.truncate(limit);
    context.printer().report(&CasesReport { cases, more, all })
}

async fn show(context: &Context, name: String) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let answer = node.cases().get_case(node.request(v1::GetCaseRequest { name })).await;
    let case = answer.map(Response::into_inner).map_err(|status| node.failure(&status));
    let case = case.map_err(|failure| match failure.exit {
        Exit::NotFound => failure.only_remedy("relay-cli case list --all"),
        _ => failure,
    })?;
    let shown = context.printer().report(&CaseReport { case: CaseView::from(&case) });
    if shown.is_ok() {
        seen::note(context, &case);
    }
    shown
}

impl Report for CasesReport {
    const VERB: &'static str = "case.list";

    fn people(&self, page: &mut Page) {
        let what = if self.all { "case" } else { "open case" };
        let more = if self.more { " or more" } else { "" };
        page.line(match self.cases.len() {
            0 if self.all => "No case".to_owned(),
            0 => "No case is open".to_owned(),
            n => format!("{}{more}", count(n, what)),
        });
        page.gap();
        let mut table = Table::new(&["CASE", "WITH", "STATE", "TURN", "DUE"], 1);
        for case in &self.cases {
            table.row([
                case.short_id.clone(),
                case.peer.clone(),
                case.state.clone(),
                case.turn.clone().unwrap_or_default(),
                page.distance(case.obligations.first().and_then(|one| one.due)),
            ]);
        }
        page.table(&table);
        if self.more {
            page.line("There are more: --limit N");
        }
        if !self.cases.is_empty() {
            page.line("One of them: relay-cli case show CASE");
        }
    }
}

impl CaseReport {
    fn verdict(&self) -> String {
        let case = &self.case;
        match (&case.turn, &case.requesting_unit) {
            (_, None) => "INCOMPLETE  the request of this case is not here yet".to_owned(),
            (Some(turn), _) => format!("{}  it is {turn}'s turn", case.state),
            (None, _) => format!("{}  it is nobody's turn", case.state),
        }
    }

    fn steps(&self, page: &mut Page) {
        let mut table = Table::new(&["REF", "WHAT", "FROM", "WHEN", "THEN"], 4);
        for step in &self.case.steps {
            let then = match step.outcome.as_str() {
                "made" => step.state.clone(),
                other => other.to_owned(),
            };
            table.row([
                step.short_id.clone(),
                step.kind.clone(),
                step.from.clone(),
                page.distance(step.created),
                then,
            ]);
        }
        page.table(&table);
    }
}

impl Report for CaseReport {
    const VERB: &'static str = "case.show";

    fn people(&self, page: &mut Page) {
        let case = &self.case;
        page.line(self.verdict());
        if case.sync_conflict {
            page.line("SYNC_CONFLICT: the two nodes do not agree about this case; telephone");
            page.line(format!("{}, and compare what both show", case.peer));
        }
        if case.waiting > 0 {
            let number = count(usize::try_from(case.waiting).unwrap_or(usize::MAX), "message");
            page.line(format!("{number} of it came before what goes before; it waits"));
        }
        page.gap();
        let mut table = Table::new(&["STATE", "ENDS", "ITEM"], 2);
        for item in &case.items {
            let until = page.distance(item.preserved_until);
            table.row([item.state.clone(), until, item.item_id.clone()]);
        }
        page.table(&table);
        page.gap();
        self.steps(page);
        page.gap();
        if !case.obligations.is_empty() {
            terms(page, &case.obligations, false);
            page.gap();
        }
        page.fact("CASE", format!("{}  {}", case.short_id, case.case_id));
        let (Some(asks), Some(asked)) = (&case.requesting_unit, &case.requested_unit) else {
            return;
        };
        page.fact("ASKS", asks);
        page.fact("ASKED", asked);
        page.fact("REVISION", case.revision.to_string());
        page.fact("PRIORITY", &case.priority);
        if case.preserved_until.is_some() {
            page.fact("ENDS", page.when(case.preserved_until));
        }
        if case.extension_pending {
            page.line("An extension was asked for and is not decided");
        }
        if case.mla_announced && case.state == "PRESERVED" {
            page.line("Mutual assistance is announced; that alone stops no clock");
        }
        if !case.legal.is_empty() {
            page.hanging(&format!("You may send: {}", case.legal.join(", ")), 14);
            for verb in &case.legal_verbs {
                page.hanging(&format!("  {verb}"), 6);
            }
        }
    }

    fn exit(&self) -> Exit {
        if self.case.sync_conflict { Exit::Attention } else { Exit::Done }
    }
}
