//! `template list|show`: message files to fill in, one for every kind that a desk sends, each field
//! explained.
//!
//! What a kind says is written out in `src/templates`, one file a kind; what all kinds share is in
//! `shared.json` there, and put around it here. A `"?"` is to be filled in, a line that is
//! commented out may stay so. Invariant: the tests fill every template from the samples of the wire
//! format, so a field that goes away, or a word that is added, is noticed.

use relay_proto::{
    payload::{all_kinds, is_answer, is_casework, kind_name},
    v1,
};
use serde::Serialize;

use crate::{
    args::TemplateVerb,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Page, Table},
    report::Report,
    view::words,
};

/// `template list`
#[derive(Debug, Clone, Serialize)]
pub struct TemplatesReport {
    pub templates: Vec<TemplateView>,
}

/// A template.
#[derive(Debug, Clone, Serialize)]
pub struct TemplateView {
    pub name: String,
    /// Its first comment.
    pub about: String,
}

/// `template show`
#[derive(Debug, Clone, Serialize)]
pub struct TemplateReport {
    pub name: String,
    pub text: String,
}

/// Runs a verb of the noun; no node is asked.
pub fn run(context: &Context, verb: &TemplateVerb) -> Result<Exit, Failure> {
    match verb {
        TemplateVerb::List => context.printer().report(&all()),
        TemplateVerb::Show { name } => {
            let kind = by_name(name).ok_or_else(|| unknown(name))?;
            let text = whole(kind).ok_or_else(|| unknown(name))?;
            let name = words::kind(kind.into());
            context.printer().report(&TemplateReport { name, text })
        }
    }
}

/// All of them, by the number of their kind.
pub fn all() -> TemplatesReport {
    let view = |kind| TemplateView { name: words::kind(kind as i32), about: about(kind) };
    let templates = all_kinds().filter(|kind| content(*kind).is_some()).map(view);
    TemplatesReport { templates: templates.collect() }
}

/// A kind by the name of its template; the request also by its article.
fn by_name(name: &str) -> Option<v1::Kind> {
    let name = if name == "art29" { "preservation-request" } else { name };
    all_kinds().find(|kind| words::kind((*kind).into()) == name)
}

fn unknown(name: &str) -> Failure {
    Failure::new(Exit::NotFound, format!("There is no template {name}."))
        .safe("nothing was done")
        .with_remedy("relay-cli template list")
}

/// The first comment of a template, as one sentence.
fn about(kind: v1::Kind) -> String {
    let lines = content(kind).unwrap_or_default().lines();
    let comment = lines.map_while(|line| line.trim_start().strip_prefix("//"));
    let text = comment.map(str::trim).collect::<Vec<_>>().join(" ");
    let end = text.find(": ").or_else(|| text.find(". ")).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The whole file.
pub fn whole(kind: v1::Kind) -> Option<String> {
    let content = content(kind)?;
    let verb = match kind {
        v1::Kind::Alert => "alert",
        v1::Kind::PreservationRequest => "preservation",
        _ => "message",
    };
    let mut text = format!(
        "// {} for relay-cli send {verb} --file FILE\n\
         // Lines that begin with // or # are comments. Every \"?\" is to be filled in;\n\
         // what is commented out may stay so. Times: 2026-03-02T08:15:00Z, or as @+28d,\n\
         // @-90m from when it is sent. Check it before: the same with --dry-run.\n{{\n\
         \x20\"env\": {{\n\
         \x20 \"kind\": \"{}\",\n\
         \x20 // The network whose rules hold.\n\
         \x20 \"profile\": \"budapest-247\",\n",
        words::kind(kind.into()),
        kind_name(kind)
    );
    text.push_str(match is_casework(kind) {
        true => "  // The other unit of the case; exactly one.\n",
        false => "  // Units that are verified peers (relay-cli peer list), 256 at most.\n",
    });
    text.push_str("  \"to\": [\"?\"],\n");
    // What begins a matter gets its case id from the node.
    if is_answer(kind) {
        text.push_str(
            "  // The matter that it belongs to, as all its messages name it: the case's id\n  \
             // (relay-cli case show).\n  \"thread_id\": \"?\",\n  \
             // The message that it answers: its whole id (relay-cli show --json).\n  \
             \"in_reply_to\": \"?\",\n",
        );
    } else {
        text.push_str(
            "  // An earlier matter that it belongs to, and the message that it answers.\n  \
             // \"thread_id\": \"?\",\n  // \"in_reply_to\": \"?\",\n",
        );
    }
    text.push_str(match kind {
        v1::Kind::EmergencyRequest | v1::Kind::EmergencyReply => {
            "  // With its reason.\n  \"priority\": \"EMERGENCY\",\n  \
             \"urgency_reason\": \"?\",\n"
        }
        _ => {
            "  // ROUTINE; URGENT or EMERGENCY with their reason.\n  \
             \"priority\": \"ROUTINE\",\n  // \"urgency_reason\": \"?\",\n"
        }
    });
    text.push_str(ENV_REST);
    text.push_str(content);
    text.push_str("}\n");
    Some(text)
}

/// What all kinds share of `env`.
const ENV_REST: &str = include_str!("../templates/shared.json");

macro_rules! templates {
    ($($kind:ident $file:literal;)*) => {
        /// What a message of this kind says; none of a kind that no desk sends.
        fn content(kind: v1::Kind) -> Option<&'static str> {
            match kind {
                $(v1::Kind::$kind => Some(include_str!(concat!("../templates/", $file, ".json"))),)*
                // The warning of an end is the node's own.
                v1::Kind::ExpiryWarning | v1::Kind::Unspecified => None,
            }
        }
    };
}

templates! {
    Alert "alert";
    AlertUpdate "alert-update";
    AlertCancel "alert-cancel";
    AlertFeedback "alert-feedback";
    ConditionalOffer "conditional-offer";
    ConditionReply "condition-reply";
    PreservationRequest "preservation-request";
    RequestAck "request-ack";
    InfoRequired "info-required";
    InfoReply "info-reply";
    RiskNotice "risk-notice";
    RiskDecision "risk-decision";
    PreservationDecision "preservation-decision";
    PreservationConfirmation "preservation-confirmation";
    TrafficDisclosure "traffic-disclosure";
    DisclosureWithheld "disclosure-withheld";
    ExtensionRequest "extension-request";
    ExtensionDecision "extension-decision";
    MlaNotice "mla-notice";
    MlaReceived "mla-received";
    Withdrawal "withdrawal";
    Closure "closure";
    IncidentNotice "incident-notice";
    EmergencyRequest "emergency-request";
    EmergencyReply "emergency-reply";
    AssistanceRequest "assistance-request";
    AssistanceReply "assistance-reply";
    HandlingRelease "handling-release";
    HandlingReport "handling-report";
    ContactCheck "contact-check";
}

impl Report for TemplatesReport {
    const VERB: &'static str = "template.list";

    fn people(&self, page: &mut Page) {
        let number = self.templates.len();
        page.line(format!("{number} templates: relay-cli template show NAME > FILE"));
        page.gap();
        let mut table = Table::new(&["NAME", "WHAT"], 1);
        for template in &self.templates {
            table.row([template.name.clone(), template.about.clone()]);
        }
        page.table(&table);
    }
}

impl Report for TemplateReport {
    const VERB: &'static str = "template.show";

    fn people(&self, page: &mut Page) {
        page.file(&self.text);
    }
}

#[cfg(test)]
mod tests;
