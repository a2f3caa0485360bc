//! The dialogue: one question a line, one answer a line, then a review page. Plain text without
//! cursor movement, so that it works over a serial line and with a screen reader.
//!
//! Generic over where lines come from and go to. Invariant: nothing is sent but by the word SEND,
//! typed whole on the review page; a line that is cut off ends with what was typed so far saved.

use std::io::{self, BufRead, Write};

use serde_json::{Number, Value, json};

use super::{
    Form,
    questions::{PARTS, QUESTIONS, Question, Shape},
};
use crate::render::{Look, Page};

/// What the officer wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Send,
    /// Let the node check it; nothing is sent.
    Check,
    Save,
    Leave,
}

/// A person at a line.
#[derive(Debug)]
pub struct Interview<R, W> {
    read: R,
    write: W,
    look: Look,
}

/// What became of a question.
enum Said {
    Answered,
    Back,
    Done(Choice),
}

impl<R: BufRead, W: Write> Interview<R, W> {
    /// Reads answers from one side, writes questions to the other.
    pub fn new(read: R, write: W, look: Look) -> Self {
        Self { read, write, look: Look { quiet: false, plain: false, ..look } }
    }

    /// Asks all questions, then shows the review page.
    pub fn fill(&mut self, form: &mut Form) -> io::Result<Choice> {
        self.say(&format!(
            "Preservation request to {}: form T-CY(2018)11, Budapest Convention, Article 29.",
            form.to()
        ))?;
        self.say("Six required parts.  ? help   b back   s save   q leave   Enter keeps [ ]")?;
        let (mut at, mut part) = (0, 0);
        while let Some((question, item)) = steps(form).get(at).copied() {
            if !applies(question, item, form) {
                at += 1;
                continue;
            }
            if question.part != part {
                part = question.part;
                self.say("")?;
                self.say(PARTS.get(part - 1).copied().unwrap_or_default())?;
            }
            match self.ask(question, item, form)? {
                Said::Answered => at += 1,
                Said::Back => at = before(at, form),
                Said::Done(choice) => return Ok(choice),
            }
        }
        self.review(form)
    }

    /// The whole request, a number a line, until something is wanted done.
    pub fn review(&mut self, form: &mut Form) -> io::Result<Choice> {
        let mut shown = self.show(form)?;
        loop {
            self.say("e N edit   d check at the node   s save   q leave   SEND sends it")?;
            let Some(line) = self.line("> ")? else { return Ok(Choice::Save) };
            match line.as_str() {
                "SEND" => return Ok(Choice::Send),
                "d" => return Ok(Choice::Check),
                "s" => return Ok(Choice::Save),
                "q" => return Ok(Choice::Leave),
                _ => {}
            }
            let number = line.strip_prefix("e ").and_then(|number| number.trim().parse().ok());
            let step = number.and_then(|number: usize| shown.get(number.checked_sub(1)?).copied());
            let Some((question, item)) = step else {
                self.say("Not understood: type SEND in capitals, or one of the letters.")?;
                continue;
            };
            if let Said::Done(choice) = self.ask(question, item, form)? {
                return Ok(choice);
            }
            shown = self.show(form)?;
        }
    }

    /// Prints what is there; the steps in the order of their numbers.
    fn show(&mut self, form: &Form) -> io::Result<Vec<(&'static Question, usize)>> {
        let asked = steps(form).into_iter().filter(|(question, item)| {
            question.shape != Shape::More && applies(question, *item, form)
        });
        let shown: Vec<_> = asked.collect();
        let mut page = Page::new(self.look);
        page.line(format!("REVIEW    preservation request to {}", form.to()));
        let mut part = 0;
        for (number, (question, item)) in (1..).zip(&shown) {
            if question.part != part {
                part = question.part;
                page.line(PARTS.get(part - 1).copied().unwrap_or_default());
            }
            let path = path(question, *item);
            let value = form.at(&path).map(text).unwrap_or_default();
            let value = if value.is_empty() { "-".to_owned() } else { value };
            page.hanging(&format!("{number:>4}  {}: {value}", question.label), 6);
            for fault in form.faults_at(&path) {
                page.hanging(&format!("      ! {fault}"), 2);
            }
        }
        self.write.write_all(page.finish().as_bytes())?;
        Ok(shown)
    }

