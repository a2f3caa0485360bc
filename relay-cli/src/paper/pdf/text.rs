//! Paragraphs: shaped, in the order of their script, broken into lines.
//!
//! Enter through [`Typesetter`]. A line feed ends a paragraph, so each line that a sender wrote has
//! a direction of its own.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    ops::Range,
    path::Path,
};

use krilla::{
    geom::Point,
    surface::Surface,
    text::{Font, GlyphId, KrillaGlyph, Tag},
};
use parley::{
    Alignment, AlignmentOptions, BaseDirection, FontFamily, FontFamilyName, FontWeight, Layout,
    LayoutContext, LineHeight, OverflowWrap, Run, StyleProperty,
};

use super::fonts::{self, Fonts};

/// Sets text; remembers which letters no font has.
pub(super) struct Typesetter {
    fonts: Fonts,
    layouts: LayoutContext<()>,
    lost: BTreeSet<char>,
}

/// How a paragraph looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    pub(super) size: f32,
    pub(super) bold: bool,
    pub(super) width: f32,
    pub(super) align: Alignment,
    /// Written by others: its own letters decide its direction.
    pub(super) theirs: bool,
}

/// A paragraph in lines.
pub(super) struct Paragraph {
    text: String,
    layout: Layout<()>,
}

impl Typesetter {
    pub(super) fn new(text: &str, folders: &[&Path]) -> Self {
        let fonts = fonts::load(text, folders);
        Self { fonts, layouts: LayoutContext::new(), lost: BTreeSet::new() }
    }

    /// The paragraphs of a text.
    pub(super) fn set(&mut self, text: &str, look: Look) -> Vec<Paragraph> {
        text.split('\n').map(|line| self.paragraph(line, look)).collect()
    }

    /// What has to be said about letters that are not there.
    pub(super) fn notice(&self) -> Option<String> {
        let lost: Vec<String> =
            self.lost.iter().take(TOLD_MAX).map(|c| format!("U+{:04X}", u32::from(*c))).collect();
        let more = if self.lost.len() > TOLD_MAX { " and others" } else { "" };
        (!lost.is_empty()).then(|| {
            format!(
                "No font of this computer has these characters: {}{more}. They are written as \
                 \\u{{..}} below. Install a font that has them and print this again, or use HTML.",
                lost.join(", ")
            )
        })
    }

    fn paragraph(&mut self, text: &str, look: Look) -> Paragraph {
        // What has no meaning outside of one computer stands in no archive.
        let mut text = self.spelled(text, is_private);
        let mut layout = self.layout(&text, look);
        // A letter may be in a font and still not with the marks that stand on it here.
        for _ in 0..ROUNDS_MAX {
            let empty = without_glyph(&text, &layout);
            if empty.is_empty() {
                break;
            }
            text = self.spelled(&text, |c| empty.contains(&c));
            layout = self.layout(&text, look);
        }
        Paragraph { text, layout }
    }

    /// The same text with some letters written as their numbers.
    fn spelled(&mut self, text: &str, wanted: impl Fn(char) -> bool) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if wanted(c) {
                self.lost.insert(c);
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            } else {
                out.push(c);
            }
        }
        out
    }

    fn layout(&mut self, text: &str, look: Look) -> Layout<()> {
        let names = self
            .fonts
            .families
            .iter()
            .map(|name| FontFamilyName::Named(Cow::Borrowed(name.as_str())));
        let names: Vec<FontFamilyName<'_>> = names.collect();
        let mut builder = self.layouts.ranged_builder(&mut self.fonts.context, text, 1.0, false);
        builder.push_default(StyleProperty::FontFamily(FontFamily::List(Cow::Owned(names))));
        builder.push_default(StyleProperty::FontSize(look.size));
        let weight = if look.bold { FontWeight::BOLD } else { FontWeight::NORMAL };
        builder.push_default(StyleProperty::FontWeight(weight));
        builder.push_default(StyleProperty::LineHeight(LineHeight::FontSizeRelative(LEADING)));
        builder.push_default(StyleProperty::OverflowWrap(OverflowWrap::Anywhere));
        builder.set_base_direction(match look.theirs {
            true => BaseDirection::Auto,
            false => BaseDirection::Ltr,
        });
        let mut layout = builder.build(text);
        layout.break_all_lines(Some(look.width));
        layout.align(look.align, AlignmentOptions::default());
        layout
    }
}

