//! How results look to people: pages of at most 80 columns, tables, times.
//!
//! Enter through [`Page`]. Invariant: what leaves a page holds no control or direction character,
//! whoever wrote the string: every line passes through [`clean`] here, and nowhere else is text
//! for people assembled.

pub mod table;
pub mod time;

use relay_proto::{timestamp::Timestamp, untrusted::Untrusted};
pub use table::Table;

/// The text of one result: first line the verdict, then what needs you, then facts.
#[derive(Debug)]
pub struct Page {
    look: Look,
    lines: Vec<String>,
}

/// How the reader wants it.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The time that relative times refer to.
    pub now: Timestamp,
    /// Absolute times only.
    pub utc: bool,
    /// Tab-separated tables, nothing shortened.
    pub plain: bool,
    /// Only the verdict.
    pub quiet: bool,
    /// Also ids, digests, labels.
    pub verbose: bool,
}

impl Page {
    /// An empty page.
    pub fn new(look: Look) -> Self {
        Self { look, lines: Vec::new() }
    }

    /// How the reader wants it.
    pub fn look(&self) -> Look {
        self.look
    }

    /// The time that relative times refer to.
    pub fn now(&self) -> Timestamp {
        self.look.now
    }

    /// Whether ids, digests and labels are wanted.
    pub fn verbose(&self) -> bool {
        self.look.verbose
    }

    /// One sentence or fact, wrapped; continuation lines are indented by `hang`.
    pub fn hanging(&mut self, text: &str, hang: usize) {
        let text = clean(text);
        if self.look.plain {
            self.lines.push(text);
        } else {
            self.lines.extend(wrap(&text, hang));
        }
    }

    /// Outside text, indented: also a word that is too long is broken.
    pub fn quote(&mut self, text: &str, indent: usize) {
        let text = clean(text);
        if self.look.plain {
            self.lines.push(format!("{}{text}", " ".repeat(indent)));
            return;
        }
        for (number, line) in table::split(&text, WIDTH - indent.min(40) - 2).iter().enumerate() {
            let hang = if number == 0 { 0 } else { 2 };
            self.lines.push(format!("{}{line}", " ".repeat(indent.min(40) + hang)));
        }
    }

    /// A file of ours, line by line, nothing wrapped: it is to be saved.
    pub fn file(&mut self, text: &str) {
        self.lines.extend(text.lines().map(clean));
    }

