//! From blocks to rows: what stands beside each other, how high it is, and on which page.
//!
//! Enter through [`Flow::new`]. Measures are points from the left and upper edge of what a page may
//! hold. A row is as high as a line, so that also a text longer than a page goes on on the next.

use parley::Alignment;

use super::{
    tags::{Place, Role, Tags},
    text::{Look, Paragraph, Typesetter},
};
use crate::paper::{Block, Field, Paper, Phrase, Table, Timeline, html};

/// Rows on pages.
pub(super) struct Flow {
    pub(super) rows: Vec<Row>,
    pub(super) tags: Tags,
    pub(super) paragraphs: Vec<Paragraph>,
    scale: f32,
}

/// What is never torn apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) page: usize,
    pub(super) top: f32,
    height: f32,
    /// On the page of the row after it.
    keep: bool,
    pub(super) marks: Vec<Mark>,
    /// Of a section: where the outline leads to.
    pub(super) title: Option<String>,
}

/// Something drawn, from the upper left of its row.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    Line { paragraph: usize, line: usize, at: (f32, f32), place: Place, theirs: bool, grey: bool },
    Rule { from: (f32, f32), to: (f32, f32), weight: f32 },
    Frame { at: (f32, f32), width: f32, height: f32 },
    Dot { at: (f32, f32), radius: f32 },
}

/// The lines of one column, each with its height.
type Column = Vec<(f32, Mark)>;

impl Flow {
    /// The rows of a document, at this part of their size.
    pub(super) fn new(paper: &Paper, setter: &mut Typesetter, scale: f32) -> Self {
        let mut flow =
            Self { rows: Vec::new(), tags: Tags::default(), paragraphs: Vec::new(), scale };
        if !paper.marks.is_empty() {
            let marks = paper.marks_in_a_line();
            let look = Look { bold: true, align: Alignment::End, ..flow.look(7.8, WIDTH) };
            let place = flow.tags.add(Role::Paragraph, None);
            let column = flow.column(setter, &marks, look, 0.0, place, false);
            flow.push(vec![column], 0.0, 2.0, true);
        }
        flow.heading(setter, &paper.title, 1, 15.0, 4.0);
        for block in &paper.blocks {
            flow.block(setter, block);
        }
        flow.paginate();
        flow
    }

    /// How many pages it takes.
    pub(super) fn pages(&self) -> usize {
        self.rows.last().map_or(1, |row| row.page + 1)
    }

    fn block(&mut self, setter: &mut Typesetter, block: &Block) {
        match block {
            Block::Section(title) => {
                self.heading(setter, title, 2, 10.5, 9.0);
                let rule = self.rule(0.0, 0.6);
                if let Some(row) = self.rows.last_mut() {
                    row.title = Some(title.clone());
                    row.marks.push(rule.at_foot(row.height - 1.0));
                    row.height += 1.5;
                }
            }
            Block::Part(title) => self.heading(setter, title, 3, BASE, 5.0),
            Block::Note(phrase) => {
                let place = self.tags.add(Role::Paragraph, None);
                let column = self.phrase(setter, phrase, WIDTH, 0.0, place);
                self.push(vec![column], 1.5, 1.5, false);
            }
            Block::Verdict { word, meaning } => self.verdict(setter, word, meaning),
            Block::Fields(fields) => self.fields(setter, fields),
            Block::Table(table) => self.table(setter, table),
            Block::List(items) => {
                let list = self.tags.add(Role::List, None);
                for item in items {
                    let body = self.tags.add(Role::Item, Some(list));
                    let body = self.tags.add(Role::ItemBody, Some(body));
                    let column = self.phrase(setter, item, WIDTH - 12.0, 12.0, body);
                    let dot = Mark::Dot { at: (4.0, 6.0 * self.scale), radius: 1.2 };
                    let first = self.rows.len();
                    self.push(vec![column], 0.5, 0.5, false);
                    self.rows
                        .get_mut(first)
                        .into_iter()
                        .for_each(|row| row.marks.push(dot.clone()));
                }
            }
            Block::Timeline(timeline) => self.timeline(setter, timeline),
        }
    }

    fn heading(&mut self, setter: &mut Typesetter, text: &str, level: u16, size: f32, gap: f32) {
        let place = self.tags.add(Role::Heading(level, text.to_owned()), None);
        let look = Look { bold: true, ..self.look(size, WIDTH) };
        let column = self.column(setter, text, look, 0.0, place, false);
        let first = self.rows.len();
        self.push(vec![column], gap, 1.5, false);
        self.rows.iter_mut().skip(first).for_each(|row| row.keep = true);
    }

    /// Framed and whole.
    fn verdict(&mut self, setter: &mut Typesetter, word: &str, meaning: &str) {
        let place = self.tags.add(Role::Paragraph, None);
        let bold = Look { bold: true, ..self.look(13.0, WIDTH - 20.0) };
        let mut column = self.column(setter, word, bold, 10.0, place, false);
        let look = self.look(BASE, WIDTH - 20.0);
        column.extend(self.column(setter, meaning, look, 10.0, place, false));
        let mut row = Row::default();
        let mut y = 7.0;
        for (height, mark) in column {
            row.marks.push(mark.lowered(y));
            y += height;
        }
        row.marks.push(Mark::Frame { at: (0.0, 2.0), width: WIDTH, height: y + 3.0 });
        row.height = y + 7.0;
        self.rows.push(row);
    }

