//! Rows on pages: the only file that draws.

use krilla::{
    Document,
    color::rgb,
    geom::{Path, PathBuilder, Point, Rect},
    outline::{Outline, OutlineNode},
    page::PageSettings,
    paint::{Fill, Stroke},
    surface::Surface,
    tagging::{Artifact, ArtifactType, ContentTag, Identifier, SpanTag, TagTree},
};
use parley::Alignment;

use super::{
    flow::{Flow, HEIGHT, Mark, WIDTH},
    tags::Place,
    text::{Letters, Look, Paragraph, Typesetter},
};
use crate::paper::Paper;

/// Draws all pages; gives the tree of what was drawn and the way to its sections.
pub(super) fn draw(
    document: &mut Document,
    paper: &Paper,
    flow: &Flow,
    setter: &mut Typesetter,
) -> Option<(TagTree, Outline)> {
    let (mut drawn, mut outline) = (Vec::new(), Outline::new());
    let mut letters = Letters::default();
    let pages = flow.pages();
    for number in 0..pages {
        let settings = PageSettings::from_wh(PAGE_WIDTH, PAGE_HEIGHT)?;
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        let mut lines = Vec::new();
        for row in flow.rows.iter().filter(|row| row.page == number) {
            let y = TOP + row.top;
            if let Some(title) = &row.title {
                let to = krilla::destination::XyzDestination::new(number, Point::from_xy(LEFT, y));
                outline.push_child(OutlineNode::new(title.clone(), to));
            }
            // What lies below is drawn first.
            row.marks.iter().for_each(|mark| shape(mark, y, &mut surface));
            lines.extend(row.marks.iter().map(|mark| (mark, y)));
        }
        // In the order of reading, which is not that of rows: a label of two lines comes before
        // its value.
        lines.sort_by_key(|(mark, _)| match mark {
            Mark::Line { paragraph, line, .. } => (*paragraph, *line),
            _ => (0, 0),
        });
        for (mark, y) in lines {
            drawn.extend(line(mark, y, paper, flow, &mut surface, &mut letters));
        }
        around(paper, (number, pages), setter, &mut surface, &mut letters);
        surface.finish();
        page.finish();
    }
    Some((flow.tags.tree(drawn), outline))
}

/// A line of text, and its place in the tree.
fn line(
    mark: &Mark,
    top: f32,
    paper: &Paper,
    flow: &Flow,
    surface: &mut Surface<'_>,
    letters: &mut Letters,
) -> Option<(Place, Identifier)> {
    let Mark::Line { paragraph, line, at: (x, y), place, theirs, grey } = mark else { return None };
    let paragraph = flow.paragraphs.get(*paragraph)?;
    let language = paper.language.as_ref().filter(|_| *theirs).map(|one| one.as_str());
    ink(surface, if *grey { GREY } else { BLACK });
    let content = surface.start_tagged(ContentTag::Span(SpanTag::empty().with_lang(language)));
    paragraph.draw(*line, (LEFT + x, top + y), surface, letters);
    surface.end_tagged();
    Some((*place, content))
}

/// Lines and dots; they say nothing that the text does not.
fn shape(mark: &Mark, top: f32, surface: &mut Surface<'_>) {
    let (path, inside, weight) = match mark {
        Mark::Line { .. } => return,
        Mark::Rule { from, to, weight } => (straight(*from, *to, top), None, *weight),
        Mark::Frame { at: (x, y), width, height } => {
            let rect = Rect::from_xywh(LEFT + x, top + y, *width, *height);
            let mut path = PathBuilder::new();
            rect.into_iter().for_each(|rect| path.push_rect(rect));
            (path.finish(), None, 1.5)
        }
        Mark::Dot { at, radius } => {
            let inside = if *radius < SMALL_DOT { BLACK } else { WHITE };
            (circle(*at, *radius, top), Some(inside), 0.8)
        }
    };
    let Some(path) = path else { return };
    surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Layout)));
    surface.set_fill(inside.map(fill));
    // Thin lines only lead the eye.
    let shade = if weight < THIN { LIGHT } else { BLACK };
    let paint = rgb::Color::new(shade, shade, shade).into();
    surface.set_stroke(Some(Stroke { paint, width: weight, ..Stroke::default() }));
    surface.draw_path(&path);
    surface.set_stroke(None);
    surface.end_tagged();
}

