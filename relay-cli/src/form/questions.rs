//! The questions of the form, in its order, each with its help.

/// A question.
#[derive(Debug)]
pub struct Question {
    /// 1 to 6 are the parts of Article 29(2); 7 is how urgent it is.
    pub part: usize,
    /// Where the answer goes; `#` is the item's place.
    pub path: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    pub shape: Shape,
    /// Enter alone leaves it out.
    pub optional: bool,
    /// What Enter alone stands for.
    pub default: &'static str,
}

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    /// With commas between.
    Texts,
    Number,
    YesNo,
    /// One of a closed list, by name or number.
    Word(&'static [&'static str]),
    /// Some of a closed list, with commas between.
    Words(&'static [&'static str]),
    /// A type and a value.
    Identifier,
    /// Whether another item follows.
    More,
}

/// The parts and the article that asks for each.
pub const PARTS: [&str; 7] = [
    "1/6 Requesting authority (Article 29(2)(a))",
    "2/6 Offence and brief facts (Article 29(2)(b))",
    "3/6 Data and their relation to the offence (Article 29(2)(c))",
    "4/6 Custodian or location (Article 29(2)(d))",
    "5/6 Necessity (Article 29(2)(e))",
    "6/6 Mutual assistance will follow (Article 29(2)(f))",
    "Urgency",
];

const fn must(
    part: usize,
    path: &'static str,
    label: &'static str,
    shape: Shape,
    help: &'static str,
) -> Question {
    Question { part, path, label, help, shape, optional: false, default: "" }
}

const fn may(
    part: usize,
    path: &'static str,
    label: &'static str,
    shape: Shape,
    help: &'static str,
) -> Question {
    Question { optional: true, ..must(part, path, label, shape, help) }
}

const fn usual(question: Question, default: &'static str) -> Question {
    Question { default, ..question }
}

use Shape as S;

/// All of them.
pub const QUESTIONS: &[Question] = &[
    must(
        1,
        "request.requesting_authority.organisation",
        "Authority",
        S::Text,
        "The authority that seeks the preservation. The node adds the telephone of your card.",
    ),
    must(1, "request.requesting_authority.person", "Person in charge", S::Text, "Name and rank."),
    must(
        1,
        "request.confirmation_contact.name",
        "Who confirms by telephone",
        S::Text,
        "Section 6 of the form: whom they call back to be sure that the request is genuine.",
    ),
    must(
        1,
        "request.confirmation_contact.phone",
        "Their telephone",
        S::Text,
        "As it is dialled from abroad: +1-202-555-0143.",
    ),
    must(1, "env.sender_ref", "Your case number", S::Text, "Your own; 500 characters at most."),
    must(
        2,
        "request.proceeding_stage",
        "Stage",
        S::Word(&["INVESTIGATION", "PROSECUTION", "TRIAL"]),
        "The stage of the proceedings.",
    ),
    must(2, "request.offences[0].title", "Offence", S::Text, "As your law calls it."),
    must(2, "request.offences[0].provision", "Provision", S::Text, "Law and section."),
    must(
        2,
        "request.offences[0].convention_articles",
        "Articles of the Convention",
        S::Texts,
        "2 to 11, with commas between, or other. For those of 2 to 11 dual criminality is no \
         ground of refusal (Article 29(4)).",
    ),
    must(2, "request.facts", "Brief facts", S::Text, "What happened, when; 20,000 characters."),
    must(
        3,
        "request.items[#].identifier",
        "Identifier (type and value)",
        S::Identifier,
        "As in: email name@example.com; ipv4 198.51.100.7; account provider:name. Types: ipv4, \
         ipv6, domain, url, email, phone, account, name, other.",
    ),
    may(
        3,
        "request.items[#].source_port",
        "Source port",
        S::Number,
        "Many users share an address (CGNAT): without the port they cannot be told apart.",
    ),
    must(
        3,
        "request.items[#].data_class",
        "Data",
        S::Words(&["SUBSCRIBER", "TRAFFIC", "CONTENT", "OTHER"]),
        "Names or numbers, with commas between.",
    ),
    may(
        3,
        "request.items[#].time_from",
        "From",
        S::Text,
        "UTC: 2026-11-10T00:00:00Z. The zone is part of the time.",
    ),
    may(3, "request.items[#].time_to", "To", S::Text, "UTC: 2026-11-16T23:59:59Z."),
    must(
        3,
        "request.items[#].relationship",
        "Relation to the offence",
        S::Text,
        "How these data relate to the offence.",
    ),
    usual(must(3, "more", "Another item", S::More, "250 at most."), "n"),
    must(4, "request.custodian.name", "Custodian", S::Text, "Who holds the data."),
    may(4, "request.custodian.country", "Its country", S::Text, "Two letters: FR."),
    may(4, "request.system_location.hostname", "System", S::Text, "Where it is, if known."),
    must(
        5,
        "request.necessity.code",
        "Why it cannot wait",
        S::Word(&["LOG_ROTATION", "ACCOUNT_DELETION", "SUSPECT_AWARE", "CONTRACT_END", "OTHER"]),
        "The reason in a word.",
    ),
    must(5, "request.necessity.text", "In your words", S::Text, "As in: logs are kept 30 days."),
    may(
        5,
        "request.loss_expected_at",
        "Lost from",
        S::Text,
        "When the data are gone: 2026-12-10T00:00:00Z. It decides who is served first.",
    ),
    usual(
        must(
            6,
            "request.mla_intent",
            "Will you ask for mutual assistance",
            S::YesNo,
            "Without that intention there is no preservation.",
        ),
        "y",
    ),
    usual(
        must(
            6,
            "request.mla_measures",
            "For",
            S::Words(&["SEARCH_ACCESS", "SEIZE_SECURE", "DISCLOSE"]),
            "What that request will ask for.",
        ),
        "DISCLOSE",
    ),
    must(6, "request.mla_intended_by", "By", S::Text, "By when: 2027-01-20T00:00:00Z, or @+50d."),
    usual(
        must(
            6,
            "request.traffic_data_art30",
            "Disclose other providers at once (Article 30)",
            S::YesNo,
            "Enough traffic data to identify other providers that took part.",
        ),
        "y",
    ),
    usual(
        must(
            6,
            "request.confidentiality.keep_secret",
            "Keep it secret",
            S::YesNo,
            "That there is such a request.",
        ),
        "y",
    ),
    usual(
        must(
            6,
            "request.confidentiality.do_not_notify_user",
            "Do not notify the user",
            S::YesNo,
            "The custodian tells the user nothing.",
        ),
        "y",
    ),
    may(6, "request.confidentiality.reason", "Because", S::Text, "As in: suspect unaware."),
    usual(
        must(
            6,
            "request.may_close_account",
            "May the account be closed",
            S::YesNo,
            "Without asking you before.",
        ),
        "n",
    ),
    usual(
        must(
            7,
            "env.priority",
            "Priority",
            S::Word(&["ROUTINE", "URGENT", "EMERGENCY"]),
            "EMERGENCY is for a risk to life.",
        ),
        "ROUTINE",
    ),
    must(7, "env.urgency_reason", "Because", S::Text, "Why it is more urgent than others."),
];
