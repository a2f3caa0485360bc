//! A table of figures, for people and as JSON.

use std::fmt;

use serde::Serialize;

/// All rows of one benchmark.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `relay.bench.pipeline/1`
    pub schema: &'static str,
    /// The machine and the build.
    pub machine: String,
    /// The figures.
    pub rows: Vec<Row>,
}

/// One figure over several runs.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// Median, lowest, highest.
    pub median: f64,
    /// Lowest of the runs.
    pub min: f64,
    /// Highest of the runs.
    pub max: f64,
    /// What we aim for first, when there is an aim.
    pub target: Option<f64>,
}

impl Row {
    /// A row from the figures of all runs.
    pub fn new(
        name: impl Into<String>,
        unit: &'static str,
        mut runs: Vec<f64>,
        target: Option<f64>,
    ) -> Self {
        runs.sort_by(f64::total_cmp);
        let at = |place: usize| runs.get(place).copied().unwrap_or(f64::NAN);
        let (median, min) = (at(runs.len() / 2), at(0));
        let max = at(runs.len().saturating_sub(1));
        Self { name: name.into(), unit, median, min, max, target }
    }
}

impl Report {
    /// As one JSON document.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("figures can be written as JSON")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "{:<46} {:>10} {:>10} {:>10} {:>8}  unit",
            "figure", "median", "min", "max", "target"
        )?;
        for row in &self.rows {
            let target = row.target.map_or_else(|| "-".to_owned(), |target| format!("{target}"));
            let (median, min, max) = (number(row.median), number(row.min), number(row.max));
            let name = &row.name;
            writeln!(f, "{name:<46} {median:>10} {min:>10} {max:>10} {target:>8}  {}", row.unit)?;
        }
        Ok(())
    }
}

/// Three significant digits are more than these machines repeat.
fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
