//! The table of a campaign: a row a class of faults, for people and as JSON.

use std::fmt;

use serde::Serialize;

use super::{Options, check::Found};

/// What a class came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every run was checked, and everything held.
    Held,
    /// Something did not hold.
    Failed,
    /// It cannot be tried here: why.
    Skipped(String),
}

/// One class of faults.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub fault: String,
    /// Runs, each checked.
    pub runs: u64,
    /// Messages that were acknowledged to the clients.
    pub acknowledged: u64,
    /// Of them, those that are missing at an end, or have no receipt.
    pub lost: u64,
    /// Messages that took effect twice.
    pub doubled: u64,
    /// Receipts that contradict each other or do not verify.
    pub contradictory: u64,
    /// Messages that a desk was told are taken.
    pub taken: u64,
    /// The longest time from the start of a node to its first answer, in milliseconds.
    pub recovery_ms: u64,
    /// What it came to.
    pub verdict: Verdict,
    /// What did not hold, the first of each kind.
    pub problems: Vec<String>,
    /// What was done how often.
    pub notes: Vec<String>,
}

impl Row {
    /// An empty row.
    pub fn new(fault: &str) -> Self {
        Self {
            fault: fault.to_owned(),
            runs: 0,
            acknowledged: 0,
            lost: 0,
            doubled: 0,
            contradictory: 0,
            taken: 0,
            recovery_ms: 0,
            verdict: Verdict::Held,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The class cannot be tried here. After a run it could, and something went wrong.
    pub fn skip(&mut self, why: impl Into<String>) {
        match self.runs {
            0 if self.verdict == Verdict::Held => self.verdict = Verdict::Skipped(why.into()),
            runs => self.fail(format!("cannot go on after {runs} runs: {}", why.into())),
        }
    }

    /// Something else than a loss did not hold.
    pub fn fail(&mut self, what: impl Into<String>) {
        self.verdict = Verdict::Failed;
        if self.problems.len() < PROBLEMS_SHOWN {
            self.problems.push(what.into());
        }
    }

    /// Takes what a check found.
    pub fn take(&mut self, found: Found) {
        self.acknowledged += found.acknowledged;
        self.lost += found.lost;
        self.doubled += found.doubled;
        self.contradictory += found.contradictory;
        self.taken += found.taken;
        for problem in found.problems {
            self.fail(problem);
        }
    }

    /// A node was started and answered.
    pub fn recovered(&mut self, took: std::time::Duration) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.recovery_ms = self.recovery_ms.max(took);
    }

    /// So much is wrong that more runs say nothing new.
    pub fn is_hopeless(&self) -> bool {
        self.problems.len() >= PROBLEMS_SHOWN || matches!(self.verdict, Verdict::Skipped(_))
    }

    /// The row with its verdict: a class without runs did not hold, it was not tried.
    pub fn judged(mut self) -> Self {
        let skipped = matches!(self.verdict, Verdict::Skipped(_));
        if !skipped && (self.runs == 0 || self.acknowledged == 0 || self.taken == 0) {
            self.fail("nothing was tried, or nobody could take anything");
        }
        self.notes.push(format!("taken by desks {}", self.taken));
        self
    }
}

/// All classes of one campaign.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `relay.campaign/1`
    pub schema: &'static str,
    /// Where chance began.
    pub seed: u64,
    /// What was wrong with every node, on purpose.
    pub sabotage: Option<String>,
    /// A row a class.
    pub rows: Vec<Row>,
}

impl Report {
    /// From rows that are judged.
    pub fn new(options: &Options, rows: Vec<Row>) -> Self {
        let sabotage = options.sabotage.map(|sabotage| format!("{sabotage:?}"));
        Self { schema: "relay.campaign/1", seed: options.seed, sabotage, rows }
    }

    /// Whether nothing failed, nor was skipped where that is not allowed.
    pub fn is_good(&self, may_skip: bool) -> bool {
        self.rows.iter().all(|row| match row.verdict {
            Verdict::Held => true,
            Verdict::Failed => false,
            Verdict::Skipped(_) => may_skip,
        })
    }

    /// As one JSON document.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("figures can be written as JSON")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:>6} {:>12} {:>6} {:>8} {:>14} {:>14}  verdict",
            "fault", "runs", "acknowledged", "lost", "doubled", "contradictory", "recovery, ms"
        )?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match &self.verdict {
            Verdict::Held => "held".to_owned(),
            Verdict::Failed => "FAILED".to_owned(),
            Verdict::Skipped(why) => format!("SKIPPED: {why}"),
        };
        write!(
            f,
            "{:<12} {:>6} {:>12} {:>6} {:>8} {:>14} {:>14}  {verdict}",
            self.fault,
            self.runs,
            self.acknowledged,
            self.lost,
            self.doubled,
            self.contradictory,
            self.recovery_ms
        )?;
        let lines = self.notes.iter().chain(&self.problems);
        lines.clone().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

const PROBLEMS_SHOWN: usize = 20;
