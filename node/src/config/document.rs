//! A TOML file while it is read: values with their places, and the faults found so far.
//!
//! Enter through [`Document::parse`], then one [`Section`] per table; each getter names a key, its
//! default and its limits, and gives the default when the value is at fault, so that reading goes
//! on and all faults are told together. A key that no getter named is a fault of its own.
//! Invariant: a document without faults gave values within their limits.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Fault, Place, Severity},
    units,
};

/// One file.
pub(super) struct Document<'t> {
    file: PathBuf,
    text: &'t str,
    root: DeTable<'t>,
    faults: RefCell<Vec<Fault>>,
    places: RefCell<BTreeMap<String, Place>>,
}

impl<'t> Document<'t> {
    /// Parses what can be parsed; errors of syntax are the first faults.
    pub(super) fn parse(file: &Path, text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self {
            file: file.into(),
            text,
            root: root.into_inner(),
            faults: RefCell::default(),
            places: RefCell::default(),
        };
        for error in errors.iter().take(FAULTS_MAX) {
            let mend = "see https://toml.io: `key = value`, texts in double quotes";
            let problem = error.message().to_owned();
            document.fault("SYNTAX", error.span(), "", (problem, mend.into()));
        }
        document
    }

    /// The table of the whole file.
    pub(super) fn root(&self) -> Section<'_, 't> {
        self.section(String::new(), Some(&self.root), None)
    }

    /// Whether the text is TOML at all.
    pub(super) fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// The faults in the order of their places, and where each key stands.
    pub(super) fn finish(self) -> (Vec<Fault>, Places) {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| fault.place);
        (faults, Places(self.places.into_inner()))
    }

    fn section<'d>(
        &'d self,
        path: String,
        table: Option<&'d DeTable<'t>>,
        span: Option<Range<usize>>,
    ) -> Section<'d, 't> {
        Section { document: self, path, table, span, known: Vec::new() }
    }

    fn fault(
        &self,
        label: &'static str,
        span: Option<Range<usize>>,
        key: &str,
        (problem, mend): (String, String),
    ) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < FAULTS_MAX {
            let place = span.map(|span| Place::of(self.text, span.start));
            let (file, key) = (self.file.clone(), key.into());
            let severity = Severity::Error;
            faults.push(Fault { file, place, severity, label, key, problem, mend });
        }
    }
}

/// Where each key of a file stands.
#[derive(Debug)]
pub(super) struct Places(BTreeMap<String, Place>);

impl Places {
    /// Where this key's value stands, if the file has it.
    pub(super) fn of(&self, key: &str) -> Option<Place> {
        self.0.get(key).copied()
    }
}

/// One table of a document, or the lack of it.
pub(super) struct Section<'d, 't> {
    document: &'d Document<'t>,
    path: String,
    table: Option<&'d DeTable<'t>>,
    span: Option<Range<usize>>,
    known: Vec<&'static str>,
}