    /// One question until it is answered well, or left.
    fn ask(&mut self, question: &Question, item: usize, form: &mut Form) -> io::Result<Said> {
        let path = path(question, item);
        loop {
            let known = match form.at(&path).map(text).filter(|text| !text.is_empty()) {
                Some(known) => known,
                None => question.default.to_owned(),
            };
            let label = match question.shape {
                Shape::More => format!("{} after item {}", question.label, item + 1),
                _ => question.label.to_owned(),
            };
            if let Shape::Word(words) | Shape::Words(words) = question.shape {
                let one = |(number, word): (usize, &&str)| format!("{number} {word}");
                let list = (1..).zip(words).map(one).collect::<Vec<_>>().join(", ");
                self.say(&format!("  {list}"))?;
            }
            let words = match question.shape {
                Shape::YesNo | Shape::More => " (y, n)",
                _ => "",
            };
            let kept = match (known.is_empty(), question.optional) {
                (false, _) => format!(" [{}]", shortened(&known)),
                (true, true) => " [-]".to_owned(),
                (true, false) => String::new(),
            };
            let Some(line) = self.line(&format!("{label}{words}{kept}: "))? else {
                return Ok(Said::Done(Choice::Save));
            };
            match line.as_str() {
                "?" => self.say(question.help)?,
                "b" => return Ok(Said::Back),
                "s" => return Ok(Said::Done(Choice::Save)),
                "q" => return Ok(Said::Done(Choice::Leave)),
                "" if known.is_empty() && question.optional => {
                    form.clear(&path);
                    // Some may be left out only with certain answers to others.
                    let faults = form.faults_at(&path);
                    if faults.is_empty() {
                        return Ok(Said::Answered);
                    }
                    self.say_all(&faults)?;
                }
                "" if known.is_empty() => self.say("Needed. Type ? for help.")?,
                "" if form.at(&path).is_some() => return Ok(Said::Answered),
                typed => {
                    let typed = if typed.is_empty() { known.as_str() } else { typed };
                    match self.take(question, &path, typed, form)? {
                        true => return Ok(Said::Answered),
                        false => continue,
                    }
                }
            }
        }
    }

    /// Puts an answer into the form if it is well-formed; else says what is wrong with it.
    fn take(
        &mut self,
        question: &Question,
        path: &str,
        typed: &str,
        form: &mut Form,
    ) -> io::Result<bool> {
        let value = match value(question.shape, typed) {
            Ok(value) => value,
            Err(why) => {
                self.say(&why)?;
                return Ok(false);
            }
        };
        if question.shape == Shape::More {
            if value == json!(true) {
                form.add_item();
            }
            return Ok(true);
        }
        let before = form.clone();
        form.set(path, value);
        let faults = form.faults_at(path);
        if faults.is_empty() {
            return Ok(true);
        }
        *form = before;
        self.say_all(&faults)?;
        Ok(false)
    }

    fn say_all(&mut self, faults: &[String]) -> io::Result<()> {
        faults.iter().try_for_each(|fault| self.say(&format!("  {fault}")))
    }

    /// Says something of the program's, or of the checks.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        let mut page = Page::new(self.look);
        page.line(text);
        self.write.write_all(page.finish().as_bytes())
    }

    /// A prompt and the line that is typed; none at the end of input.
    fn line(&mut self, prompt: &str) -> io::Result<Option<String>> {
        self.write.write_all(crate::render::clean(prompt).as_bytes())?;
        self.write.flush()?;
        let mut line = String::new();
        match self.read.read_line(&mut line)? {
            0 => Ok(None),
            _ => Ok(Some(line.trim().to_owned())),
        }
    }
}

