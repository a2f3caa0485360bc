//! What went wrong, for people and scripts: what happened, what is safe, what to type.
//!
//! Enter through [`Failure`]; [`Failure::of_status`] is the only place that reads the details of
//! a gRPC error. Message texts of the node are shown, never interpreted.

use std::time::Duration;

use relay_proto::{ids::UnitId, payload::file_path, reason::Reason};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    exit::Exit,
    render::{Page, time},
    typed::Command,
};

/// Why a command did not end well.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The exit code.
    #[serde(serialize_with = "as_code")]
    pub exit: Exit,
    /// The stable label, where there is one.
    pub reason: Option<Box<str>>,
    /// What happened, one sentence.
    pub what: String,
    /// What is stored or unchanged all the same.
    pub safe: Option<Box<str>>,
    /// What helps, as commands or one sentence each.
    #[serde(rename = "try")]
    pub remedies: Vec<String>,
    /// The command that finds out, where nobody knows whether the node did it.
    pub repeat: Option<Box<Command>>,
    /// Faults of the content, all of them.
    pub faults: Box<[Fault]>,
    /// Faults that did not fit the node's answer.
    #[serde(skip)]
    pub faults_left: u32,
    /// When it makes sense to try again.
    pub retry_after_ms: Option<u32>,
}

/// One fault of a message, a card or a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: `items[0].time_to`.
    pub path: String,
    /// The stable label.
    pub reason: Option<String>,
    /// The article or rule that asks for it.
    pub article: Option<String>,
    /// What is wrong and what to write instead.
    pub what: String,
}

impl Failure {
    /// A failure with its code and one sentence.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            reason: None,
            what: what.into(),
            safe: None,
            remedies: Vec::new(),
            repeat: None,
            faults: Box::default(),
            faults_left: 0,
            retry_after_ms: None,
        }
    }

    /// Adds what is safe all the same.
    pub fn safe(mut self, text: impl Into<String>) -> Self {
        self.safe = Some(text.into().into_boxed_str());
        self
    }

    /// Adds a command or sentence that helps.
    pub fn with_remedy(mut self, text: impl Into<String>) -> Self {
        self.remedies.push(text.into());
        self
    }

    /// Puts a command in the place of all others.
    pub fn only_remedy(mut self, text: impl Into<String>) -> Self {
        self.remedies.clear();
        self.with_remedy(text)
    }

    /// Adds the command that repeats this one safely.
    pub fn with_repeat(mut self, command: Command) -> Self {
        self.repeat = Some(Box::new(command));
        self
    }

    /// Adds faults.
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults.into_boxed_slice();
        self
    }

    /// Names the places of faults as a message file does.
    pub fn in_file(mut self) -> Self {
        for fault in &mut self.faults {
            fault.path = file_path(&fault.path);
        }
        self
    }

    /// Reads an error of the node with its details.
    pub fn of_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().filter(|info| info.domain == DOMAIN);
        let reason = reason.map(|info| info.reason.clone().into_boxed_str());
        let exit = match timed_out(status) {
            true => Exit::Unreachable,
            false => Exit::of_status(status.code(), reason.as_deref()),
        };
        let mut failure = Self::new(exit, sentence(status, reason.as_deref()));
        if let Some(request) = details.bad_request() {
            let fault = |violation: &tonic_types::FieldViolation| Fault {
                path: violation.field.clone(),
                reason: Some(violation.reason.clone()).filter(|label| !label.is_empty()),
                article: None,
                what: violation.description.clone(),
            };
            failure.faults = request.field_violations.iter().map(fault).collect();
        }
        let all = details.error_info().and_then(|info| info.metadata.get("faults"));
        if let Some(all) = all.and_then(|all| all.parse::<usize>().ok()) {
            let more = all.saturating_sub(failure.faults.len());
            failure.faults_left = u32::try_from(more).unwrap_or(u32::MAX);
            failure.remedies.push(format!("mend these first: {more} more did not fit the answer"));
        }
        let wait = details.retry_info().and_then(|info| info.retry_delay);
        failure.retry_after_ms = wait.map(|delay| delay.as_millis().try_into().unwrap_or(u32::MAX));
        // The unit that the node speaks of, in the command that helps.
        let unit = details.error_info().and_then(|info| info.metadata.get("unit"));
        let unit = unit.and_then(|unit| unit.parse::<UnitId>().ok());
        failure.remedies.extend(remedy(exit, reason.as_deref()).map(|text| match &unit {
            Some(unit) => text.replace("UNIT", unit.as_str()),
            None => text,
        }));
        if timed_out(status) {
            failure.what = "The node did not answer in time.".to_owned();
        }
        failure.reason = reason;
        failure
    }

    /// What is printed on stderr.
    pub fn people(&self, page: &mut Page) {
        page.line(format!("relay-cli: {}", self.what));
        for fault in &self.faults {
            let article = fault.article.as_ref().map(|a| format!(" [{a}]")).unwrap_or_default();
            page.hanging(&format!("  {}{article}: {}", fault.path, fault.what), 4);
        }
        if let Some(safe) = &self.safe {
            page.hanging(&format!("  safe: {safe}"), 6);
        }
        if let Some(wait) = self.retry_after_ms {
            let wait = time::span(Duration::from_millis(wait.max(1000).into()));
            page.hanging(&format!("  wait: {wait}, then try again"), 6);
        }
        for remedy in &self.remedies {
            page.hanging(&format!("  try:  {remedy}"), 6);
        }
        if let Some(command) = &self.repeat {
            page.command("  try:  ", command.words());
        }
        if page.verbose()
            && let Some(reason) = &self.reason
        {
            page.line(format!("  reason: {reason}"));
        }
    }
}