    fn fields(&mut self, setter: &mut Typesetter, fields: &[Field]) {
        let table = self.tags.add(Role::Table("Labels and what they stand for".to_owned()), None);
        for field in fields {
            let row = self.tags.add(Role::Row, Some(table));
            let head = self.tags.add(Role::HeadOfRow, Some(row));
            let cell = self.tags.add(Role::Cell, Some(row));
            let look = self.look(BASE, LABEL_WIDTH);
            let label = self.column(setter, field.label, look, 0.0, head, true);
            let mut values = Column::new();
            for phrase in &field.values {
                let x = LABEL_WIDTH + 10.0;
                values.extend(self.phrase(setter, phrase, WIDTH - x, x, cell));
            }
            self.push(vec![label, values], 0.9, 0.9, false);
            self.rule_below(0.3);
        }
    }

    fn table(&mut self, setter: &mut Typesetter, table: &Table) {
        let place = self.tags.add(Role::Paragraph, None);
        let look = Look { bold: true, ..self.look(BASE, WIDTH) };
        let caption = self.column(setter, table.caption, look, 0.0, place, false);
        self.push(vec![caption], 4.0, 1.5, true);
        let place = self.tags.add(Role::Table(table.caption.to_owned()), None);
        let widths = widths(table);
        let head = self.tags.add(Role::Row, Some(place));
        let mut columns = Vec::new();
        for (title, (x, width)) in table.heads.iter().zip(&widths) {
            let cell = self.tags.add(Role::HeadOfColumn, Some(head));
            let look = Look { bold: true, ..self.look(SMALL, width - 6.0) };
            columns.push(self.column(setter, title, look, *x, cell, false));
        }
        self.push(columns, 1.0, 1.0, true);
        self.rule_below(0.6);
        for cells in &table.rows {
            let row = self.tags.add(Role::Row, Some(place));
            let mut columns = Vec::new();
            for (phrase, (x, width)) in cells.iter().zip(&widths) {
                let cell = self.tags.add(Role::Cell, Some(row));
                let look = Look { theirs: phrase.is_theirs(), ..self.look(SMALL, width - 6.0) };
                columns.push(self.column(setter, phrase.text(), look, *x, cell, false));
            }
            self.push(columns, 1.0, 1.0, false);
            self.rule_below(0.3);
        }
    }

    /// A row a step: time and clock left of the line, what happened right of it.
    fn timeline(&mut self, setter: &mut Typesetter, timeline: &Timeline) {
        let figure = self.tags.add(Role::Figure(html::told(timeline)), None);
        let last = timeline.steps.len().saturating_sub(1);
        for (position, step) in timeline.steps.iter().enumerate() {
            let right = WIDTH - WHAT_X;
            let end = Look { align: Alignment::End, ..self.look(SMALL, TIME_WIDTH) };
            let mut left = self.column(
                setter,
                &step.at.to_string(),
                Look { bold: true, ..end },
                0.0,
                figure,
                false,
            );
            let clock = format!("clock {}", step.clock);
            left.extend(self.column(setter, &clock, end, 0.0, figure, true));
            if let Some(gap) = &step.gap {
                left.extend(self.column(
                    setter,
                    &format!("{gap} after the last"),
                    end,
                    0.0,
                    figure,
                    true,
                ));
            }
            let bold = Look { bold: true, ..self.look(SMALL, right) };
            let mut what = self.column(setter, &step.what, bold, WHAT_X, figure, false);
            for text in [&step.meaning, &step.place] {
                let look = self.look(SMALL, right);
                what.extend(self.column(setter, text, look, WHAT_X, figure, true));
            }
            let number = Look { align: Alignment::Center, ..self.look(SMALL - 1.0, 20.0) };
            let number =
                self.column(setter, &step.number.to_string(), number, DOT_X - 10.0, figure, false);
            let high = |column: &Column| column.iter().map(|(height, _)| height).sum::<f32>();
            let height = high(&left).max(high(&what)) + 5.0;
            let (middle, radius) = (3.0 + 6.0 * self.scale, 7.0 * self.scale);
            let mut row = Row { height, keep: position != last, ..Row::default() };
            let line = |from: f32, to: f32| Mark::Rule {
                from: (DOT_X, from),
                to: (DOT_X, to),
                weight: 0.8,
            };
            row.marks.extend(Some(line(0.0, middle)).filter(|_| position > 0));
            row.marks.extend(Some(line(middle, height)).filter(|_| position < last));
            row.marks.push(Mark::Dot { at: (DOT_X, middle), radius });
            for (column, gap) in [(left, 3.0), (what, 3.0), (number, 3.5)] {
                let mut y = gap;
                for (height, mark) in column {
                    row.marks.push(mark.lowered(y));
                    y += height;
                }
            }
            // Many steps may part.
            row.keep &= timeline.steps.len() <= TOGETHER_MAX;
            self.rows.push(row);
        }
    }

