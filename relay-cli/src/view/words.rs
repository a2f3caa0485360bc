//! Enum values as words: the same in tables, JSON and documents.
//!
//! The words are the names of the `.proto` without their prefix, so that there is no second list
//! to keep.

use relay_proto::v1;

/// `EMERGENCY`, `URGENT`, `ROUTINE`.
pub fn priority(value: i32) -> String {
    bare(v1::Priority::try_from(value).map(|p| p.as_str_name()), "PRIORITY_", value)
}

/// `alert`, `preservation-request`.
pub fn kind(value: i32) -> String {
    lower(&bare(v1::Kind::try_from(value).map(|k| k.as_str_name()), "KIND_", value))
}

/// `in`, `out`.
pub fn direction(value: i32) -> String {
    lower(&bare(v1::Direction::try_from(value).map(|d| d.as_str_name()), "DIRECTION_", value))
}

/// `queued`, `in flight`, `deferred`, `held`, `delivered`, `refused`, `expired`.
pub fn delivery(value: i32) -> String {
    let name = v1::DeliveryState::try_from(value).map(|s| s.as_str_name());
    lower(&bare(name, "DELIVERY_STATE_", value)).replace('-', " ")
}

/// `handover`, `desk`.
pub fn capacity(value: i32) -> String {
    let name = v1::AckCapacity::try_from(value).map(|c| c.as_str_name());
    lower(&bare(name, "ACK_CAPACITY_", value))
}

/// `verified`, `unverified`, `suspended`.
pub fn trust(value: i32) -> String {
    lower(&bare(v1::PeerTrust::try_from(value).map(|t| t.as_str_name()), "PEER_TRUST_", value))
}

/// `up`, `down`, `never`, `one-way`, `idle`.
pub fn peer_state(value: i32) -> String {
    lower(&bare(v1::PeerState::try_from(value).map(|s| s.as_str_name()), "PEER_STATE_", value))
}

/// `synced`, `unsynced`, `contradicted`, `unknown`.
pub fn clock(clock: Option<&v1::Clock>) -> String {
    let Some(clock) = clock else { return "unknown".to_owned() };
    let name = v1::ClockState::try_from(clock.state).map(|s| s.as_str_name());
    let state = lower(&bare(name, "CLOCK_STATE_", clock.state));
    let source = v1::ClockSource::try_from(clock.source).map(|s| s.as_str_name());
    format!("{state}, {}", lower(&bare(source, "CLOCK_SOURCE_", clock.source)))
}

/// `MessageReceived`, `ReceiptIssued`.
pub fn unit_event(value: i32) -> String {
    let name = v1::UnitEventKind::try_from(value).map(|k| k.as_str_name());
    camel(&bare(name, "UNIT_EVENT_KIND_", value))
}

/// `INFO_REQUIRED`.
pub fn case_state(value: i32) -> String {
    bare(v1::CaseState::try_from(value).map(|s| s.as_str_name()), "CASE_STATE_", value)
}

/// `waiting`, `granted`, `dropped`.
pub fn approval_state(value: i32) -> String {
    let name = v1::ApprovalState::try_from(value).map(|s| s.as_str_name());
    lower(&bare(name, "APPROVAL_STATE_", value))
}

/// `preserved`, `not found`.
pub fn item_state(value: i32) -> String {
    let name = v1::ItemState::try_from(value).map(|s| s.as_str_name());
    lower(&bare(name, "ITEM_STATE_", value)).replace('-', " ")
}

/// `acknowledge`, `use or lose`.
pub fn duty(value: i32) -> String {
    let name = v1::Duty::try_from(value).map(|d| d.as_str_name());
    lower(&bare(name, "DUTY_", value)).replace('-', " ")
}

/// `LAW`, `STATED`, `HOUSE`.
pub fn term_rule(value: i32) -> String {
    bare(v1::TermRule::try_from(value).map(|r| r.as_str_name()), "TERM_RULE_", value)
}

/// `RUNNING`, `HALF`, `LATE`, `OVERDUE`.
pub fn term_stage(value: i32) -> String {
    bare(v1::TermStage::try_from(value).map(|s| s.as_str_name()), "TERM_STAGE_", value)
}

/// `made`, `overtaken`, `not legal`.
pub fn step_outcome(value: i32) -> String {
    let name = v1::StepOutcome::try_from(value).map(|s| s.as_str_name());
    lower(&bare(name, "STEP_OUTCOME_", value)).replace('-', " ")
}

/// `investigation`, `trial`.
pub fn stage(value: i32) -> String {
    let name = v1::ProceedingStage::try_from(value).map(|s| s.as_str_name());
    plain(&bare(name, "PROCEEDING_STAGE_", value))
}

/// `subscriber`, `traffic`.
pub fn data_class(value: i32) -> String {
    plain(&bare(v1::DataClass::try_from(value).map(|c| c.as_str_name()), "DATA_CLASS_", value))
}

/// `log rotation`, `account deletion`.
pub fn necessity(value: i32) -> String {
    let name = v1::NecessityCode::try_from(value).map(|c| c.as_str_name());
    plain(&bare(name, "NECESSITY_CODE_", value))
}

/// The measures in the words of Article 29(1).
pub fn mla_measure(value: i32) -> String {
    match v1::MlaMeasure::try_from(value) {
        Ok(v1::MlaMeasure::SearchAccess) => "search or similar access".to_owned(),
        Ok(v1::MlaMeasure::SeizeSecure) => "seizure or similar securing".to_owned(),
        Ok(v1::MlaMeasure::Disclose) => "disclosure".to_owned(),
        other => plain(&bare(other.map(|m| m.as_str_name()), "MLA_MEASURE_", value)),
    }
}

