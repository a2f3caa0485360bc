//! Papers: the two writers, from the samples of the repository and from what a hostile peer would
//! write.

use std::path::{Path, PathBuf};

use relay_proto::{
    card::Card,
    evidence::{self, Effect, Problem, TrustAnchors, Verdict},
    file::MessageFile,
    ids::Digest,
    reason::Reason,
    v1,
};

use super::{compare, samples};
use crate::{
    args::PaperFormat,
    paper::{
        self, Block, Paper,
        certificate::{self, Judged},
        request,
    },
    render::is_unsafe,
};

/// Tries to leave its element, its attribute, its line and its direction.
const HOSTILE: &str = "</style></title></svg><script>alert(1)</script>' onload=\"x\" &lt; <!-- \
                       ]]>\u{0}\u{1b}[2J\r\u{202e}dlrow\u{2066}\u{200b}\u{7f}";

/// A message that was made of a sample as a node makes one.
fn message(sample: &str) -> v1::Message {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/samples");
    let text = std::fs::read_to_string(vectors.join(sample)).unwrap();
    let draft = MessageFile::parse(&text, samples::now()).unwrap();
    v1::Message {
        from: draft.payload.as_ref().unwrap().from.clone(),
        to: draft.to.clone(),
        profile: draft.profile.clone(),
        priority: draft.priority,
        kind: v1::Kind::PreservationRequest.into(),
        payload: draft.payload,
        ..samples::outgoing()
    }
}

fn bundle() -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/evidence.hex");
    let text = std::fs::read_to_string(file).unwrap();
    let hex = text.trim().strip_prefix("file: ").unwrap();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The certificate of the bundle of the vectors, with a change of it and one of its judgement;
/// anchored by its own cards or not.
fn certificate(
    anchored: bool,
    change: impl Fn(&mut v1::EvidenceBundle),
    judge: impl Fn(&mut Verdict),
) -> Option<Paper> {
    let bytes = bundle();
    let mut bundle = evidence::parse(&bytes).unwrap();
    change(&mut bundle);
    let mut trust = TrustAnchors::default();
    for card in bundle.cards.iter().filter(|_| anchored) {
        trust.add_card(Card::open(card).unwrap()).unwrap();
    }
    let mut verdict = evidence::verify(&bundle, &trust);
    judge(&mut verdict);
    let file = Path::new("court/0W3G-E1R7.relayev");
    let judged = Judged { file, digest: Digest::of(&bytes), bundle: &bundle, verdict: &verdict };
    certificate::paper(&judged, samples::now())
}

fn html(paper: &Paper) -> String {
    let text = String::from_utf8(paper::write(paper, PaperFormat::Html).unwrap().bytes).unwrap();
    assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "unsafe: {text:?}");
    text
}

/// What a browser would take for markup: everything between the angle brackets.
fn markup(html: &str) -> Vec<&str> {
    html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect()
}

/// Section by section as the form has them, then letter by letter as the article has them.
#[test]
fn requests_as_html() {
    for (sample, name) in [
        ("09-preservation-request.json", "paper-request.html"),
        ("12-preservation-request.json", "paper-request-items.html"),
    ] {
        let paper = request::paper(&message(sample), samples::now()).unwrap();
        let text = html(&paper);
        compare(name, &text);
        let heads = paper.blocks.iter().filter_map(|block| match block {
            Block::Section(title) => Some(title.as_str()),
            _ => None,
        });
        let heads: Vec<&str> = heads.collect();
        for (number, head) in (1..=7).zip(&heads) {
            assert!(head.starts_with(&format!("{number}. ")), "{heads:?}");
        }
        for (letter, head) in ('a'..='f').zip(heads.iter().skip(7)) {
            assert!(head.starts_with(&format!("Article 29(2)({letter})")), "{heads:?}");
        }
        assert!(text.contains("Only sections 1 to 7 follow the order of the form T-CY(2018)11"));
    }
    let other = v1::Message { payload: None, ..samples::incoming() };
    assert!(request::paper(&other, samples::now()).is_none(), "no content, no form");
    assert!(request::paper(&message("01-alert.json"), samples::now()).is_none());
}

/// The word of the judgement, the ladder, and what it does not prove; none of what does not hold.
#[test]
fn certificates_as_html() {
    let valid = html(&certificate(true, |_| (), |_| ()).unwrap());
    compare("paper-certificate.html", &valid);
    assert!(valid.contains("<strong>VALID</strong>") && valid.contains("</desc>"));
    for text in evidence::NOT_PROVEN {
        assert!(valid.contains(text), "{text}");
    }
    let loose = html(&certificate(false, |_| (), |_| ()).unwrap());
    assert!(loose.contains("<strong>CONSISTENT</strong>") && !loose.contains("VALID"));
    let broken = |bundle: &mut v1::EvidenceBundle| bundle.receipts[0].index += 1;
    assert!(certificate(true, broken, |_| ()).is_none());
    let headless = |bundle: &mut v1::EvidenceBundle| bundle.header = None;
    assert!(certificate(true, headless, |_| ()).is_none());
}

