//! What every verb has at hand: flags, printer, time, the node, and how far it has got when it is
//! interrupted.
//!
//! The only place of this package that reads the clock and the environment.

use std::{
    io::IsTerminal as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use relay_proto::{ids::RequestId, reason::Reason, timestamp::Timestamp};

use crate::{
    args::{Global, RepeatArgs, Verb},
    client::Node,
    commands,
    exit::Exit,
    failure::Failure,
    render::Look,
    report::{self, Printer},
    terminal,
    typed::{Command, Typed},
};

/// One run of the program.
#[derive(Debug)]
pub struct Context {
    global: Global,
    printer: Printer,
    typed: Typed,
    /// Written by the verb, read once when it is interrupted.
    stage: Mutex<Stage>,
    /// For what content is read, once somebody was asked.
    purpose: Mutex<Option<String>>,
}

/// How far a verb has got, to tell the truth after Ctrl-C.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was changed.
    Nothing,
    /// The node was asked; its answer is not here, and this command finds out.
    Asked(Command),
    /// This is safe on the node's disk.
    Stored(String),
}

impl Context {
    /// From the flags, the clock and the environment.
    pub fn new(global: Global) -> Self {
        let look = Look {
            now: now(),
            utc: global.utc,
            plain: global.plain,
            quiet: global.quiet,
            verbose: global.verbose,
        };
        let json = global.json || global.jsonl;
        let bold = !json && report::emphasis_wanted(global.no_color, global.plain);
        let printer = Printer { json, jsonl: global.jsonl, look, bold };
        let typed = Typed::of_this_process();
        Self {
            global,
            printer,
            typed,
            stage: Mutex::new(Stage::Nothing),
            purpose: Mutex::default(),
        }
    }

    /// Runs a verb to its end, or until Ctrl-C.
    pub async fn run(&self, verb: Verb) -> Exit {
        let outcome = tokio::select! {
            outcome = commands::run(self, verb) => Some(outcome),
            signal = tokio::signal::ctrl_c() => signal.err().map(|error| {
                Err(Failure::new(Exit::Attention, format!("Cannot wait for Ctrl-C: {error}.")))
            }),
        };
        match outcome {
            Some(Ok(exit)) => exit,
            Some(Err(failure)) if report::is_broken_pipe(&failure) => failure.exit,
            Some(Err(failure)) => self.printer.failure(&failure),
            None => self.printer.failure(&interrupted(&self.reached())),
        }
    }

    /// The flags of every verb.
    pub fn global(&self) -> &Global {
        &self.global
    }

    /// Where results go.
    pub fn printer(&self) -> &Printer {
        &self.printer
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        now()
    }

    /// Connects to the node.
    pub async fn node(&self) -> Result<Node, Failure> {
        let environment = std::env::var("RELAY_NODE").ok().filter(|text| !text.is_empty());
        Node::connect(&self.global, environment).await.map_err(|failure| match failure.safe {
            None => failure.safe("nothing was sent or changed"),
            Some(_) => failure,
        })
    }

    /// For what content is read: `--purpose`, or what the environment says for all calls.
    pub fn purpose(&self) -> String {
        let typed = self.purpose.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stated = typed.or_else(|| self.global.purpose.clone());
        stated.or_else(|| std::env::var("RELAY_PURPOSE").ok()).unwrap_or_default()
    }

    /// Another purpose after a node asked for one: what a person types. Any other failure stays.
    pub async fn other_purpose(&self, failure: Failure, before: &str) -> Result<String, Failure> {
        let asked_for = failure.reason.as_deref() == Some(Reason::PurposeMissing.label());
        let flag = "--purpose TEXT, or RELAY_PURPOSE: for what the content is read";
        if !asked_for || !before.is_empty() {
            return Err(failure);
        }
        if self.may_ask(flag).is_err() {
            return Err(failure.safe("nothing was read").with_remedy(flag));
        }
        let typed = terminal::ask("For what do you read this? The node records it: ").await?;
        match typed.is_empty() {
            true => Err(failure.safe("nothing was read").with_remedy(flag)),
            false => {
                let mut purpose = self.purpose.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(purpose.insert(typed).clone())
            }
        }
    }

