//! What came of each attack: counts, figures, verdict; as a table and as JSON.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// How often each thing happened, by name.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// One more.
    pub fn add(&mut self, what: impl Into<String>) {
        self.add_many(what, 1);
    }

    /// So many more.
    pub fn add_many(&mut self, what: impl Into<String>, by: u64) {
        *self.0.entry(what.into()).or_default() += by;
    }

    /// How often this happened.
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// What happened that is not in the list.
    pub fn other_than(&self, expected: &[&str]) -> Vec<String> {
        let others = self.0.iter().filter(|(name, _)| !expected.contains(&name.as_str()));
        others.map(|(name, count)| format!("{count} x {name}")).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> =
            self.0.iter().map(|(name, count)| format!("{count} x {name}")).collect();
        f.write_str(&parts.join(", "))
    }
}

/// What a scenario saw itself.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was sent.
    pub sent: Tally,
    /// What the node answered.
    pub answered: Tally,
    /// What the node did that it should not have done.
    pub faults: Vec<String>,
    /// Bytes to the node and back, before its peer was known.
    pub pre_auth: Option<(u64, u64)>,
}

impl Outcome {
    /// Notes a fault unless the condition holds.
    pub fn demand(&mut self, holds: bool, fault: impl Into<String>) {
        if !holds {
            self.faults.push(fault.into());
        }
    }

    /// The node's answers may only be these, and there must be some.
    pub fn demand_only(&mut self, expected: &[&str]) {
        let others = self.answered.other_than(expected);
        self.demand(others.is_empty(), format!("answered {}", others.join(", ")));
        self.demand(self.answered.total() > 0, "nothing was answered");
    }

    /// How a session ended that was to end in one of these ways. A stateless reset is let pass here
    /// and counted by [`Outcome::demand_few_resets`].
    pub fn ended(&mut self, what: &str, answer: String, expected: &[&str]) {
        let is_expected = expected.contains(&answer.as_str()) || answer == RESET;
        self.demand(is_expected, format!("{what}: {answer}"));
        self.answered.add(answer);
    }

    /// The QUIC library holds a close back behind data that its window does not let out, and
    /// forgets the connection after three probe timeouts; the peer's next packet gets a stateless
    /// reset then, which names no reason (RFC 9000, 10.2.1).
    pub fn demand_few_resets(&mut self) {
        let (resets, all) = (self.answered.of(RESET), self.answered.total());
        self.demand(resets * RESETS_ONE_IN <= all, format!("{resets} resets of {all} ends"));
    }

    /// Adds what another part of the attack saw.
    pub fn merge(&mut self, other: Self) {
        other.sent.0.into_iter().for_each(|(what, by)| self.sent.add_many(what, by));
        other.answered.0.into_iter().for_each(|(what, by)| self.answered.add_many(what, by));
        self.faults.extend(other.faults);
        if let Some((to, back)) = other.pre_auth {
            let (all_to, all_back) = self.pre_auth.unwrap_or((0, 0));
            self.pre_auth = Some((all_to + to, all_back + back));
        }
    }
}

/// One attack's row.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The attack.
    pub attack: String,
    /// What was sent.
    pub sent: Tally,
    /// What came back.
    pub answered: Tally,
    /// The honest pair's latency, before, during, after, milliseconds.
    pub p50_ms: [f64; 3],
    /// See `p50_ms`; medians of windows.
    pub p99_ms: [f64; 3],
    /// During the attack, between two nodes that nobody attacks.
    pub control_p99_ms: f64,
    /// Exchanges of the honest pair during the attack.
    pub exchanges: usize,
    /// The attacked node's resident memory before, at its peak, after, MiB.
    pub rss_mib: [f64; 3],
    /// Of the health call on a connection of its own, milliseconds, during.
    pub health_p99_ms: f64,
    /// Bytes answered for each byte received, of attacks by strangers.
    pub answered_per_byte: Option<f64>,
    /// Most log lines about one source.
    pub lines_per_source: usize,
    /// Lines that the node logged.
    pub lines: usize,
    /// What did not hold; empty: the attack failed.
    pub faults: Vec<String>,
}

/// All rows of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `relay.attack/1`
    pub schema: &'static str,
    /// Seconds an attack, and the seed.
    pub seconds: u64,
    /// See `seconds`.
    pub seed: u64,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether the node held against all.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.faults.is_empty())
    }

    /// As one JSON document.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("figures can be written as JSON")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.faults.is_empty() { "HELD" } else { "FAILED" };
        writeln!(f, "{:<20} {verdict}", self.attack)?;
        writeln!(f, "  sent      {}", self.sent)?;
        writeln!(f, "  answered  {}", self.answered)?;
        let [before, during, after] = self.p50_ms;
        write!(f, "  honest    p50 {before:.1} / {during:.1} / {after:.1} ms, ")?;
        let [before, during, after] = self.p99_ms;
        writeln!(
            f,
            "p99 {before:.1} / {during:.1} / {after:.1} ms (control {:.1}); {} exchanges; \
             health {:.1} ms",
            self.control_p99_ms, self.exchanges, self.health_p99_ms
        )?;
        let [before, peak, after] = self.rss_mib;
        write!(f, "  memory    {before:.1} / {peak:.1} / {after:.1} MiB; ")?;
        if let Some(ratio) = self.answered_per_byte {
            write!(f, "{ratio:.2} bytes answered a byte; ")?;
        }
        writeln!(f, "{} log lines, {} of a source", self.lines, self.lines_per_source)?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "  FAULT     {fault}"))
    }
}

/// A stateless reset, as [`super::peer::closed`] names it.
pub const RESET: &str = "reset";
/// At most one end in so many may be one.
const RESETS_ONE_IN: u64 = 5;
