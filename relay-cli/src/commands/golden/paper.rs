//! Papers: the two writers, from the samples of the repository and from what a hostile peer would
//! write.

mod everywhere;
mod extract;

use std::path::{Path, PathBuf};

use relay_proto::{
    card::Card,
    evidence::{self, Effect, Problem, ReceiptLine, TrustAnchors, Verdict},
    file::MessageFile,
    ids::Digest,
    reason::Reason,
    v1,
};

use super::{compare, golden, samples};
use crate::{
    args::PaperFormat,
    commands::paper::PaperReport,
    exit::Exit,
    paper::{
        self, Block, Paper, Written,
        certificate::{self, Judged},
        request,
    },
    render::is_unsafe,
    report::Report as _,
};
use everywhere::everywhere;
use extract::text_of;

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

/// Where it was written, and as what.
#[test]
fn a_written_paper_is_told() {
    let report = PaperReport {
        paper: "certificate",
        short_id: "4D2P-F2DB".into(),
        verdict: Some("CONSISTENT".into()),
        format: PaperFormat::Pdf.word(),
        file: "court/certificate.pdf".into(),
        notices: vec![format!("No font has {}", super::HOSTILE)],
        exit: Exit::Attention,
    };
    assert!(golden("paper-written", &report).starts_with("CONSISTENT  WRITTEN certificate"));
    assert_eq!(report.exit(), Exit::Attention);
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

/// Only with the fonts inside of this program, so that every computer makes the same.
fn pdf(paper: &Paper) -> Written {
    paper::pdf::write(paper, &[]).unwrap()
}

/// Without blanks: where a line ends is the writer's business.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// How many pages a PDF has: each has its size.
fn pages(pdf: &[u8]) -> usize {
    pdf.windows(9).filter(|window| window == b"/MediaBox").count()
}

/// All that the paper says can be searched and copied; the same paper is the same file.
#[test]
fn pdfs_hold_their_text() {
    let paper = request::paper(&message("09-preservation-request.json"), samples::now()).unwrap();
    let written = pdf(&paper);
    assert!(written.notices.is_empty(), "{:?}", written.notices);
    assert_eq!(written.bytes, pdf(&paper).bytes);
    let text = bare(&text_of(&written.bytes));
    for block in &paper.blocks {
        let said: Vec<&str> = match block {
            Block::Section(title) => vec![title],
            Block::Note(phrase) => vec![phrase.text()],
            Block::Fields(fields) => {
                let values = fields.iter().flat_map(|field| &field.values).map(|one| one.text());
                values.chain(fields.iter().map(|field| field.label)).collect()
            }
            Block::Table(table) => {
                table.rows.iter().flatten().map(|phrase| phrase.text()).collect()
            }
            _ => Vec::new(),
        };
        for said in said {
            assert!(text.contains(&bare(said)), "{said} is not in {text}");
        }
    }
    let certificate = pdf(&certificate(true, |_| (), |_| ()).unwrap());
    assert_eq!(pages(&certificate.bytes), 1);
    let text = bare(&text_of(&certificate.bytes));
    for said in evidence::NOT_PROVEN.iter().chain(&["VALID", "log xb.ncu/log/1, index 5"]) {
        assert!(text.contains(&bare(said)), "{said} is not in {text}");
    }
}

/// One page for a ladder of eight; more where it must be; nothing is lost of a long text.
#[test]
fn long_papers_go_on() {
    let ladder = |number: usize| {
        move |verdict: &mut Verdict| {
            let step = verdict.ladder[0].clone();
            verdict.ladder =
                (1..=number).map(|n| ReceiptLine { number: n, ..step.clone() }).collect();
        }
    };
    let of = |number| pages(&pdf(&certificate(true, |_| (), ladder(number)).unwrap()).bytes);
    assert_eq!([4, 6, 8].map(of), [1, 1, 1]);
    assert!(of(40) > 1);
    let mut long = everywhere("x");
    let facts: String = (0..4000).map(|number| format!("word{number} ")).collect();
    if let Some(v1::payload::Body::PreservationRequest(request)) =
        long.payload.as_mut().and_then(|payload| payload.body.as_mut())
    {
        request.facts.clone_from(&facts);
    }
    let written = pdf(&request::paper(&long, samples::now()).unwrap());
    assert!(pages(&written.bytes) > 4);
    let text = text_of(&written.bytes);
    assert_eq!((0..4000).filter(|number| !text.contains(&format!("word{number}"))).count(), 0);
}

/// Whatever a peer writes, the file holds no action, and its text nothing that turns or hides.
#[test]
fn hostile_words_stay_words_in_a_pdf() {
    let wild = request::paper(&everywhere(HOSTILE), samples::now()).unwrap();
    let written = pdf(&wild);
    for action in ["/JavaScript", "/JS", "/OpenAction", "/AA", "/Launch", "/URI", "/EmbeddedFile"] {
        let found = written.bytes.windows(action.len()).any(|window| window == action.as_bytes());
        assert!(!found, "{action}");
    }
    let text = text_of(&written.bytes);
    assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "unsafe: {text:?}");
    let shown = bare(&text).matches("</style></title></svg><script>alert(1)</script>").count();
    let written = html(&wild).matches("&lt;/style&gt;&lt;/title&gt;").count();
    // The foot holds it once: in HTML at the end and in the title, in a PDF on every page.
    assert_eq!(shown - pages(&pdf(&wild).bytes), written - 2);
}