    /// Who runs this program, where nobody said so with `--by`.
    pub fn account(&self) -> String {
        std::env::var("USER").unwrap_or_default()
    }

    /// Where this account keeps what is not sent yet (XDG Base Directory Specification).
    pub fn state_folder(&self) -> Option<PathBuf> {
        let absolute = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let state = absolute("XDG_STATE_HOME");
        let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        state.map(|state| state.join("relay-cli"))
    }

    /// The program with which this account edits files.
    pub fn editor(&self) -> Option<String> {
        let named = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
        named("VISUAL").or_else(|| named("EDITOR"))
    }

    /// The key of this call: the given one, or a new one, which says when it was made.
    pub fn request_id(&self, repeat: &RepeatArgs) -> RequestId {
        repeat.request_id.unwrap_or_else(|| RequestId::dated(now(), rand::random()))
    }

    /// The command that repeats this one under its request id.
    pub fn again(&self, id: RequestId) -> Command {
        self.typed.again(id)
    }

    /// The same with flags that were not typed.
    pub fn again_with(&self, id: RequestId, added: &[(&str, String)]) -> Command {
        self.typed.again_with(id, added)
    }

    /// A command that was not typed, at the node of this one.
    pub fn command(&self, words: &[&str]) -> Command {
        let Global { node, tls_ca, tls_cert, tls_key, .. } = &self.global;
        let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        if let Some(node) = node {
            all.extend(["--node".to_owned(), node.clone()]);
        }
        for (flag, path) in [("--tls-ca", tls_ca), ("--tls-cert", tls_cert), ("--tls-key", tls_key)]
        {
            all.extend(path.iter().flat_map(|path| [flag.to_owned(), path.display().to_string()]));
        }
        Command::of(&all)
    }

    /// Notes how far the verb has got.
    pub fn reach(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn reached(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a person reads the answer at a terminal and can be asked.
    pub fn at_terminal(&self) -> bool {
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        terminal && !self.global.no_input && !self.printer.json
    }

    /// Whether a person can be asked; else a failure that says how to do without.
    pub fn may_ask(&self, instead: &str) -> Result<(), Failure> {
        if self.global.no_input || self.printer.json || !std::io::stdin().is_terminal() {
            let what = "This needs an answer typed by a person, and none can be asked for here.";
            return Err(Failure::new(Exit::Usage, what)
                .safe("nothing was changed")
                .with_remedy(instead));
        }
        Ok(())
    }
}

/// The truth after Ctrl-C.
fn interrupted(stage: &Stage) -> Failure {
    let failure = |what: &str| Failure::new(Exit::Interrupted, what);
    match stage {
        Stage::Nothing => failure("Interrupted.").safe("nothing was stored or changed"),
        Stage::Asked(again) => {
            failure("Interrupted before the node answered: it may have done it.")
                .safe("repeating with the same request id does nothing twice, and tells")
                .with_repeat(again.clone())
        }
        Stage::Stored(short) => failure("Interrupted.")
            .safe(format!("{short} is stored and goes on without this program"))
            .with_remedy(format!("relay-cli show {short}")),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ctrl-C ends with 130 and never claims more than is known.
    #[test]
    fn an_interruption_tells_what_was_stored() {
        let id = RequestId::random([7; 16]);
        let nothing = interrupted(&Stage::Nothing);
        let again = Typed::of_this_process().again(id);
        let asked = interrupted(&Stage::Asked(again));
        let stored = interrupted(&Stage::Stored("7F3K-22QD".into()));
        for failure in [&nothing, &asked, &stored] {
            assert_eq!(failure.exit.code(), 130);
        }
        assert!(nothing.safe.is_some_and(|safe| safe.contains("nothing was stored")));
        assert!(asked.what.contains("may have done it"));
        assert!(asked.repeat.is_some_and(|again| again.words().contains(&id.to_string())));
        assert!(stored.safe.is_some_and(|safe| safe.starts_with("7F3K-22QD is stored")));
    }
}