/// All questions in their order, those of part 3 once an item.
fn steps(form: &Form) -> Vec<(&'static Question, usize)> {
    let of_items = |question: &&Question| is_of_item(question);
    let mut all = Vec::new();
    let mut rest = QUESTIONS.iter().peekable();
    while let Some(question) = rest.next() {
        if !is_of_item(question) {
            all.push((question, 0));
            continue;
        }
        let first = std::iter::once(question);
        let more = std::iter::from_fn(|| rest.next_if(of_items));
        let group: Vec<&Question> = first.chain(more).collect();
        all.extend((0..form.items).flat_map(|item| group.iter().map(move |one| (*one, item))));
    }
    all
}

fn is_of_item(question: &Question) -> bool {
    question.path.contains('#') || question.shape == Shape::More
}

/// Whether a question makes sense with what was answered before.
fn applies(question: &Question, item: usize, form: &Form) -> bool {
    match question.path {
        "request.items[#].source_port" => {
            let kind = form.at(&format!("request.items[{item}].identifier.type"));
            kind.and_then(Value::as_str).is_some_and(|kind| kind.starts_with("ipv"))
        }
        "more" => item + 1 == form.items,
        "env.urgency_reason" => form.at("env.priority") != Some(&json!("ROUTINE")),
        _ => true,
    }
}

/// The question before, of those that make sense.
fn before(at: usize, form: &Form) -> usize {
    let all = steps(form);
    let makes_sense = |place: &usize| {
        all.get(*place).is_some_and(|(question, item)| applies(question, *item, form))
    };
    (0..at).rev().find(makes_sense).unwrap_or(0)
}

fn path(question: &Question, item: usize) -> String {
    question.path.replace('#', &item.to_string())
}

/// What was typed, as the value of a message file.
fn value(shape: Shape, typed: &str) -> Result<Value, String> {
    let words = || typed.split(',').map(str::trim).filter(|word| !word.is_empty());
    Ok(match shape {
        Shape::Text => json!(typed),
        Shape::Texts => json!(words().collect::<Vec<_>>()),
        // What is no number is told by the reader.
        Shape::Number => match typed.parse::<u64>() {
            Ok(number) => Value::Number(Number::from(number)),
            Err(_) => json!(typed),
        },
        Shape::YesNo | Shape::More => match typed.to_ascii_lowercase().as_str() {
            "y" | "yes" => json!(true),
            "n" | "no" => json!(false),
            _ => return Err("Answer y or n.".to_owned()),
        },
        Shape::Word(list) => json!(word(list, typed)?),
        Shape::Words(list) => {
            let found: Result<Vec<_>, String> = words().map(|typed| word(list, typed)).collect();
            json!(found?)
        }
        Shape::Identifier => match typed.split_once(char::is_whitespace) {
            Some((kind, value)) => json!({"type": kind, "value": value.trim()}),
            None => return Err("Type and value, as in: email name@example.com".to_owned()),
        },
    })
}

/// A word of a closed list by its name or number.
fn word(list: &[&'static str], typed: &str) -> Result<&'static str, String> {
    let by_number = typed.parse().ok().and_then(|number: usize| list.get(number.checked_sub(1)?));
    let name = typed.to_ascii_uppercase().replace(['-', ' '], "_");
    let found = by_number.or_else(|| list.iter().find(|word| **word == name));
    found.copied().ok_or_else(|| format!("One of {}, or its number.", list.join(", ")))
}

/// Enough of what is kept to know it again.
fn shortened(text: &str) -> String {
    match text.chars().count() > KEPT_CHARS_MAX {
        true => text.chars().take(KEPT_CHARS_MAX - 3).chain("...".chars()).collect(),
        false => text.to_owned(),
    }
}

/// A value as it would be typed.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "y".to_owned(),
        Value::Bool(false) => "n".to_owned(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let part = |key: &str| map.get(key).map(text).unwrap_or_default();
            format!("{} {}", part("type"), part("value")).trim().to_owned()
        }
        Value::Number(number) => number.to_string(),
        Value::Null => String::new(),
    }
}

/// Behind a question there is room for as much.
const KEPT_CHARS_MAX: usize = 36;

#[cfg(test)]
mod tests;
