//! A small table: columns as wide as their widest cell, two blanks apart; what is too wide goes
//! on below.
//!
//! Cells are cleaned when they are put in, so widths are measured on what is printed.

use super::clean;

/// Header and rows. The header stays away when there are no rows.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    shrink: usize,
}

impl Table {
    /// Columns by name; `shrink` is the one that gives way when a row is too wide.
    pub fn new(header: &[&str], shrink: usize) -> Self {
        Self { header: header.iter().map(|h| (*h).to_owned()).collect(), rows: vec![], shrink }
    }

    /// One more row; an empty cell is shown as `-`.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        let cells = cells.into_iter().map(|cell| match cell.is_empty() {
            true => "-".to_owned(),
            false => clean(&cell),
        });
        self.rows.push(cells.collect());
    }

    /// How many rows there are.
    pub fn height(&self) -> usize {
        self.rows.len()
    }

    /// For people: padded to `width` columns; cells that are too wide go on in the next line.
    pub fn aligned(&self, width: usize) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let mut widths = vec![0; self.header.len()];
        for cells in lines() {
            for (max, cell) in widths.iter_mut().zip(cells) {
                *max = cell.chars().count().max(*max);
            }
        }
        self.squeeze(&mut widths, width);
        lines().flat_map(|cells| row(cells, &widths)).collect()
    }

    /// Takes what is too much from the column that may shrink, then from the widest ones.
    fn squeeze(&self, widths: &mut [usize], width: usize) {
        let total = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        let mut excess = total.saturating_sub(width);
        if let Some(column) = widths.get_mut(self.shrink) {
            let taken = excess.min(column.saturating_sub(SHRUNK_MIN));
            *column -= taken;
            excess -= taken;
        }
        for _ in 0..excess {
            if let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > SHRUNK_MIN) {
                *widest -= 1;
            }
        }
    }

    /// For `cut` and `awk`: header and cells, tab-separated, whole.
    pub fn tabbed(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        std::iter::once(&self.header).chain(&self.rows).map(|cells| cells.join("\t")).collect()
    }
}

/// One row as one or more lines.
fn row(cells: &[String], widths: &[usize]) -> Vec<String> {
    let parts: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| split(cell, *width)).collect();
    let height = parts.iter().map(Vec::len).max().unwrap_or_default();
    let line = |number: usize| {
        let mut out = String::new();
        for (part, width) in parts.iter().zip(widths) {
            let text = part.get(number).map_or("", String::as_str);
            out.push_str(text);
            let pad = width.saturating_sub(text.chars().count()) + 2;
            out.extend(std::iter::repeat_n(' ', pad));
        }
        out.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

/// Breaks at blanks, and inside of words that are wider than the column.
pub(super) fn split(text: &str, width: usize) -> Vec<String> {
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        let size = word.chars().count();
        if used > 0 && used + 1 + size > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used >= width.max(1) {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += 1;
        }
    }
    lines.push(line);
    lines
}

/// A narrower column is not readable.
const SHRUNK_MIN: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["PEER", "WHY"], 1);
        table.row(["xb.ncu".into(), "x".repeat(100)]);
        table.row([String::new(), "short\tand\nhostile".into()]);
        table
    }

    /// One column gives way, nothing is lost; a tab or line end in a cell makes no new cell or row.
    #[test]
    fn fits_and_keeps_its_shape() {
        let lines = table().aligned(40);
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
        assert!(lines[1].starts_with("xb.ncu  xxx") && lines[2].starts_with("        xxx"));
        assert_eq!(lines.concat().matches('x').count(), 101);
        assert!(lines.last().unwrap().starts_with("-       short\\u{9}and\\u{a}"), "{lines:?}");
        let tabbed = table().tabbed();
        assert_eq!(tabbed[1].split('\t').count(), 2);
        assert_eq!(tabbed[1].len(), 107);
        let mut long = Table::new(&["A", "B"], 1);
        long.row(["a".repeat(90), "b".repeat(90)]);
        assert!(long.aligned(80).iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn without_rows_there_is_no_header() {
        let table = Table::new(&["PEER"], 0);
        assert!(table.aligned(80).is_empty() && table.tabbed().is_empty() && table.height() == 0);
    }
}