impl<'d, 't> Section<'d, 't> {
    /// Whether the file has this table.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether this table has the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// A table in this one.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'d, 't> {
        let path = self.path_of(key);
        let Some(value) = self.take(key) else { return self.document.section(path, None, None) };
        let table = value.get_ref().as_table();
        if table.is_none() {
            let mend = format!("write it as a section: `[{path}]`");
            self.mismatch(value, key, "a section", mend);
        }
        self.document.section(path, table, Some(value.span()))
    }

    /// All tables in this one, whatever their names. Whoever asks for them knows all keys here.
    pub(super) fn each(&self) -> Vec<(&'d str, Section<'d, 't>)> {
        let mut sections = Vec::new();
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref().as_ref();
            let path = self.path_of(name);
            let table = value.get_ref().as_table();
            if table.is_none() {
                let mend = format!("write it as a section: `[{path}]`");
                self.mismatch(value, name, "a section", mend);
            }
            sections.push((name, self.document.section(path, table, Some(value.span()))));
        }
        sections
    }

    /// A text that `read` understands; `None` when it is not there or at fault.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let mend = format!("write it as in `{key} = {example}`");
        let Some(text) = value.get_ref().as_str() else {
            self.mismatch(value, key, "a text", mend);
            return None;
        };
        let problem = match read(text) {
            Ok(value) => return Some(value),
            Err(problem) => format!("`{}`: {problem}", shortened(text)),
        };
        self.wrong(Some(value.span()), key, problem, mend);
        None
    }

    /// As [`Section::optional`], and its lack is a fault.
    pub(super) fn mandatory<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            let section =
                if self.path.is_empty() { "" } else { &format!(" below `[{}]`", self.path) };
            let mend = format!("add `{key} = {example}`{section}");
            let problem = "is missing and has no default".into();
            self.fault("MISSING_KEY", self.span.clone(), key, (problem, mend));
            return None;
        }
        self.optional(key, example, read)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        let named: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let named = named.join(" or ");
        self.optional(key, &named, |text| {
            let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            found.ok_or_else(|| match nearest(text, words.iter().map(|(word, _)| *word)) {
                Some(word) => format!("is not known, did you mean \"{word}\"?"),
                None => "is not known".to_owned(),
            })
        })
        .unwrap_or(default)
    }

    /// Yes or no.
    pub(super) fn switch(&mut self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.take(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let mend = format!("write `true` or `false`; the default is `{default}`");
            self.mismatch(value, key, "true or false", mend);
            default
        })
    }

    /// A duration within limits.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        limits: RangeInclusive<Duration>,
    ) -> Duration {
        self.unit(key, default, limits, "duration", units::duration, units::print_duration)
    }

    /// A size within limits.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: u64,
        limits: RangeInclusive<u64>,
    ) -> u64 {
        self.unit(key, default, limits, "size", units::size, units::print_size)
    }

    /// A whole number within limits.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: u32,
        limits: RangeInclusive<u32>,
    ) -> u32 {
        let Some(value) = self.take(key) else { return default };
        let (min, max) = (limits.start(), limits.end());
        let mend = format!("write a number from {min} to {max}; the default is {default}");
        let Some(integer) = value.get_ref().as_integer() else {
            self.mismatch(value, key, "a number", mend);
            return default;
        };
        match u32::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if limits.contains(&number) => number,
            _ => {
                let problem = format!("{} is out of its limits", shortened(integer.as_str()));
                self.wrong(Some(value.span()), key, problem, mend);
                default
            }
        }
    }

    /// A list of texts that `read` understands; `None` when it is not there or any of it is at
    /// fault.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        max: usize,
        example: &str,
        mut read: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.take(key)?;
        let mend = format!("write it as in `{key} = [{example}]`");
        let Some(array) = value.get_ref().as_array() else {
            self.mismatch(value, key, "a list", mend);
            return None;
        };
        if array.len() > max {
            let problem = format!("has {} elements, {max} are the most", array.len());
            self.wrong(Some(value.span()), key, problem, "leave some out".into());
            return None;
        }
        let mut read_all = Vec::new();
        for element in array.iter() {
            let Some(text) = element.get_ref().as_str() else {
                self.mismatch(element, key, "a text", mend.clone());
                continue;
            };
            match read(text) {
                Ok(element) => read_all.push(element),
                Err(problem) => {
                    let problem = format!("`{}`: {problem}", shortened(text));
                    self.wrong(Some(element.span()), key, problem, mend.clone());
                }
            }
        }
        (read_all.len() == array.len()).then_some(read_all)
    }

    /// A fault of a key's value.
    pub(super) fn refuse(&self, key: &str, problem: String, mend: String) {
        let value = self.table.and_then(|table| table.get(key));
        let span = value.map(Spanned::span).or_else(|| self.span.clone());
        self.wrong(span, key, problem, mend);
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let known = self.known.iter().copied();
            let mend = match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let problem = "is not a known key".into();
            self.fault("UNKNOWN_KEY", Some(key.span()), name, (problem, mend));
        }
    }

    fn unit<T: Copy + PartialOrd>(
        &mut self,
        key: &'static str,
        default: T,
        limits: RangeInclusive<T>,
        noun: &str,
        read: impl Fn(&str) -> Option<T>,
        print: impl Fn(T) -> String,
    ) -> T {
        let example = format!(
            "\"{}\"`, from \"{}\" to \"{}\"; the default is `\"{}\"",
            print(default),
            print(*limits.start()),
            print(*limits.end()),
            print(default)
        );
        let kinds = if noun == "size" { "B, KiB, MiB or GiB" } else { "ms, s, m, h or d" };
        self.optional(key, &example, |text| {
            let value =
                read(text).ok_or_else(|| format!("is not a {noun}: a whole number and {kinds}"))?;
            if limits.contains(&value) { Ok(value) } else { Err("is out of its limits".into()) }
        })
        .unwrap_or(default)
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.known.push(key);
        let value = self.table?.get(key)?;
        let place = Place::of(self.document.text, value.span().start);
        self.document.places.borrow_mut().insert(self.path_of(key), place);
        Some(value)
    }

    fn mismatch(&self, value: &Spanned<DeValue<'t>>, key: &str, wanted: &str, mend: String) {
        let problem = format!("is of type {}, not {wanted}", value.get_ref().type_str());
        self.wrong(Some(value.span()), key, problem, mend);
    }

    fn wrong(&self, span: Option<Range<usize>>, key: &str, problem: String, mend: String) {
        self.fault("WRONG_VALUE", span, key, (problem, mend));
    }

    fn fault(
        &self,
        label: &'static str,
        span: Option<Range<usize>>,
        key: &str,
        told: (String, String),
    ) {
        self.document.fault(label, span, &self.path_of(key), told);
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }
}

/// The word that was probably meant: at most a third of it is different.
pub(super) fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // What is longer than any key cannot be near one, and would cost time.
    if text.len() > KEY_BYTES_MAX {
        return None;
    }
    let ranked = words.map(|word| (distance(text, word), word)).min_by_key(|(far, _)| *far);
    ranked.filter(|(far, word)| *far <= word.len().div_ceil(3)).map(|(_, word)| word)
}

/// Levenshtein's distance, with one row of memory.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            let replaced = diagonal.saturating_add(usize::from(a != b));
            diagonal = *cell;
            left = replaced.min(left.saturating_add(1)).min(diagonal.saturating_add(1));
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(0)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.into(),
    }
}

/// More faults than this in one file are not told: nobody mends a hundred at once.
const FAULTS_MAX: usize = 100;

/// Longest value that is repeated in a fault.
const VALUE_CHARS_MAX: usize = 80;

const KEY_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Typing errors find their word, other words do not.
    #[test]
    fn near_words() {
        let words = || ["listen", "idle_timeout", "key_exchange"].into_iter();
        assert_eq!(nearest("lisen", words()), Some("listen"));
        assert_eq!(nearest("key_exchang", words()), Some("key_exchange"));
        assert_eq!(nearest("idle-timeout", words()), Some("idle_timeout"));
        assert_eq!(nearest("colour", words()), None);
        assert_eq!(nearest(&"x".repeat(1000), words()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    /// Columns count characters, lines count from one.
    #[test]
    fn places() {
        let text = "a = 1\né = \"ü\" # x\n";
        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        let at = text.find('#').unwrap_or(0);
        assert_eq!(Place::of(text, at), Place { line: 2, column: 9 });
        assert_eq!(Place::of(text, 10_000), Place { line: 3, column: 1 });
    }
}