/// The letters whose clusters have a glyph that says "not in this font".
fn without_glyph(text: &str, layout: &Layout<()>) -> BTreeSet<char> {
    let mut empty = BTreeSet::new();
    for run in layout.lines().flat_map(|line| line.runs()) {
        for cluster in run.clusters().filter(|cluster| cluster.glyphs().any(|g| g.id == 0)) {
            let letters = text.get(cluster.text_range()).unwrap_or_default().chars();
            empty.extend(letters.filter(|c| !c.is_ascii()));
        }
    }
    empty
}

impl Paragraph {
    pub(super) fn lines(&self) -> usize {
        self.layout.len()
    }

    /// How high a line is.
    pub(super) fn height(&self, line: usize) -> f32 {
        self.layout.get(line).map_or(0.0, |line| line.metrics().line_height)
    }

    /// Draws one line with its top at `y`.
    pub(super) fn draw(
        &self,
        line: usize,
        (x, y): (f32, f32),
        surface: &mut Surface<'_>,
        letters: &mut Letters,
    ) -> Option<()> {
        let line = self.layout.get(line)?;
        let metrics = line.metrics();
        let baseline = y + metrics.baseline - metrics.block_min_coord;
        let mut x = x + metrics.offset;
        for run in line.runs() {
            let size = run.font_size();
            let start = Point::from_xy(x, baseline);
            let mut glyphs: Vec<KrillaGlyph> = Vec::new();
            // Letters of a ligature whose glyph comes later, as it does from right to left.
            let mut waiting: Option<Range<usize>> = None;
            for cluster in run.visual_clusters() {
                let letters = cluster.text_range();
                if cluster.is_ligature_continuation() {
                    match glyphs.last_mut().filter(|_| !run.is_rtl()) {
                        Some(glyph) => glyph.text_range = both(&glyph.text_range, &letters),
                        None => {
                            waiting = Some(waiting.map_or(letters.clone(), |w| both(&w, &letters)))
                        }
                    }
                    continue;
                }
                let letters = waiting.take().map_or(letters.clone(), |w| both(&w, &letters));
                for glyph in cluster.glyphs() {
                    glyphs.push(KrillaGlyph::new(
                        GlyphId::new(glyph.id),
                        glyph.advance / size,
                        glyph.x / size,
                        glyph.y / size,
                        0.0,
                        letters.clone(),
                        None,
                    ));
                    x += glyph.advance;
                }
            }
            if !glyphs.is_empty() {
                surface.draw_glyphs(start, &glyphs, letters.of(&run)?, &self.text, size, false);
            }
        }
        Some(())
    }
}

fn both(one: &Range<usize>, other: &Range<usize>) -> Range<usize> {
    one.start.min(other.start)..one.end.max(other.end)
}

/// Fonts as the file takes them, each made once.
#[derive(Default)]
pub(super) struct Letters(HashMap<(u64, u32, Vec<u32>), Font>);

impl Letters {
    /// The run's font, at the place of its axes that it was shaped for.
    fn of(&mut self, run: &Run<'_, ()>) -> Option<Font> {
        let (font, synthesis) = (run.font().clone(), run.synthesis());
        let axes = synthesis.variation_settings();
        let values = axes.iter().map(|(_, value)| value.to_bits()).collect();
        let (data, id) = font.data.into_raw_parts();
        let key = (id, font.index, values);
        if let Some(known) = self.0.get(&key) {
            return Some(known.clone());
        }
        let axes: Vec<(Tag, f32)> =
            axes.iter().map(|(tag, value)| (Tag::new(&tag.to_be_bytes()), *value)).collect();
        let new = Font::new_variable(data.into(), font.index, &axes)?;
        self.0.insert(key, new.clone());
        Some(new)
    }
}

/// Private use, in Unicode and in its two private planes, and what is no character.
fn is_private(c: char) -> bool {
    matches!(u32::from(c), 0xe000..=0xf8ff | 0xf_0000..=0x10_ffff | 0xfffe | 0xffff)
}

const LEADING: f32 = 1.3;
const ROUNDS_MAX: usize = 4;
const TOLD_MAX: usize = 20;
