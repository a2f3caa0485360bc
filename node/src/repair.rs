//! The verb `repair`: a store that no node has open is looked at and put right.
//!
//! Enter through [`repair`]; it may use the keys, for the log's name, and the store, whose own
//! repair does the work. Here is what is said of it and what helps. Invariant: the store's lock is
//! held while anything is read, so no node runs meanwhile.

use std::fmt;

use crate::{
    config::Settings,
    keys::{open_log_of, read_card},
    store::{
        Backend, StoreError,
        files::FilesError,
        records::DamageRecord,
        repair::{RepairOrder, Repaired, repair as repair_store},
    },
};

/// What was found and done, with what helps.
#[derive(Debug)]
pub struct RepairReport(Repaired);

/// Why nothing, or not all, was done. Repeating the command is safe.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Somebody uses the store.
    #[error("the store is in use: stop the node first")]
    Running,
    /// Anything else, with its cause.
    #[error("{what}")]
    Failed {
        /// Where.
        what: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Repairs the store of these settings; with `dry_run` it is only looked at.
pub fn repair(settings: &Settings, dry_run: bool) -> Result<RepairReport, RepairError> {
    let card = read_card(&settings.keys.card).map_err(|error| failed("card", error))?;
    let log = open_log_of(&card).ok_or_else(|| failed("card", "it names no open log"))?;
    let order = RepairOrder {
        backend: Backend::of(settings),
        unit: card.unit().clone(),
        origin: log.origin.clone(),
        dry_run,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| failed("runtime", error))?;
    let repaired = runtime.block_on(repair_store(&order));
    repaired.map(RepairReport).map_err(|error| match error {
        StoreError::Files(FilesError::InUse { .. }) => RepairError::Running,
        error => failed("store", error),
    })
}

impl RepairReport {
    /// Nothing is wrong any more; in a dry run: nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.0.is_sound()
    }

    fn verdict(&self) -> String {
        let Repaired { dry_run, mended, remains, .. } = &self.0;
        if self.0.failed.is_some() {
            return format!("NOT ENDED: {} mended before an error", mended.len());
        }
        match (mended.len(), remains.len(), dry_run) {
            (0, 0, true) => "SOUND as far as a dry run looks".to_owned(),
            (0, 0, false) => "SOUND: nothing to repair".to_owned(),
            (n, 0, true) => format!("TO MEND: {n}, by the same command without --dry-run"),
            (n, 0, false) => format!("MENDED: {n}"),
            (_, n, _) => format!("DAMAGED: {n} cannot be made anew here"),
        }
    }

    fn remains(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for damage in &self.0.remains {
            writeln!(f, "  DAMAGED  {damage}")?;
            if let Some(help) = self.who_has_it(damage) {
                writeln!(f, "           {help}")?;
            }
        }
        writeln!(f)?;
        writeln!(
            f,
            "What is damaged is not served; it was left as it is. What helps, in this order:"
        )?;
        writeln!(f, "  1. keep a copy of `node.dir`, and look at the disk")?;
        writeln!(f, "  2. a backup in place of the store: README.md, \"Backups\"")?;
        writeln!(f, "  3. without a backup: ask the sender named above, by telephone, to send a")?;
        write!(f, "     damaged message again as a new one; no node hands out a message by itself")
    }

    /// Where else a message is.
    fn who_has_it(&self, damage: &DamageRecord) -> Option<String> {
        let own = self.0.unit.as_str();
        match damage.from.as_str() {
            "" => None,
            from if from == own => Some(format!(
                "our own case system has its content; {} may have it as well",
                damage.to.join(", ")
            )),
            from => Some(format!("{from} has its content")),
        }
    }
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repaired { journal: (segments, bytes, events), .. } = &self.0;
        writeln!(f, "{}", self.verdict())?;
        write!(f, "  journal  {events} events in {segments} segments, {bytes} bytes, were read")?;
        if let Some(why) = self.0.not_looked {
            write!(f, "\n  index    not looked at: {why}")?;
        }
        for mended in &self.0.mended {
            write!(f, "\n  {}   {mended}", if self.0.dry_run { "TO MEND" } else { "MENDED " })?;
        }
        for kept in &self.0.kept {
            write!(f, "\n  KEPT     what stood there before: `{}`", kept.display())?;
        }
        let mut error = self.0.failed.as_ref().map(|error| error as &dyn std::error::Error);
        while let Some(one) = error {
            write!(f, "\n  ERROR    {one}")?;
            error = one.source();
        }
        if self.0.remains.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        self.remains(f)
    }
}

fn failed(
    what: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RepairError {
    RepairError::Failed { what, source: source.into() }
}
