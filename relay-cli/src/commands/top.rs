//! `top`: one screen that follows the node: peers, what is due, what waits to be sent.
//!
//! [`draw`] is pure: what the node said becomes a screen. Words, no colours; every text passes
//! through `clean`. Whatever ends the program, the terminal is put back.

use std::{io::IsTerminal as _, time::Duration};

use ratatui::{
    Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    text::Line,
    widgets::{Block, Paragraph, Row, Table},
};
use relay_proto::v1;

use super::{pages, status::StatusReport};
use crate::{
    client::Node,
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Look, Page, clean, time},
    report::Report,
    terminal::apart,
    view::{DeliveryView, MessageView, ObligationView, PeerView},
};

/// What the node said last.
#[derive(Debug, Clone, Default)]
struct Screen {
    status: v1::NodeStatus,
    due: Vec<ObligationView>,
    waiting: Vec<MessageView>,
    /// Why it is not newer.
    stale: Option<String>,
}

/// Puts the terminal back, also when the program is interrupted.
struct Raw;

impl Drop for Raw {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Follows the node until `q`.
pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let instead = "relay-cli status, relay-cli deadlines, relay-cli outbox";
    context.may_ask(instead)?;
    if !std::io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Usage, "The screen is not a terminal.")
            .safe("nothing was changed")
            .with_remedy(instead));
    }
    let node = context.node().await?;
    let mut screen = look(&node).await?;
    let mut terminal = ratatui::try_init().map_err(|error| no_terminal(&error))?;
    let _raw = Raw;
    let mut quit = std::pin::pin!(apart(until_quit));
    let mut ticks = tokio::time::interval(BETWEEN_LOOKS);
    loop {
        let now = Look { now: context.now(), ..context.printer().look };
        terminal.draw(|frame| draw(frame, &screen, now)).map_err(|error| no_terminal(&error))?;
        let ended = tokio::select! {
            ended = &mut quit => Some(ended),
            _ = ticks.tick() => None,
        };
        match ended {
            Some(ended) => {
                return ended?.map(|()| Exit::Done).map_err(|error| no_terminal(&error));
            }
            None => match look(&node).await {
                Ok(newer) => screen = newer,
                // What was seen stays, and the screen says that it is old.
                Err(failure) => screen.stale = Some(failure.what),
            },
        }
    }
}

fn no_terminal(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Attention, format!("The terminal cannot be used: {error}."))
        .with_remedy("relay-cli status")
}

/// Reads keys until one of those that quit.
fn until_quit() -> std::io::Result<()> {
    loop {
        if let Event::Key(key) = event::read()?
            && quits(key)
        {
            return Ok(());
        }
    }
}

/// `q`, and Ctrl-C, which is a key like any other while the screen is ours.
fn quits(key: KeyEvent) -> bool {
    let interrupts =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (key.code == KeyCode::Char('q') || interrupts)
}

async fn look(node: &Node) -> Result<Screen, Failure> {
    let failed = |status: tonic::Status| node.failure(&status);
    let status = node.node().get_status(node.request(v1::GetStatusRequest {})).await;
    let status = status.map_err(failed)?.into_inner();
    let request = v1::ListObligationsRequest::default();
    let due = node.cases().list_obligations(node.request(request)).await;
    let due = due.map_err(failed)?.into_inner();
    let (mut waiting, _) = pages(node, "direction = OUT AND open = yes", ROWS_MAX).await?;
    waiting.sort_by_key(|message| message.stored);
    let due = due.obligations.iter().map(ObligationView::from).collect();
    Ok(Screen { status, due, waiting, stale: None })
}

/// The whole screen.
fn draw(frame: &mut Frame<'_>, screen: &Screen, look: Look) {
    let areas: [Rect; 3] =
        Layout::vertical([Constraint::Length(3), Constraint::Fill(3), Constraint::Fill(2)])
            .areas(frame.area());
    let [head, middle, below] = areas;
    let halves: [Rect; 2] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(middle);
    let [left, right] = halves;
    frame.render_widget(Paragraph::new(heading(screen, look)), head);
    frame.render_widget(peers(screen, look), left);
    frame.render_widget(due(screen, look), right);
    frame.render_widget(waiting(screen, look), below);
}

