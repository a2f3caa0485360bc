//! What may be typed for kinds of messages that are legal in a case.

use relay_proto::v1;

use super::words;

/// What may be typed for kinds that are legal, a command a verb.
pub fn legal(legal: &[i32], name: &str) -> Vec<String> {
    let kinds = || legal.iter().filter_map(|kind| v1::Kind::try_from(*kind).ok());
    let answers: Vec<&str> = kinds().filter_map(answer).collect();
    let mut found = Vec::new();
    if !answers.is_empty() {
        found.push(format!("relay-cli respond {name} {}", answers.join(" | ")));
    }
    found.extend(kinds().filter_map(|kind| match kind {
        v1::Kind::Withdrawal => Some(format!("relay-cli withdraw {name} --reason WORD")),
        v1::Kind::ExtensionRequest => {
            Some(format!("relay-cli extend {name} --until DAY --reason TEXT"))
        }
        v1::Kind::MlaNotice => {
            Some(format!("relay-cli mla {name} --reference NUMBER --status WORD --authority TEXT"))
        }
        _ => None,
    }));
    let others: Vec<String> =
        kinds().filter(|kind| is_by_file(*kind)).map(|kind| words::kind(kind.into())).collect();
    if !others.is_empty() {
        found.push(format!("relay-cli template show {}", others.join(" | ")));
    }
    found
}

/// The flag of `respond` for a kind.
fn answer(kind: v1::Kind) -> Option<&'static str> {
    use v1::Kind as K;
    Some(match kind {
        K::RequestAck => "--taken",
        K::PreservationDecision => "--decision WORD",
        K::InfoRequired => "--ask FIELD=TEXT",
        K::InfoReply => "--answer FIELD=TEXT",
        K::RiskNotice => "--risk WORD",
        K::RiskDecision => "--proceed | --change | --abandon",
        K::PreservationConfirmation => "--confirm | --not-found",
        K::ExtensionDecision => "--extension WORD",
        K::MlaReceived => "--mla-received NUMBER | --mla-decided WORD",
        K::Closure => "--close TEXT",
        _ => return None,
    })
}

/// Kinds that are rare enough to be written as a file.
fn is_by_file(kind: v1::Kind) -> bool {
    use v1::Kind as K;
    matches!(
        kind,
        K::PreservationRequest | K::TrafficDisclosure | K::DisclosureWithheld | K::IncidentNotice
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind that a unit may be allowed to send in a case has a command.
    #[test]
    fn every_legal_kind_has_a_command() {
        for kind in relay_proto::payload::all_kinds() {
            let in_case = relay_proto::payload::is_casework(kind);
            // The warning of an end is the node's own.
            let typed = in_case && kind != v1::Kind::ExpiryWarning;
            assert_eq!(legal(&[kind.into()], "7F3K-22QD").len(), usize::from(typed), "{kind:?}");
        }
        let both = [v1::Kind::RequestAck.into(), v1::Kind::Closure.into()];
        let expected = "relay-cli respond 7F3K-22QD --taken | --close TEXT";
        assert_eq!(legal(&both, "7F3K-22QD"), [expected]);
    }
}