    fn look(&self, size: f32, width: f32) -> Look {
        let size = size * self.scale;
        Look { size, bold: false, width, align: Alignment::Start, theirs: false }
    }

    fn phrase(
        &mut self,
        setter: &mut Typesetter,
        phrase: &Phrase,
        width: f32,
        x: f32,
        place: Place,
    ) -> Column {
        let look = Look { theirs: phrase.is_theirs(), ..self.look(BASE, width) };
        self.column(setter, phrase.text(), look, x, place, false)
    }

    fn column(
        &mut self,
        setter: &mut Typesetter,
        text: &str,
        look: Look,
        x: f32,
        place: Place,
        grey: bool,
    ) -> Column {
        let mut column = Column::new();
        for set in setter.set(text, look) {
            let paragraph = self.paragraphs.len();
            column.extend((0..set.lines()).map(|line| {
                let theirs = look.theirs;
                let at = (x, 0.0);
                (set.height(line), Mark::Line { paragraph, line, at, place, theirs, grey })
            }));
            self.paragraphs.push(set);
        }
        column
    }

    /// Columns beside each other, a row a line; the first one stays with the second.
    fn push(&mut self, columns: Vec<Column>, above: f32, below: f32, keep: bool) {
        let (above, below) = (above * self.scale, below * self.scale);
        let count = columns.iter().map(Vec::len).max().unwrap_or_default();
        for line in 0..count {
            let mut row = Row { keep: keep || (line == 0 && count > 1), ..Row::default() };
            let top = if line == 0 { above } else { 0.0 };
            for (height, mark) in columns.iter().filter_map(|column| column.get(line)) {
                row.height = row.height.max(top + height);
                row.marks.push(mark.clone().lowered(top));
            }
            if line + 1 == count {
                row.height += below;
            }
            self.rows.push(row);
        }
    }

    fn rule(&self, y: f32, weight: f32) -> Mark {
        Mark::Rule { from: (0.0, y), to: (WIDTH, y), weight }
    }

    fn rule_below(&mut self, weight: f32) {
        let rule = self.rule(0.0, weight);
        if let Some(row) = self.rows.last_mut() {
            row.marks.push(rule.at_foot(row.height));
        }
    }

    /// Puts every row on a page, those that belong together on one.
    fn paginate(&mut self) {
        let (mut page, mut top, mut start) = (0, 0.0, 0);
        while start < self.rows.len() {
            let more = self.rows.iter().skip(start).take_while(|row| row.keep).count();
            let group = || self.rows.iter().skip(start).take(more + 1);
            let height: f32 = group().map(|row| row.height).sum();
            if top > 0.0 && top + height > HEIGHT {
                (page, top) = (page + 1, 0.0);
            }
            for row in self.rows.iter_mut().skip(start).take(more + 1) {
                if top > 0.0 && top + row.height > HEIGHT {
                    (page, top) = (page + 1, 0.0);
                }
                (row.page, row.top) = (page, top);
                top += row.height;
            }
            start += more + 1;
        }
    }
}

impl Mark {
    fn lowered(self, by: f32) -> Self {
        match self {
            Self::Line { paragraph, line, at: (x, y), place, theirs, grey } => {
                Self::Line { paragraph, line, at: (x, y + by), place, theirs, grey }
            }
            other => other,
        }
    }

    fn at_foot(self, y: f32) -> Self {
        match self {
            Self::Rule { from: (left, _), to: (right, _), weight } => {
                Self::Rule { from: (left, y), to: (right, y), weight }
            }
            other => other,
        }
    }
}

/// Where each column begins and how wide it is, by the longest word and the mean length.
fn widths(table: &Table) -> Vec<(f32, f32)> {
    let letters = |text: &str| u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
    let weights: Vec<f32> = (0..table.heads.len())
        .map(|column| {
            let head = table.heads.get(column).map_or(0, |head| letters(head));
            let cells = table.rows.iter().filter_map(|row| row.get(column));
            let most = cells.map(|cell| letters(cell.text())).max().unwrap_or_default();
            f32::from(head.max(most).clamp(LETTERS_MIN, LETTERS_MAX))
        })
        .collect();
    let all: f32 = weights.iter().sum();
    let mut left = 0.0;
    weights
        .into_iter()
        .map(|weight| {
            let width = WIDTH * weight / all;
            let column = (left, width);
            left += width;
            column
        })
        .collect()
}

/// A4 within margins of 18 mm beside, 16 above and 20 below.
pub(super) const WIDTH: f32 = 493.0;
pub(super) const HEIGHT: f32 = 738.0;

const BASE: f32 = 8.5;
const SMALL: f32 = 7.8;
const LABEL_WIDTH: f32 = 128.0;
const TIME_WIDTH: f32 = 138.0;
const DOT_X: f32 = 154.0;
const WHAT_X: f32 = 170.0;
const LETTERS_MIN: u16 = 8;
const LETTERS_MAX: u16 = 60;
const TOGETHER_MAX: usize = 12;