/// Whose screen it is, when, and the verdict of `status`.
fn heading(screen: &Screen, look: Look) -> Vec<Line<'static>> {
    let report = StatusReport::of(&screen.status, look.now);
    let mut page = Page::new(Look { quiet: true, ..look });
    report.people(&mut page);
    let verdict = match &screen.stale {
        Some(why) => format!("OLD: {}", clean(why)),
        None => page.finish().trim_end().to_owned(),
    };
    let first = format!("{}  {}  clock {}", screen.status.unit, look.now, report.clock);
    vec![Line::from(clean(&first)), Line::from(verdict), Line::from("q quits")]
}

fn peers(screen: &Screen, look: Look) -> Table<'static> {
    let row = |peer: &v1::Peer| {
        let peer = PeerView::from(peer);
        let rtt = peer.rtt_us.map(|us| time::micros(us.into())).unwrap_or_default();
        let oldest = peer.oldest_outbox.map(|at| time::distance(at, look.now));
        let waits = peer.outbox_messages.to_string();
        cells([peer.unit.clone(), peer.word(), rtt, waits, oldest.unwrap_or_default()])
    };
    let rows: Vec<Row<'_>> = screen.status.peers.iter().map(row).collect();
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Length(4),
        Constraint::Length(8),
    ];
    let title = format!("PEERS {}", screen.status.peers.len());
    table(title, rows, &widths, ["PEER", "STATE", "RTT", "OUT", "OLDEST"])
}

fn due(screen: &Screen, look: Look) -> Table<'static> {
    let row = |one: &ObligationView| {
        let due = match (one.due, one.is_overdue()) {
            (None, _) => "-".to_owned(),
            (Some(at), true) => format!("LATE {}", time::distance(at, look.now)),
            (Some(at), false) => time::distance(at, look.now),
        };
        cells([due, one.short_id.clone(), one.duty.clone(), one.unit.clone()])
    };
    let rows: Vec<Row<'_>> = screen.due.iter().map(row).collect();
    let widths =
        [Constraint::Length(13), Constraint::Length(9), Constraint::Fill(1), Constraint::Fill(1)];
    let late = screen.due.iter().filter(|one| one.is_overdue()).count();
    let title = format!("DUE {}, {late} overdue", screen.due.len());
    table(title, rows, &widths, ["DUE IN", "CASE", "WHAT", "WHO"])
}

fn waiting(screen: &Screen, look: Look) -> Table<'static> {
    let rows = screen.waiting.iter().flat_map(|message| {
        let open = message.deliveries.iter().filter(|delivery| delivery.is_open());
        open.map(move |delivery: &DeliveryView| {
            let age = message.stored.map(|at| time::distance(at, look.now));
            let reason = delivery.reason.clone().unwrap_or_default();
            let (short, to) = (message.short_id.clone(), delivery.recipient.clone());
            cells([short, to, delivery.state.clone(), age.unwrap_or_default(), reason])
        })
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let widths = [
        Constraint::Length(9),
        Constraint::Fill(1),
        Constraint::Length(9),
        Constraint::Length(12),
        Constraint::Fill(1),
    ];
    let more = if screen.status.outbox_more { " or more" } else { "" };
    let title = format!("OUTBOX {}{more}, safe on disk", screen.status.outbox_open);
    table(title, rows, &widths, ["REF", "TO", "STATE", "SINCE", "WHY"])
}

fn cells<const N: usize>(texts: [String; N]) -> Row<'static> {
    Row::new(texts.map(|text| if text.is_empty() { "-".to_owned() } else { clean(&text) }))
}

fn table<const N: usize>(
    title: String,
    rows: Vec<Row<'static>>,
    widths: &[Constraint],
    heads: [&'static str; N],
) -> Table<'static> {
    Table::new(rows, widths.to_vec()).header(Row::new(heads)).block(Block::bordered().title(title))
}

/// A desk looks at it now and then; the node answers in milliseconds.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// More messages fit no screen.
const ROWS_MAX: u32 = 200;

#[cfg(test)]
mod tests;
