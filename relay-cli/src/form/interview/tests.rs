//! The dialogue driven by scripts of lines.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use relay_proto::{file::MessageFile, v1::payload::Body};

use super::*;
use crate::render::WIDTH;

fn look() -> Look {
    let now = "2026-11-24T03:12:00Z".parse().unwrap();
    Look { now, utc: false, plain: false, quiet: false, verbose: false }
}

/// What was written, piece by piece: a person ends the line of a question.
struct Screen(Vec<String>);

impl Write for &mut Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Types the lines; what was asked, what was filled in, what is wanted.
fn typed(lines: &[&str]) -> (Choice, Form, String) {
    let mut form = Form::new(&"xb.ncu".parse().unwrap(), "Cybercrime Unit XA", look().now);
    let script = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut screen = Screen(Vec::new());
    let choice = Interview::new(script.as_bytes(), &mut screen, look()).fill(&mut form).unwrap();
    let is_narrow = |text: &String| text.lines().all(|line| line.chars().count() <= WIDTH);
    assert!(screen.0.iter().all(is_narrow), "{:?}", screen.0);
    let written = screen.0.concat();
    assert!(!written.contains('\u{1b}'), "no cursor is moved");
    (choice, form, written)
}

/// A whole request; `@` is kept for what is typed at the end.
const WHOLE: [&str; 32] = [
    "", // the authority is kept
    "Insp. Mira Valtonen",
    "J. Okafor",
    "+1-202-555-0144",
    "XA-CCU-2026-0342",
    "1",
    "Computer-related fraud",
    "Penal Code XA s.312",
    "8",
    "Account used to redirect invoices.",
    "ipv4 198.51.100.7",
    "51422",
    "subscriber, 2",
    "2026-11-10T00:00:00Z",
    "2026-11-16T23:59:59Z",
    "sender of the false invoices",
    "n",
    "ISP Exemplo SA",
    "",
    "",
    "log-rotation",
    "logs are kept 30 days",
    "2026-12-10T00:00:00Z",
    "",
    "",
    "2027-01-20T00:00:00Z",
    "",
    "",
    "",
    "suspect unaware",
    "",
    "1",
];

fn whole(rest: &[&'static str]) -> Vec<&'static str> {
    WHOLE.iter().chain(rest).copied().collect()
}

/// From the first question to SEND: the six parts are there, as the wire format wants them.
#[test]
fn a_request_is_filled_in_and_sent() {
    let (choice, form, written) = typed(&whole(&["SEND"]));
    assert_eq!(choice, Choice::Send, "{written}");
    form.checked().unwrap_or_else(|faults| panic!("{faults}"));
    let draft = MessageFile::parse(&form.file(), look().now).unwrap();
    let payload = draft.payload.unwrap();
    let Some(Body::PreservationRequest(request)) = payload.body else { panic!("{written}") };
    assert_eq!(request.requesting_authority.unwrap().organisation, "Cybercrime Unit XA");
    let [item] = request.items.as_slice() else { panic!("{:?}", request.items) };
    assert_eq!((item.item_id.as_str(), item.source_port, item.data_class.len()), ("1", 51422, 2));
    assert_eq!(request.offences[0].convention_articles, ["8"]);
    assert_eq!(payload.sender_ref, "XA-CCU-2026-0342");
    for part in &PARTS[..6] {
        assert!(written.contains(part), "{part}");
    }
    assert!(!written.contains("! "), "{written}");
}

/// What is typed wrong is told at once, by the wire format's own words, and asked again; an empty
/// line is no answer where one is needed.
#[test]
fn wrong_answers_are_asked_again() {
    let mut lines = whole(&["SEND"]);
    for (at, wrong) in [
        (31, "maybe"),
        (29, ""),
        (25, "soon"),
        (20, "because"),
        (14, "2026-11-09T00:00:00Z"),
        (13, "yesterday"),
        (12, "pictures"),
        (11, "70000"),
        (10, "198.51.100.7"),
        (10, "ipv4 198.51.100.700"),
        (8, "12"),
        (3, "110"),
        (1, ""),
    ] {
        lines.insert(at, wrong);
    }
    let (choice, form, written) = typed(&lines);
    assert_eq!(choice, Choice::Send, "{written}");
    assert!(form.checked().is_ok());
    for told in [
        "Needed. Type ? for help.",
        "not an international telephone number",
        "expected an article from 2 to 11",
        "Type and value",
        "not of type ipv4",
        "over 65535",
        "One of SUBSCRIBER",
        "not a time",
        "One of LOG_ROTATION",
        "One of ROUTINE",
        "missing: state why it must be kept secret",
    ] {
        assert!(written.contains(told), "{told}: {written}");
    }
}

/// Help, back with what was typed before, another item, editing on the review page, urgency.
#[test]
fn one_can_go_back_and_edit() {
    let mut lines = whole(&["e 1", "Police XA", "e 99", "send", "SEND"]);
    lines[31] = "urgent";
    lines.insert(32, "volatile logs");
    // A second item: an address has a port, a mailbox has none.
    lines[16] = "y";
    for (at, line) in (17..).zip(["email a@example.com", "content", "", "", "his mailbox", "n"]) {
        lines.insert(at, line);
    }
    // Help, then two questions back: what was typed is kept by Enter.
    for (at, line) in (3..).zip(["?", "b", "b", "", ""]) {
        lines.insert(at, line);
    }
    let (choice, form, written) = typed(&lines);
    assert_eq!(choice, Choice::Send, "{written}");
    form.checked().unwrap_or_else(|faults| panic!("{faults}\n{written}"));
    assert!(written.contains("+1-202-555-0143") && written.contains("[Insp. Mira Valtonen]"));
    assert_eq!(written.matches("Not understood").count(), 2, "{written}");
    assert_eq!(form.at("request.requesting_authority.organisation"), Some(&json!("Police XA")));
    assert_eq!(form.at("request.items[1].identifier.value"), Some(&json!("a@example.com")));
    assert_eq!(form.at("request.items[1].item_id"), Some(&json!("2")));
    assert_eq!(form.at("env.urgency_reason"), Some(&json!("volatile logs")));
    assert!(form.at("request.items[1].source_port").is_none());
}

/// Nothing leaves without SEND: leaving and saving say so, and a line that is cut off saves.
#[test]
fn nothing_is_sent_by_accident() {
    assert_eq!(typed(&["", "M.V.", "q"]).0, Choice::Leave);
    assert_eq!(typed(&["", "M.V.", "s"]).0, Choice::Save);
    let (choice, form, _) = typed(&["", "M.V."]);
    assert_eq!(choice, Choice::Save);
    assert!(form.file().contains("M.V."));
    for (line, choice) in
        [("d", Choice::Check), ("s", Choice::Save), ("q", Choice::Leave), ("Send", Choice::Save)]
    {
        assert_eq!(typed(&whole(&[line])).0, choice, "{line}");
    }
}

/// Pasted control characters are refused by the checks and shown harmless.
#[test]
fn hostile_lines_are_shown_harmless() {
    let (_, _, written) = typed(&["x\u{202e}y\u{1b}[2J", "q"]);
    assert!(!written.contains('\u{202e}') && !written.contains('\u{1b}'), "{written:?}");
}