/// Whether the answer was lost on the way, so that nobody knows whether the node did it: only
/// then is the same request repeated without being asked.
pub fn answer_lost(status: &Status) -> bool {
    let stated = status.get_error_details().error_info().is_some_and(|i| i.domain == DOMAIN);
    // A node of ours states a reason with every error, so these without one are of the library or
    // a proxy.
    let lost = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal];
    !stated && !timed_out(status) && lost.contains(&status.code())
}

/// Whether the deadline passed, here or at the node. tonic reports its own as a cancellation.
fn timed_out(status: &Status) -> bool {
    status.code() == Code::DeadlineExceeded
        || (status.code() == Code::Cancelled && status.message() == "Timeout expired")
}

/// Our sentence for a reason that we know, then the node's own words.
fn sentence(status: &Status, reason: Option<&str>) -> String {
    let known = reason.and_then(|label| label.parse::<Reason>().ok()).map(Reason::meaning);
    // Faults of fields are listed one by one: a sentence that says them again helps nobody.
    let details = status.get_error_details();
    let listed = details.bad_request().map_or(&[][..], |request| &request.field_violations);
    let again = |known: &str| listed.iter().any(|fault| fault.description.contains(known));
    match (known, status.message()) {
        (Some(known), _) if again(known) => "The node refused this:".to_owned(),
        (Some(known), said) if !listed.is_empty() || said.is_empty() || said == known => {
            known.to_owned()
        }
        (Some(known), said) if said.contains(known) => said.to_owned(),
        (Some(known), said) => format!("{known} The node says: {said}"),
        (None, "") => format!("The node refused: {:?}.", status.code()),
        (None, said) => format!("The node says: {said}"),
    }
}

/// The command that helps most for this kind of failure.
fn remedy(exit: Exit, reason: Option<&str>) -> Option<String> {
    let text = match (exit, reason) {
        (_, Some("AMBIGUOUS")) => "give the whole message id (relay-cli inbox --json)",
        (_, Some("BAD_CURSOR")) => "relay-cli watch    (without --cursor: from the first record)",
        (_, Some("REQUEST_ID_CONFLICT")) => "leave out --request-id to send this as a new message",
        (_, Some("PEER_UNVERIFIED")) => "relay-cli peer verify UNIT    (by telephone)",
        (_, Some("PEER_SUSPENDED")) => "relay-cli peer show UNIT    (who suspended it, and why)",
        (_, Some("NOT_VERIFIED_THERE")) => "telephone them: they have not verified our unit yet",
        (_, Some("UNKNOWN_RECIPIENT")) => "relay-cli peer list    (who can be written to)",
        (_, Some("FINGERPRINT_MISMATCH")) => {
            "read once more; if it differs again, do not trust this card: it may be forged"
        }
        (_, Some("STORE_DAMAGED")) => {
            "relay-node's log tells which record; a backup has it    (README: Backups)"
        }
        (_, Some("STORE_STOPPED" | "STORAGE_FULL" | "INTERNAL" | "CLOCK_UNTRUSTED")) => {
            "relay-cli status    (what the node says of itself)"
        }
        (Exit::NotFound, _) => "relay-cli inbox --all, relay-cli outbox --all",
        (Exit::Permission, _) => {
            "ask the node's operator to admit this account (api in relay.toml)"
        }
        (Exit::Unreachable, _) => "relay-cli status; is the service running, is --node right?",
        _ => return None,
    };
    Some(text.to_owned())
}

fn as_code<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

/// The domain of the node's reasons in google.rpc.ErrorInfo.
pub const DOMAIN: &str = "relay.v1";
