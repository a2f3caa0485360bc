//! Screens of 80 by 24, as a terminal would have them.
#![allow(clippy::unwrap_used)]

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::{
    commands::golden::{case::case, samples},
    render::is_unsafe,
};

/// The lines of a screen.
fn drawn(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen, samples::look())).unwrap();
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    let lines = cells.chunks(usize::from(width)).map(|line| line.concat().trim_end().to_owned());
    lines.collect()
}

fn busy() -> Screen {
    let status = v1::NodeStatus {
        peers: samples::peers().into_iter().take(5).collect(),
        outbox_open: 2,
        inbox_unacknowledged: 3,
        ..samples::status()
    };
    Screen {
        status,
        due: case().obligations.iter().map(ObligationView::from).collect(),
        waiting: vec![MessageView::from(&samples::outgoing())],
        stale: None,
    }
}

/// The verdict first, then who is there, what is due, what waits; nothing of a peer's strings
/// reaches the terminal raw.
#[test]
fn a_screen_has_what_a_desk_needs() {
    let lines = drawn(&busy(), 80, 24);
    assert_eq!(lines.len(), 24);
    let text = lines.join("\n");
    assert!(lines.first().unwrap().starts_with("xa.cyber-poc  2026-11-24T03:12:00Z"), "{text}");
    assert!(lines.get(1).unwrap().starts_with("ACTION NEEDED: 3 to acknowledge"), "{text}");
    for word in [
        "PEERS 5",
        "xb.ncu",
        "DOWN",
        "UNVERIFIED",
        "DUE 2, 1 overdue",
        "LATE 1 h",
        "4D2P-F2DB",
        "OUTBOX 2, safe on disk",
        "deferred",
        "PEER_UNREACHABLE",
        "q quits",
    ] {
        assert!(text.contains(word), "{word}:\n{text}");
    }
    assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
    let hostile = v1::Peer { unit: samples::HOSTILE.into(), ..samples::peers().remove(0) };
    let status = v1::NodeStatus { peers: vec![hostile], ..samples::status() };
    let text = drawn(&Screen { status, ..busy() }, 80, 24).join("\n");
    assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
}

/// A node that does not answer any more: the screen says that it is old. Small screens are drawn,
/// too.
#[test]
fn an_old_screen_says_so() {
    let stale = Some("The node did not answer in time.".to_owned());
    let lines = drawn(&Screen { stale, ..busy() }, 80, 24);
    assert_eq!(lines.get(1).unwrap(), "OLD: The node did not answer in time.");
    for (width, height) in [(1, 1), (20, 5), (200, 60)] {
        assert_eq!(drawn(&busy(), width, height).len(), usize::from(height));
    }
    let empty = drawn(&Screen::default(), 80, 24).join("\n");
    assert!(empty.contains("PEERS 0") && empty.contains("DUE 0, 0 overdue"), "{empty}");
}

/// `q` and Ctrl-C quit, nothing else does.
#[test]
fn keys_that_quit() {
    let key = |code, modifiers| quits(KeyEvent::new(code, modifiers));
    assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
    assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
    assert!(!key(KeyCode::Enter, KeyModifiers::NONE));
}