fn straight(from: (f32, f32), to: (f32, f32), top: f32) -> Option<Path> {
    let mut path = PathBuilder::new();
    path.move_to(LEFT + from.0, top + from.1);
    path.line_to(LEFT + to.0, top + to.1);
    path.finish()
}

/// Of four curves, as every program draws one.
fn circle((x, y): (f32, f32), radius: f32, top: f32) -> Option<Path> {
    let (x, y, bend) = (LEFT + x, top + y, radius * 0.552_285);
    let mut path = PathBuilder::new();
    path.move_to(x + radius, y);
    path.cubic_to(x + radius, y + bend, x + bend, y + radius, x, y + radius);
    path.cubic_to(x - bend, y + radius, x - radius, y + bend, x - radius, y);
    path.cubic_to(x - radius, y - bend, x - bend, y - radius, x, y - radius);
    path.cubic_to(x + bend, y - radius, x + radius, y - bend, x + radius, y);
    path.close();
    path.finish()
}

/// What stands on every page: which document it is, its number, and from the second one on the
/// markings, which the first one has in its text.
fn around(
    paper: &Paper,
    (number, pages): (usize, usize),
    setter: &mut Typesetter,
    surface: &mut Surface<'_>,
    letters: &mut Letters,
) {
    let small =
        Look { size: 7.0, bold: false, width: WIDTH, align: Alignment::Start, theirs: false };
    let end = Look { align: Alignment::End, ..small };
    let (footer, at) = (paper.footer.text(), paper.printed);
    let foot = format!("{footer}. Printed at {at} by this computer's clock.");
    let page = format!("{} / {pages}", number + 1);
    let mut put = |set: &[Paragraph], top: f32, kind: ArtifactType| {
        ink(surface, GREY);
        surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(kind)));
        let mut y = top;
        for (paragraph, line) in set.iter().flat_map(|one| (0..one.lines()).map(move |n| (one, n)))
        {
            paragraph.draw(line, (LEFT, y), surface, letters);
            y += paragraph.height(line);
        }
        surface.end_tagged();
    };
    put(&setter.set(&foot, small), TOP + HEIGHT + 8.0, ArtifactType::Footer);
    put(&setter.set(&page, end), TOP + HEIGHT + 8.0, ArtifactType::PageNumber);
    if number > 0 && !paper.marks.is_empty() {
        let bold = Look { bold: true, ..end };
        let high = |set: &[Paragraph]| -> f32 {
            set.iter().flat_map(|one| (0..one.lines()).map(|line| one.height(line))).sum()
        };
        let mut set = setter.set(&paper.marks_in_a_line(), bold);
        // A marking that is cut would be another marking.
        if high(&set) > TOP - EDGE {
            set = setter.set("Markings: see the first page", bold);
        }
        put(&set, TOP - 6.0 - high(&set), ArtifactType::Header);
    }
}

fn ink(surface: &mut Surface<'_>, shade: u8) {
    surface.set_stroke(None);
    surface.set_fill(Some(fill(shade)));
}

fn fill(shade: u8) -> Fill {
    Fill { paint: rgb::Color::new(shade, shade, shade).into(), ..Fill::default() }
}

const BLACK: u8 = 0x11;
const GREY: u8 = 0x44;
const LIGHT: u8 = 0xaa;
const THIN: f32 = 0.5;
const WHITE: u8 = 0xff;
const PAGE_WIDTH: f32 = 595.276;
const PAGE_HEIGHT: f32 = 841.89;
const LEFT: f32 = 51.0;
const TOP: f32 = 46.0;
/// What printers leave blank, and some air.
const EDGE: f32 = 20.0;
/// Points of lists are filled, the steps of a timeline hold their number.
const SMALL_DOT: f32 = 3.0;
