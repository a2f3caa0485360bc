//! The command line as it was typed, so that it can be given back to be typed again.
//!
//! Enter through [`Typed`]. Pure but for [`Typed::of_this_process`]; what is printed of it is
//! cleaned where it is printed.

use relay_proto::ids::RequestId;
use serde::{Serialize, Serializer};

/// The words of this run.
#[derive(Debug, Clone)]
pub struct Typed(Vec<String>);

/// A command to paste: its words, quoted for a POSIX shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(Vec<String>);

impl Typed {
    /// What the system says. Bytes that are no text could not be printed either.
    pub fn of_this_process() -> Self {
        Self(std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect())
    }

    /// The same command under this request id, so that it does nothing twice.
    pub fn again(&self, id: RequestId) -> Command {
        self.again_with(id, &[])
    }

    /// The same with flags that were not typed: what was taken from a case as it stood then, so
    /// that the repetition says the same although the case went on.
    pub fn again_with(&self, id: RequestId, added: &[(&str, String)]) -> Command {
        let mut words = Vec::new();
        let mut given = self.0.iter();
        let mut rest = Vec::new();
        while let Some(word) = given.next() {
            if word == "--" {
                rest.push(word.clone());
                rest.extend(given.by_ref().cloned());
            } else if word == FLAG {
                // Its value goes with it.
                given.next();
            } else if !word.starts_with(FLAG_WITH_VALUE) {
                words.push(word.clone());
            }
        }
        for (flag, value) in added {
            words.extend([(*flag).to_owned(), value.clone()]);
        }
        words.extend([FLAG.to_owned(), id.to_string()]);
        words.extend(rest);
        Command(words.iter().map(|word| quoted(word)).collect())
    }
}

impl Command {
    /// A command of this program that was not typed.
    pub fn of(words: &[String]) -> Self {
        let program = std::iter::once("relay-cli").chain(words.iter().map(String::as_str));
        Self(program.map(quoted).collect())
    }

    /// Its words, each whole.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A word as a shell reads it back: plain where it can be, else between single quotes.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

const FLAG: &str = "--request-id";
const FLAG_WITH_VALUE: &str = "--request-id=";

#[cfg(test)]
mod tests {
    use super::*;

    fn again(words: &[&str]) -> String {
        let id = RequestId::random([7; 16]);
        let typed = Typed(words.iter().map(|word| (*word).to_owned()).collect());
        let text = typed.again(id).to_string();
        assert!(text.contains(&id.to_string()));
        text.replace(&id.to_string(), "ID")
    }

    /// One request id, the new one, before what follows `--`; words that a shell would split or
    /// expand stay whole.
    #[test]
    fn a_command_is_given_back_with_its_id() {
        assert_eq!(
            again(&["relay-cli", "send", "alert", "--file", "my alert.json"]),
            "relay-cli send alert --file 'my alert.json' --request-id ID"
        );
        assert_eq!(
            again(&["r", "ack", "--request-id", "OLD", "7F3K-22QD", "--by", "O'Neil $x"]),
            "r ack 7F3K-22QD --by 'O'\\''Neil $x' --request-id ID"
        );
        assert_eq!(again(&["r", "--request-id=OLD", "--", "-x", ""]), "r --request-id ID -- -x ''");
    }
}
