//! A small table: columns as wide as their widest cell, two blanks apart; one column may be shortened to fit.
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
    /// Columns by name; `shrink` is the one that is shortened when a row is too wide.
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
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For people: padded, at most `width` columns where shortening one column can do it.
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
        let total: usize = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if let Some(column) = widths.get_mut(self.shrink) {
            *column = column.saturating_sub(total.saturating_sub(width)).max(SHRUNK_MIN);
        }
        lines().map(|cells| line(cells, &widths)).collect()
    }

    /// For `cut` and `awk`: header and cells, tab-separated, whole.
    pub fn tabbed(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        std::iter::once(&self.header).chain(&self.rows).map(|cells| cells.join("\t")).collect()
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut out = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let size = cell.chars().count();
        if size > *width {
            out.extend(cell.chars().take(width.saturating_sub(2)));
            out.push_str("..");
        } else {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width - size));
        }
        out.push_str("  ");
    }
    out.trim_end().to_owned()
}

/// A shortened column still says something.
const SHRUNK_MIN: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["PEER", "WHY"], 1);
        table.row(["xb.ncu".into(), "x".repeat(100)]);
        table.row([String::new(), "short\tand\nhostile".into()]);
        table
    }

    /// One column gives way, the others are whole; a tab or line end in a cell makes no new cell or row.
    #[test]
    fn fits_and_keeps_its_shape() {
        let lines = table().aligned(40);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
        assert!(lines[1].starts_with("xb.ncu  xxx") && lines[1].ends_with("xx.."));
        assert_eq!(lines[2], "-       short\\u{9}and\\u{a}hostile");
        let tabbed = table().tabbed();
        assert_eq!(tabbed[1].split('\t').count(), 2);
        assert_eq!(tabbed[1].len(), 107);
    }

    #[test]
    fn without_rows_there_is_no_header() {
        let table = Table::new(&["PEER"], 0);
        assert!(table.aligned(80).is_empty() && table.tabbed().is_empty() && table.is_empty());
    }
}
