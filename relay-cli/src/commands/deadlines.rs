//! `deadlines`: what is due in all cases, from whom, by when and by whose rule.

use relay_proto::v1;
use serde::Serialize;

use super::count;
use crate::{
    args::DeadlinesArgs,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Page, Table},
    report::Report,
    view::ObligationView,
};

/// What is due.
#[derive(Debug, Clone, Serialize)]
pub struct DeadlinesReport {
    /// Only what this unit owes.
    pub of: Option<String>,
    /// The most pressing first.
    pub obligations: Vec<ObligationView>,
    /// Not all are listed.
    pub more: bool,
}

/// Asks the node.
pub async fn run(context: &Context, args: DeadlinesArgs) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let of = args.of.map(|unit| unit.to_string());
    let request = v1::ListObligationsRequest { unit: of.clone().unwrap_or_default() };
    let answer = node.cases().list_obligations(node.request(request)).await;
    let answer = answer.map_err(|status| node.failure(&status))?.into_inner();
    let obligations = answer.obligations.iter().map(ObligationView::from).collect();
    context.printer().report(&DeadlinesReport { of, obligations, more: answer.more })
}

/// What is due as a table; the most pressing first.
pub(super) fn terms(page: &mut Page, obligations: &[ObligationView], with_case: bool) {
    let heads = ["DUE", "WHO", "WHAT", "RULE"];
    let mut table = match with_case {
        true => Table::new(&["DUE", "WHO", "WHAT", "RULE", "CASE"], 4),
        false => Table::new(&heads, 3),
    };
    for one in obligations {
        let due = match (one.due, one.is_overdue()) {
            (None, _) => "-".to_owned(),
            (due, true) => format!("OVERDUE, {}", page.distance(due)),
            (due, false) => page.distance(due),
        };
        let case = one.short_id.clone();
        let (unit, duty, rule) = (one.unit.clone(), one.duty.clone(), one.rule.clone());
        match with_case {
            true => table.row([due, unit, duty, rule, case]),
            false => table.row([due, unit, duty, rule]),
        }
    }
    page.table(&table);
}

impl DeadlinesReport {
    fn overdue(&self) -> usize {
        self.obligations.iter().filter(|one| one.is_overdue()).count()
    }
}

impl Report for DeadlinesReport {
    const VERB: &'static str = "deadlines";

    fn people(&self, page: &mut Page) {
        let of = self.of.as_ref().map(|unit| format!(" from {unit}")).unwrap_or_default();
        page.line(match (self.obligations.len(), self.overdue()) {
            (0, _) => format!("Nothing is due{of}"),
            (n, 0) => format!("{}{of}, none overdue", count(n, "term")),
            (n, late) => format!("OVERDUE: {late} of {}{of}", count(n, "term")),
        });
        page.gap();
        terms(page, &self.obligations, true);
        if self.more {
            page.line("There are more");
        }
        if self.overdue() > 0 {
            page.gap();
            page.line(
                "LAW is the treaty's, STATED a side's own word, HOUSE this network's target.",
            );
            page.line("Whom to call: relay-cli peer show UNIT");
        }
    }

    fn exit(&self) -> Exit {
        if self.overdue() > 0 { Exit::Attention } else { Exit::Done }
    }
}
