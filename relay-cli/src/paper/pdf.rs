//! The writer of PDF: an A4 document that keeps (PDF/A-2a) and that a screen reader reads
//! (PDF/UA-1), with its fonts inside.
//!
//! Enter through [`write`]. `text` shapes and breaks lines, `fonts` finds letters for them, `flow`
//! makes rows of the blocks, `sheet` puts rows on pages, `tags` says what each text is. Invariant:
//! no letter is drawn as an empty box; what no font has stands as `\u{..}`, and the document and
//! its notices say so.

mod flow;
mod fonts;
mod sheet;
mod tags;
mod text;

use std::path::Path;

use krilla::{
    Document, SerializeSettings,
    configure::{Accessibility, Archival, Configuration, ConfigurationBuilder},
    metadata::{DateTime, Metadata},
};
use relay_proto::timestamp::Timestamp;

pub use self::fonts::FOLDERS;
use self::{flow::Flow, text::Typesetter};
use super::{Block, Paper, Phrase, Written};
use crate::{exit::Exit, failure::Failure};

/// The document; letters that the own fonts lack are looked for in these folders.
pub fn write(paper: &Paper, folders: &[&Path]) -> Result<Written, Failure> {
    let mut setter = Typesetter::new(&every_text(paper), folders);
    let (mut flow, mut notices) = (laid_out(paper, &mut setter), Vec::new());
    if let Some(notice) = setter.notice() {
        let mut told = paper.clone();
        told.blocks.insert(0, Block::Note(Phrase::ours(&notice)));
        notices.push(notice);
        flow = laid_out(&told, &mut setter);
    }
    // What a standard forbids (a font that may not be embedded) still prints.
    match drawn(paper, &flow, &mut setter, standards()) {
        Some(bytes) => Ok(Written { bytes, notices }),
        None => {
            let plain = drawn(paper, &flow, &mut setter, Configuration::default());
            notices.push("The PDF is no PDF/A: a font of this computer forbids it.".to_owned());
            plain.map(|bytes| Written { bytes, notices }).ok_or_else(|| {
                Failure::new(Exit::Attention, "The PDF cannot be made.")
                    .safe("nothing was written")
                    .with_remedy("the same command with --format html")
            })
        }
    }
}

/// Rows of the size that the document asks for.
fn laid_out(paper: &Paper, setter: &mut Typesetter) -> Flow {
    let mut flow = Flow::new(paper, setter, 1.0);
    for scale in SMALLER.into_iter().filter(|_| paper.one_page) {
        if flow.pages() > 1 {
            flow = Flow::new(paper, setter, scale);
        }
    }
    flow
}

/// One standard for archives and one for people who do not see; none if they exclude each other.
fn standards() -> Configuration {
    ConfigurationBuilder::new()
        .with_archival_validator(Archival::A2_A)
        .with_accessibility_validator(Accessibility::UA1)
        .finish()
        .unwrap_or_default()
}

fn drawn(
    paper: &Paper,
    flow: &Flow,
    setter: &mut Typesetter,
    configuration: Configuration,
) -> Option<Vec<u8>> {
    let settings =
        SerializeSettings { configuration, enable_tagging: true, ..SerializeSettings::default() };
    let mut document = Document::new_with(settings);
    let metadata = Metadata::new()
        .title(format!("{} - {}", paper.title, paper.footer.text()))
        .language("en".to_owned())
        .creator("relay-cli".to_owned());
    document.set_metadata(match date(paper.printed) {
        Some(date) => metadata.creation_date(date),
        None => metadata,
    });
    let (tree, outline) = sheet::draw(&mut document, paper, flow, setter)?;
    document.set_tag_tree(tree);
    document.set_outline(outline);
    document.finish().ok()
}

fn date(at: Timestamp) -> Option<DateTime> {
    let text = at.to_string();
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let date = DateTime::new(text.get(0..4)?.parse().ok()?).month(part(5, 7)?).day(part(8, 10)?);
    let date = date.hour(part(11, 13)?).minute(part(14, 16)?).second(part(17, 19)?);
    Some(date.utc_offset_hour(0).utc_offset_minute(0))
}

/// All that will be set, so that fonts are looked for once.
fn every_text(paper: &Paper) -> String {
    let mut all = String::new();
    let mut add = |phrases: &[Phrase]| all.extend(phrases.iter().map(Phrase::text));
    add(&paper.marks);
    for block in &paper.blocks {
        match block {
            Block::Note(phrase) => add(std::slice::from_ref(phrase)),
            Block::Fields(fields) => fields.iter().for_each(|field| add(&field.values)),
            Block::Table(table) => table.rows.iter().for_each(|row| add(row)),
            Block::List(items) => add(items),
            // Words of this program and checked names.
            Block::Section(_) | Block::Part(_) | Block::Verdict { .. } | Block::Timeline(_) => {}
        }
    }
    all
}

/// The sizes that are tried where one page is wanted; below the last one it takes two.
const SMALLER: [f32; 3] = [0.94, 0.88, 0.82];