    /// One sentence, wrapped.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.hanging(text.as_ref(), 2);
    }

    /// A labelled fact: `STORE   ok. …`, continued under itself.
    pub fn fact(&mut self, label: &str, text: impl AsRef<str>) {
        self.hanging(&format!("{label:<9} {}", text.as_ref()), 10);
    }

    /// A command to paste behind a lead: where it is too wide it goes on in the next line as a
    /// shell does, with a backslash.
    pub fn command(&mut self, lead: &str, words: &[String]) {
        let mut line = lead.to_owned();
        let mut fresh = true;
        for word in words.iter().map(|word| clean(word)) {
            // Room for the blank and the backslash.
            let wide = line.chars().count() + word.chars().count() + 3 > WIDTH;
            if !fresh && wide && !self.look.plain {
                self.lines.push(format!("{} \\", line.trim_end()));
                line = " ".repeat(lead.chars().count() + 2);
            }
            line.push_str(&word);
            line.push(' ');
            fresh = false;
        }
        self.lines.push(line);
    }

    /// An empty line between parts; never two, never first.
    pub fn gap(&mut self) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.lines.push(String::new());
        }
    }

    /// A table; nothing when it has no rows.
    pub fn table(&mut self, table: &Table) {
        let rows = if self.look.plain { table.tabbed() } else { table.aligned(WIDTH) };
        self.lines.extend(rows);
    }

    /// An instant with how far away it is: `2026-11-24T03:12:07Z (2 h 05 min ago)`.
    pub fn when(&self, at: Option<Timestamp>) -> String {
        time::absolute_and_relative(at, self.look.now, self.look.utc)
    }

    /// How far away an instant is; with `--utc` the instant.
    pub fn distance(&self, at: Option<Timestamp>) -> String {
        match at {
            Some(at) if self.look.utc => at.to_string(),
            Some(at) => time::relative(at, self.look.now),
            None => "-".to_owned(),
        }
    }

    /// The same without `in` and `ago`, for columns that say which; `late` is added behind what
    /// is past.
    pub fn span(&self, at: Option<Timestamp>, late: &str) -> String {
        match at {
            Some(at) if self.look.utc => at.to_string(),
            Some(at) if at < self.look.now => {
                format!("{} {late}", time::distance(at, self.look.now)).trim_end().to_owned()
            }
            Some(at) => time::distance(at, self.look.now),
            None => "-".to_owned(),
        }
    }

    /// The finished text, each line ended.
    pub fn finish(self) -> String {
        let count = if self.look.quiet { 1 } else { self.lines.len() };
        let mut text = String::new();
        for line in self.lines.iter().take(count) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `512 B`, `41 kB`, `3.2 GB`.
pub fn bytes(number: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (size, unit) in units {
        if number >= size {
            return match number / size {
                whole if whole >= 10 => format!("{whole} {unit}"),
                whole => format!("{whole}.{} {unit}", number % size * 10 / size),
            };
        }
    }
    format!("{number} B")
}

/// Makes outside text harmless on a terminal: what moves the cursor, ends a line, hides or turns
/// the reading direction is shown as `\u{..}`. Clean text stays, so cleaning twice changes nothing.
pub fn clean(text: &str) -> String {
    Untrusted(text).to_string()
}

/// Whether [`clean`] would not let this character stand.
pub fn is_unsafe(c: char) -> bool {
    // Only ASCII is worth a shorter way: most of all text is.
    let mut bytes = [0; 4];
    !(' '..='~').contains(&c) && !clean(c.encode_utf8(&mut bytes)).starts_with(c)
}

/// Breaks at blanks so that no line is wider than [`WIDTH`]; a longer word is left whole (ids,
/// paths, commands).
fn wrap(text: &str, hang: usize) -> Vec<String> {
    let lead = text.chars().take_while(|c| *c == ' ').count();
    if text.chars().count() <= WIDTH {
        return vec![text.to_owned()];
    }
    let indent = " ".repeat(lead + hang);
    let (mut lines, mut line, mut fresh) = (Vec::new(), " ".repeat(lead), true);
    for word in text.trim_start().split(' ') {
        let wide = line.chars().count() + 1 + word.chars().count() > WIDTH;
        if !fresh && wide {
            lines.push(std::mem::replace(&mut line, indent.clone()));
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    lines.push(line);
    lines
}

/// Columns of the narrowest terminal that is served.
pub const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let now = Timestamp::from_millis(1_795_489_920_000);
        Page::new(Look { now, utc: false, plain: false, quiet: false, verbose: false })
    }

    /// A peer's string cannot end a line, move the cursor or turn the text around.
    #[test]
    fn no_line_holds_a_control_character() {
        let mut page = page();
        page.line("a\u{1b}[2Jb\r\nc\u{202e}d\u{9b}e\u{7f}");
        let text = page.finish();
        assert_eq!(text, "a\\u{1b}[2Jb\\u{d}\\u{a}c\\u{202e}d\\u{9b}e\\u{7f}\n");
        assert_eq!(clean(text.trim_end()), text.trim_end());
    }

    #[test]
    fn long_lines_wrap_under_themselves() {
        let mut page = page();
        page.fact("STORE", "word ".repeat(40));
        let text = page.finish();
        assert!(text.lines().count() > 2 && text.lines().all(|l| l.chars().count() <= WIDTH));
        assert!(text.lines().skip(1).all(|l| l.starts_with(&" ".repeat(10))));
    }

    /// A pasted command is the command: joined as a shell joins it, it has the same words.
    #[test]
    fn wide_commands_can_be_pasted() {
        let words: Vec<String> = (0..30).map(|n| format!("--word-{n}")).collect();
        let mut page = page();
        page.command("  try:  ", &words);
        let text = page.finish();
        assert!(text.lines().count() > 2 && text.lines().all(|l| l.chars().count() <= WIDTH));
        let joined = text.replace("\\\n", " ");
        let read: Vec<&str> = joined.split_whitespace().skip(1).collect();
        assert_eq!(read, words);
    }

    #[test]
    fn quiet_is_the_verdict_alone() {
        let look = Look { quiet: true, ..page().look() };
        let mut page = Page::new(look);
        page.line("VALID");
        page.line("more");
        assert_eq!(page.finish(), "VALID\n");
    }
}
