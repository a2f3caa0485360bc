//! Faults of a message: what is wrong, where, and what to do; all of them together.
//!
//! Enter through [`Faults`] (what callers get) and `Collector` (what the parsers of this room
//! fill). Invariant: a value that a parser built while a fault was collected never leaves this
//! room, for the only way out is `Collector::result`.

use std::fmt;

use crate::reason::Reason;

use super::kinds::{field_of_key, key_of_field};

/// One thing that is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, in the names of the message file: `request.items[0].relationship`.
    pub path: String,
    /// The stable label.
    pub reason: Reason,
    /// What is wrong and what to do, one line.
    pub text: String,
    /// The paragraph of the Budapest Convention that demands it: `29(2)(c)`.
    pub article: Option<&'static str>,
    /// The content's alternative in the `.proto`, where the place is within it.
    content: Option<&'static str>,
}

impl Fault {
    /// A fault of content.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        Self { path, reason: Reason::InvalidContent, text, article: None, content: None }
    }

    /// The same with another label.
    pub fn because(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    /// The label of this one fault: that of the paragraph that demands it, else of its reason.
    pub fn label(&self) -> &'static str {
        match self.article {
            Some("29(2)(a)") => "ARTICLE_29_2_A",
            Some("29(2)(b)") => "ARTICLE_29_2_B",
            Some("29(2)(c)") => "ARTICLE_29_2_C",
            Some("29(2)(d)") => "ARTICLE_29_2_D",
            Some("29(2)(e)") => "ARTICLE_29_2_E",
            Some("29(2)(f)") => "ARTICLE_29_2_F",
            _ => self.reason.label(),
        }
    }

    /// The same place in the names of the local API:
    /// `draft.payload.preservation_request.items[0].relationship`.
    pub fn api_path(&self) -> String {
        let (head, rest) = self.path.split_once('.').unwrap_or((&self.path, ""));
        let dot = if rest.is_empty() { "" } else { "." };
        match head {
            "*" => "draft.payload".to_owned(),
            "env" => match rest.split(['[', '.']).next().unwrap_or_default() {
                "to" | "profile" | "priority" => format!("draft.{rest}"),
                "expires_at" => "draft.expire_time".to_owned(),
                "thread_id" => "draft.payload.case_id".to_owned(),
                _ => format!("draft.payload{dot}{rest}"),
            },
            "handling" => format!("draft.payload.{}", self.path),
            key => match self.content.or_else(|| field_of_key(key)) {
                Some(field) => format!("draft.payload.{field}{dot}{rest}"),
                None => format!("draft.{}", self.path),
            },
        }
    }
}

/// A path of the local API in the names of the message file; one that is not of a draft stays as
/// it is. For [`Fault::api_path`] of a message file's path this is that path.
pub fn file_path(api_path: &str) -> String {
    let Some(rest) = api_path.strip_prefix("draft.") else { return api_path.to_owned() };
    let Some(payload) = rest.strip_prefix("payload") else {
        return match rest {
            "expire_time" => "env.expires_at".to_owned(),
            _ => format!("env.{rest}"),
        };
    };
    match payload.strip_prefix('.').unwrap_or(payload) {
        "" => "*".to_owned(),
        "case_id" => "env.thread_id".to_owned(),
        rest => {
            let (head, within) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
            match key_of_field(head) {
                Some(key) => format!("{key}{within}"),
                None if head == "handling" => rest.to_owned(),
                None => format!("env.{rest}"),
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)?;
        match self.article {
            Some(article) => write!(f, " (Article {article} of the Budapest Convention)"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with a message, in the order of finding; never empty, at most [`FAULTS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The only fault.
    pub fn one(fault: Fault) -> Self {
        Self(vec![fault])
    }

    /// All of these; nothing when there are none. Beyond [`FAULTS_MAX`] they are left out.
    pub fn all(mut faults: Vec<Fault>) -> Option<Self> {
        faults.truncate(FAULTS_MAX);
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// In the order of finding, much like that of the message's fields.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: kept for the convention that goes with `len`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The label for a place that has room for one only: a special one before `INVALID_CONTENT`.
    pub fn reason(&self) -> Reason {
        let special = self.0.iter().find(|f| f.reason != Reason::InvalidContent);
        special.map_or(Reason::InvalidContent, |f| f.reason)
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

/// A place in a message, as a chain on the stack: it is written out only where a fault is found.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    name: &'a str,
    index: Option<usize>,
    article: Option<&'static str>,
    content: Option<&'static str>,
}

impl<'a> At<'a> {
    /// The beginning of a path.
    pub fn root(name: &'a str) -> At<'a> {
        At { parent: None, name, index: None, article: None, content: None }
    }

    /// The content of a message: its key in message files, its alternative in the `.proto`.
    pub fn content(key: &'static str, field: &'static str) -> At<'static> {
        At { content: Some(field), ..At::root(key) }
    }

    /// A field of this object.
    pub fn field(&'a self, name: &'a str) -> At<'a> {
        At { parent: Some(self), name, index: None, ..*self }
    }

    /// An element of this list.
    pub fn index(self, index: usize) -> At<'a> {
        At { index: Some(index), ..self }
    }

    /// Faults here and below are against this paragraph.
    pub fn article(self, article: &'static str) -> At<'a> {
        At { article: Some(article), ..self }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        f.write_str(self.name)?;
        self.index.map_or(Ok(()), |index| write!(f, "[{index}]"))
    }
}

/// Takes faults while a message is being read; reading goes on after each.
#[derive(Default)]
pub(crate) struct Collector {
    faults: Vec<Fault>,
}

impl Collector {
    /// A fault of content.
    pub fn fault(&mut self, at: At<'_>, text: impl Into<String>) {
        self.labelled(at, Reason::InvalidContent, text);
    }

    /// A fault with a label of its own.
    pub fn labelled(&mut self, at: At<'_>, reason: Reason, text: impl Into<String>) {
        let (path, text) = (at.to_string(), text.into());
        self.push(Fault { path, reason, text, article: at.article, content: at.content });
    }

    /// A fault that was found elsewhere.
    pub fn push(&mut self, fault: Fault) {
        // More than is reported would only cost memory: the reader mends the first hundred first.
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    /// Takes over what another reading found.
    pub fn extend(&mut self, faults: Faults) {
        let room = FAULTS_MAX.saturating_sub(self.faults.len());
        self.faults.extend(faults.0.into_iter().take(room));
    }

    /// Whether nothing was found so far.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// The value, if nothing was wrong.
    pub fn result<T>(self, value: T) -> Result<T, Faults> {
        if self.faults.is_empty() { Ok(value) } else { Err(Faults(self.faults)) }
    }
}

/// Most faults that are reported of one message; who has more begins with these.
pub const FAULTS_MAX: usize = 100;
