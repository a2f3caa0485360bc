//! The writer of HTML: one file without script, image or font of elsewhere, for a screen, a screen
//! reader and A4.
//!
//! Enter through [`write`]. Invariant: every text passes through [`escaped`]; a sender's text has
//! an element of its own with its language and `dir="auto"`, so it turns nothing around it.

use super::{Block, Field, Paper, Phrase, Table, Timeline};

mod timeline;

pub use timeline::told;

/// The document.
pub fn write(paper: &Paper) -> String {
    let mut writer = Writer { paper, out: String::new(), timelines: 0, in_section: false };
    writer.head();
    for block in &paper.blocks {
        writer.block(block);
    }
    writer.end_section();
    writer.foot();
    writer.out
}

struct Writer<'a> {
    paper: &'a Paper,
    out: String,
    /// So many were drawn: their titles need ids of their own.
    timelines: usize,
    in_section: bool,
}

impl Writer<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn head(&mut self) {
        let title = escaped(&self.paper.title);
        let footer = escaped(self.paper.footer.text());
        self.line("<!DOCTYPE html>");
        self.line("<html lang=\"en\" dir=\"ltr\">");
        self.line("<head>");
        self.line("<meta charset=\"utf-8\">");
        // A browser that honours this loads and runs nothing, whatever stands below.
        self.line(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">"));
        self.line("<meta name=\"viewport\" content=\"width=device-width\">");
        self.line("<meta name=\"generator\" content=\"relay-cli\">");
        self.line(&format!("<title>{title} - {footer}</title>"));
        self.line(&format!("<style>\n{}</style>", include_str!("html/paper.css")));
        self.line("</head>");
        let class = if self.paper.one_page { " class=\"dense\"" } else { "" };
        self.line(&format!("<body{class}>"));
        if !self.paper.marks.is_empty() {
            let paper = self.paper;
            self.line("<header>");
            self.phrases(&paper.marks, "p", " class=\"mark\"");
            self.line("</header>");
        }
        self.line("<main>");
        self.line(&format!("<h1>{title}</h1>"));
    }

    fn foot(&mut self) {
        let (footer, at) = (escaped(self.paper.footer.text()), self.paper.printed);
        self.line("</main>");
        self.line(&format!(
            "<footer><p>{footer}. Printed at <time datetime=\"{at}\">{at}</time> by this \
             computer's clock.</p></footer>"
        ));
        self.line("</body>");
        self.line("</html>");
    }

    fn end_section(&mut self) {
        if self.in_section {
            self.line("</section>");
            self.in_section = false;
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Section(title) => {
                self.end_section();
                self.in_section = true;
                self.line("<section>");
                self.line(&format!("<h2>{}</h2>", escaped(title)));
            }
            Block::Part(title) => self.line(&format!("<h3>{}</h3>", escaped(title))),
            Block::Note(phrase) => self.phrases(std::slice::from_ref(phrase), "p", ""),
            Block::Verdict { word, meaning } => {
                let (word, meaning) = (escaped(word), escaped(meaning));
                self.line(&format!(
                    "<p class=\"verdict\"><strong>{word}</strong><br>{meaning}</p>"
                ));
            }
            Block::Fields(fields) => self.fields(fields),
            Block::Table(table) => self.table(table),
            Block::List(items) => {
                self.line("<ul>");
                self.phrases(items, "li", "");
                self.line("</ul>");
            }
            Block::Timeline(timeline) => self.timeline(timeline),
        }
    }

    fn fields(&mut self, fields: &[Field]) {
        self.line("<dl>");
        for field in fields {
            self.line(&format!("<div><dt>{}</dt>", escaped(field.label)));
            self.phrases(&field.values, "dd", "");
            self.line("</div>");
        }
        self.line("</dl>");
    }

    fn table(&mut self, table: &Table) {
        self.line("<table>");
        self.line(&format!("<caption>{}</caption>", escaped(table.caption)));
        self.line("<thead><tr>");
        for head in &table.heads {
            self.line(&format!("<th scope=\"col\">{}</th>", escaped(head)));
        }
        self.line("</tr></thead>");
        self.line("<tbody>");
        for row in &table.rows {
            self.line("<tr>");
            self.phrases(row, "td", "");
            self.line("</tr>");
        }
        self.line("</tbody>");
        self.line("</table>");
    }

    fn timeline(&mut self, timeline: &Timeline) {
        self.timelines += 1;
        let drawing = timeline::draw(timeline, self.timelines);
        self.line("<figure>");
        self.out.push_str(&drawing);
        self.line("</figure>");
    }

    /// Each phrase as an element of its own.
    fn phrases(&mut self, phrases: &[Phrase], element: &str, attributes: &str) {
        for phrase in phrases {
            let text = escaped(phrase.text()).replace('\n', "<br>");
            let whose = match (phrase.is_theirs(), &self.paper.language) {
                (false, _) => String::new(),
                (true, None) => " lang=\"\" dir=\"auto\"".to_owned(),
                // The shape of a tag allows letters, digits and hyphens only.
                (true, Some(language)) => {
                    format!(" lang=\"{}\" dir=\"auto\"", escaped(language.as_str()))
                }
            };
            self.line(&format!("<{element}{attributes}{whose}>{text}</{element}>"));
        }
    }
}

/// A text for the inside of an element or of a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'";