/// `TLP:AMBER+STRICT`, `PAP:RED`, `Europol H1`, `classification BPL`; nothing of what is not set.
pub fn markings(handling: &v1::Handling) -> Vec<String> {
    let mut marks = Vec::new();
    if handling.tlp != 0 {
        let name = v1::Tlp::try_from(handling.tlp).map(|t| t.as_str_name());
        // The standard's own spelling (FIRST TLP 2.0).
        let name = bare(name, "TLP_", handling.tlp).replace("AMBER_STRICT", "AMBER+STRICT");
        marks.push(format!("TLP:{name}"));
    }
    if handling.pap != 0 {
        let name = v1::Pap::try_from(handling.pap).map(|p| p.as_str_name());
        marks.push(format!("PAP:{}", bare(name, "PAP_", handling.pap)));
    }
    for code in &handling.europol {
        let name = v1::EuropolCode::try_from(*code).map(|c| c.as_str_name());
        let mark = format!("Europol {}", bare(name, "EUROPOL_CODE_", *code));
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    }
    if handling.classification != 0 {
        let name = v1::Classification::try_from(handling.classification).map(|c| c.as_str_name());
        let name = bare(name, "CLASSIFICATION_", handling.classification);
        marks.push(format!("classification {name}"));
    }
    marks
}

/// `CLOCK_UNVERIFIED`, `RECOVERED`.
pub fn statement_flag(flag: v1::StatementFlag) -> &'static str {
    let name = flag.as_str_name();
    name.strip_prefix("STATEMENT_FLAG_").unwrap_or(name)
}

/// `ContentConsignment`: the names of ETSI EN 319 522.
pub fn event(value: i32) -> String {
    camel(&bare(v1::Event::try_from(value).map(|e| e.as_str_name()), "EVENT_", value))
}

/// What an event states, and what it leaves open.
pub fn event_meaning(value: i32) -> &'static str {
    use v1::Event as E;
    match E::try_from(value) {
        Ok(E::SubmissionAcceptance) => "stored at the sender; not yet sent",
        Ok(E::SubmissionRejection) => "not taken here; not sent",
        Ok(E::RelayAcceptance) => "a hub carries it",
        Ok(E::RelayRejection) => "the recipient's node refused it",
        Ok(E::RelayFailure) => "expired without the recipient's answer",
        Ok(E::ContentConsignment) => "durable in its recipient's inbox; unread",
        Ok(E::ContentHandover) => "a case system there took it; no human yet",
        Ok(E::ContentHandoverFailure) => "the case system there gave up",
        Ok(E::ConsignmentAcceptance) => "a named officer there took it",
        Ok(E::ConsignmentRejection) => "the desk there would not take it",
        Ok(E::AcceptanceRejectionExpiry) => "nobody there took it in time",
        Ok(E::Unspecified) | Err(_) => "of a newer version; not interpreted",
    }
}

/// The reason of a peer whose node refuses ours.
pub const NOT_VERIFIED_THERE: &str = "NOT_VERIFIED_THERE";

/// The reason of what waits for a peer that the operator suspended.
pub const PEER_SUSPENDED: &str = "PEER_SUSPENDED";

/// The reason of what waits for a peer whose card was not compared.
pub const PEER_UNVERIFIED: &str = "PEER_UNVERIFIED";

/// The reason of what waits for a unit that is no peer.
pub const UNKNOWN_RECIPIENT: &str = "UNKNOWN_RECIPIENT";

/// The reason of what waits for a peer whose inbox is full of ours.
pub const QUEUE_FULL: &str = "QUEUE_FULL";

/// The reason of what our own log cannot sign for now.
pub const LOG_HELD: &str = "LOG_HELD";

/// The flag of a receipt that counts, and whose time is not proven.
pub const CLOCK_UNTRUSTED: &str = "CLOCK_UNTRUSTED";

fn bare<E>(name: Result<&'static str, E>, prefix: &str, value: i32) -> String {
    match name {
        Ok(name) => name.strip_prefix(prefix).unwrap_or(name).to_owned(),
        Err(_) => format!("UNKNOWN_{value}"),
    }
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Words of a sentence: `log rotation`; what is not stated is said so.
fn plain(name: &str) -> String {
    match name {
        "UNSPECIFIED" => "not stated".to_owned(),
        name => name.to_ascii_lowercase().replace('_', " "),
    }
}

fn camel(name: &str) -> String {
    let mut out = String::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        out.extend(letters.next());
        out.extend(letters.map(|c| c.to_ascii_lowercase()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known values have the words of the documents; values of a newer node are shown, not hidden.
    #[test]
    fn words_are_those_of_the_documents() {
        assert_eq!(event(v1::Event::ContentConsignment.into()), "ContentConsignment");
        assert_eq!(delivery(v1::DeliveryState::InFlight.into()), "in flight");
        assert_eq!(kind(v1::Kind::PreservationRequest.into()), "preservation-request");
        assert_eq!(priority(v1::Priority::Emergency.into()), "EMERGENCY");
        assert_eq!(unit_event(v1::UnitEventKind::MessageReceived.into()), "MessageReceived");
        assert_eq!(event(4711), "Unknown4711");
        assert_eq!(trust(9), "unknown-9");
        assert_eq!(clock(None), "unknown");
    }
}
