//! Strings that somebody else wrote, on their way to a terminal or a log.
//!
//! Enter through [`Untrusted`]: its `Display` writes every control, invisible or reordering
//! character as `\u{..}`. Invariant: what it prints moves no cursor, changes no colour, hides and
//! reorders nothing, and stays on its line. Letters of all scripts stay as they are.

use std::fmt::{self, Write as _};

use crate::payload::is_invisible;

/// A peer's string; prints escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Untrusted<T: AsRef<str>>(pub T);

impl<T: AsRef<str>> Untrusted<T> {
    /// Prints line feeds and tabs as they are: for a text that has its own lines on the screen.
    pub fn lines(&self) -> Lines<'_> {
        Lines(self.0.as_ref())
    }
}

/// A peer's text of several lines; prints escaped, line by line.
#[derive(Clone, Copy)]
pub struct Lines<'a>(&'a str);

impl<T: AsRef<str>> fmt::Display for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0.as_ref(), |_| false)
    }
}

impl<T: AsRef<str>> fmt::Debug for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, |c| matches!(c, '\n' | '\t'))
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str, plain: fn(char) -> bool) -> fmt::Result {
    for c in text.chars() {
        match (c.is_control() || is_invisible(c)) && !plain(c) {
            true => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            false => f.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Colours, cursor movements, overrides and hidden characters are shown, not obeyed.
    #[test]
    fn tricks_are_shown() {
        let shown = Untrusted("a\u{1b}[31m\r\n\u{9b}\u{7f}\u{202e}\u{200b}\u{2028}").to_string();
        let expected = r"a\u{1b}[31m\u{d}\u{a}\u{9b}\u{7f}\u{202e}\u{200b}\u{2028}";
        assert_eq!(shown, expected);
        assert_eq!(Untrusted("a\n\tb\r").lines().to_string(), "a\n\tb\\u{d}");
    }

    /// Arabic, Devanagari with its vowel signs, Chinese and accents are left as they are.
    #[test]
    fn scripts_stay_readable() {
        for text in ["تنبيه عاجل", "चेतावनी", "緊急警報", "Überfall à Zürich", "e\u{301}"]
        {
            assert_eq!(Untrusted(text).to_string(), text);
        }
    }

    proptest! {
        /// Whatever comes in, only visible characters and blanks go out; visible text is not
        /// changed.
        #[test]
        fn output_is_visible(text in any::<String>()) {
            let shown = Untrusted(&text).to_string();
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_invisible(c)));
            if !text.chars().any(|c| c.is_control() || is_invisible(c)) {
                prop_assert_eq!(shown, text);
            }
        }

        /// Bytes that a terminal acts on never come out, also when they are likely.
        #[test]
        fn control_bytes_never_pass(
            text in concat!("[\\x00-\\x1f\\x7f-\u{9f}\u{200b}-\u{200f}",
                "\u{2028}-\u{202e}\u{2066}-\u{2069}a]{0,40}")
        ) {
            let shown = Untrusted(&text).to_string();
            prop_assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{:?}", shown);
        }
    }
}