/// Whatever a peer writes into whatever field, a browser sees the same elements with the same
/// attributes as of harmless words.
#[test]
fn hostile_words_make_no_markup() {
    let calm = request::paper(&everywhere("x"), samples::now()).unwrap();
    let wild = request::paper(&everywhere(HOSTILE), samples::now()).unwrap();
    let (calm, wild) = (html(&calm), html(&wild));
    assert_eq!(markup(&wild), markup(&calm));
    assert!(wild.contains("&lt;/style&gt;&lt;/title&gt;"));
    // Every field is shown: what was put in comes out, as often as it went in.
    assert!(wild.matches("dlrow").count() > 50, "{}", wild.matches("dlrow").count());
    let [calm, wild] =
        ["x", HOSTILE].map(|words| html(&certificate(true, |_| (), said(words)).unwrap()));
    assert_eq!(markup(&wild), markup(&calm));
    assert_eq!(wild.matches("dlrow").count(), 3);
}

/// Puts this text wherever a judgement holds words of others.
fn said(words: &str) -> impl Fn(&mut Verdict) {
    let words = words.to_owned();
    move |verdict| {
        verdict.ladder[0].actor = Some(words.clone());
        verdict.ladder[0].reason = Some(words.clone());
        verdict.problems.push(Problem {
            effect: Effect::Remark,
            reason: Reason::Malformed,
            place: "receipt 1".to_owned(),
            unit: None,
            text: words.clone(),
        });
    }
}

/// A request with this text in every field that holds one.
fn everywhere(text: &str) -> v1::Message {
    let words = || text.to_owned();
    let contact = v1::Contact {
        organisation: words(),
        name: words(),
        function: words(),
        address: words(),
        phone: words(),
        email: words(),
        fax: words(),
        office_hours: words(),
        time_zone: words(),
        reply_means: words(),
    };
    let offence = v1::Offence {
        title: words(),
        provision: words(),
        max_penalty: words(),
        convention_articles: vec![words()],
    };
    let item = v1::PreservationItem {
        item_id: words(),
        provider: words(),
        identifier: Some(v1::Identifier { r#type: words(), value: words() }),
        description: words(),
        time_zone: words(),
        retention_risk: words(),
        relationship: words(),
        ..Default::default()
    };
    let custodian = v1::Custodian {
        name: words(),
        address: words(),
        country: words(),
        le_portal_ref: words(),
        is_hosting_reseller: 0,
    };
    let place = v1::SystemLocation {
        ip: words(),
        asn: words(),
        hostname: words(),
        datacentre: words(),
        cloud_region: words(),
    };
    let court = v1::JudicialAuthorisation { court: words(), number: words(), ..Default::default() };
    let channel = v1::ParallelChannel { channel: words(), reference: words(), date_ms: 0 };
    let request = v1::PreservationRequest {
        status_of_request: v1::RequestStatus::Extension.into(),
        previous_reference: words(),
        requested_authority: Some(contact.clone()),
        requesting_authority: Some(contact.clone()),
        confirmation_contact: Some(contact.clone()),
        investigating_authority: Some(contact),
        judicial_authorisation: Some(court),
        offences: vec![offence],
        facts: words(),
        items: vec![item],
        custodian: Some(custodian),
        system_location: Some(place),
        necessity: Some(v1::Necessity { code: 4711, text: words() }),
        confidentiality: Some(v1::Confidentiality { reason: words(), ..Default::default() }),
        dual_criminality_note: words(),
        reply_language: vec![words()],
        parallel_channels: vec![channel],
        ..Default::default()
    };
    let payload = v1::Payload {
        language: "ar".to_owned(),
        sender_ref: words(),
        urgency_reason: words(),
        legal_basis: vec![v1::LegalBasis { instrument: words(), article: words() }],
        handling: Some(v1::Handling { tlp: 4711, conditions: vec![words()], ..Default::default() }),
        authority: Some(v1::Authority { organisation: words(), ..Default::default() }),
        attachments: vec![v1::Attachment {
            name: words(),
            description: words(),
            ..Default::default()
        }],
        body: Some(v1::payload::Body::PreservationRequest(request)),
        ..Default::default()
    };
    v1::Message {
        from: words(),
        to: vec![words()],
        profile: words(),
        payload: Some(payload),
        ..samples::incoming()
    }
}
