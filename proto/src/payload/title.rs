//! One line about a message, for overviews.

use crate::v1;

/// An alert's title, a request's first offence, the reference or the first words of others; of a
/// payload that was checked, though it need not be.
pub fn title(payload: &v1::Payload) -> &str {
    use v1::payload::Body as B;
    let Some(body) = &payload.body else { return "" };
    match body {
        B::Alert(alert) | B::AlertUpdate(alert) => &alert.title,
        B::AlertCancel(cancel) => line(&cancel.note),
        B::AlertFeedback(feedback) => line(&feedback.text),
        B::ConditionalOffer(offer) => line(&offer.r#abstract),
        B::ConditionReply(_) => "",
        B::PreservationRequest(request) => first(&request.offences),
        B::RequestAck(ack) => &ack.q_reference,
        B::InfoRequired(info) => info.questions.first().map_or("", |one| line(&one.text)),
        B::InfoReply(info) => info.answers.first().map_or("", |one| line(&one.text)),
        B::RiskNotice(notice) => line(&notice.explanation),
        B::RiskDecision(decision) => &decision.signer,
        B::PreservationDecision(decision) => line(&decision.reasons),
        B::PreservationConfirmation(confirmation) => &confirmation.q_reference,
        B::TrafficDisclosure(disclosure) => {
            disclosure.provider.as_ref().map_or("", |provider| &provider.name)
        }
        B::DisclosureWithheld(withheld) => line(&withheld.reasons),
        B::ExtensionRequest(extension) => line(&extension.reason),
        B::ExtensionDecision(decision) => line(&decision.remark),
        B::MlaNotice(notice) => &notice.mla_reference,
        B::MlaReceived(received) => &received.q_mla_reference,
        B::Withdrawal(withdrawal) => line(&withdrawal.note),
        B::ExpiryWarning(warning) => &warning.q_reference,
        B::Closure(closure) => line(&closure.note),
        B::IncidentNotice(incident) => line(&incident.text),
        B::EmergencyRequest(request) => first(&request.offences),
        B::EmergencyReply(reply) => line(&reply.reasons),
        B::AssistanceRequest(request) => &request.subject,
        B::AssistanceReply(reply) => line(&reply.text),
        B::HandlingRelease(release) => line(&release.text),
        B::HandlingReport(report) => line(&report.statement),
        B::ContactCheck(check) => &check.scenario,
    }
}

fn first(offences: &[v1::Offence]) -> &str {
    offences.first().map_or("", |offence| &offence.title)
}

/// The first line of a longer text.
fn line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