/// Arabic is in the own fonts, and joined; what is in none of them is told, in the paper and
/// beside.
#[test]
fn letters_without_a_font_are_told() {
    let arabic = "وحدة مكافحة الجرائم الإلكترونية";
    let written = pdf(&request::paper(&everywhere(arabic), samples::now()).unwrap());
    assert!(written.notices.is_empty(), "{:?}", written.notices);
    let text = text_of(&written.bytes);
    let missing: Vec<char> = arabic.chars().filter(|c| !text.contains(*c)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {text}");
    // Read from the left, a line of Arabic is read from its end, but each letter is itself.
    let counted = |text: &str, c: char| text.chars().filter(|other| *other == c).count();
    assert_eq!(counted(&text, 'ل') % counted(arabic, 'ل'), 0);

    let written = pdf(&request::paper(&everywhere("한국 \u{e123}"), samples::now()).unwrap());
    let [notice] = written.notices.as_slice() else { panic!("{:?}", written.notices) };
    assert!(notice.contains("U+AD6D, U+D55C, U+E123"), "{notice}");
    let text = bare(&text_of(&written.bytes));
    assert!(text.contains(&bare(notice)) && text.contains("\\u{d55c}\\u{ad6d}"), "{text}");
}

/// Fonts of the computer lend the letters that the own ones lack, each its own; what is no font
/// there does no harm.
#[test]
fn other_fonts_lend_letters() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("more");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(folder.path().join("broken.ttf"), dejavu::serif::regular().split_at(999).0)
        .unwrap();
    std::fs::write(folder.path().join("mono.ttf"), dejavu::sans_mono::regular()).unwrap();
    std::fs::write(inner.join("serif.ttf"), dejavu::serif::regular()).unwrap();
    // The one is in the first of these fonts only, the other one in the second.
    let paper = request::paper(&everywhere("\u{2336} \u{2900}"), samples::now()).unwrap();
    let written = paper::pdf::write(&paper, &[folder.path()]).unwrap();
    assert!(written.notices.is_empty(), "{:?}", written.notices);
    assert_eq!(written.bytes, paper::pdf::write(&paper, &[folder.path()]).unwrap().bytes);
    let text = text_of(&written.bytes);
    assert!(text.contains('\u{2336}') && text.contains('\u{2900}'), "{text}");
    std::fs::remove_dir_all(&inner).unwrap();
    let written = paper::pdf::write(&paper, &[folder.path()]).unwrap();
    assert!(written.notices[0].contains("U+2900") && !written.notices[0].contains("U+2336"));
}
