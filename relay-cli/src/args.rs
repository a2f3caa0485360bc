//! What can be typed: verbs, flags, their help. Administration is noun then verb, the desk's
//! verbs stand alone.
//!
//! Enter through [`Cli`]. Nothing is done here; texts of arguments become checked values where a
//! type exists.

mod alarm;
mod approval;
mod attachment;
mod audit;
mod casework;
mod evidence;
mod paper;
mod peer;
mod sending;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use relay_proto::{
    ids::{MessageId, RequestId, ShortId, UnitId},
    limits,
};

pub use self::alarm::AlarmVerb;
pub use self::approval::ApprovalVerb;
pub use self::attachment::{AttachmentVerb, Which};
pub use self::audit::{AuditVerb, SpanArgs};
pub use self::casework::{
    DecisionWord, EndingWord, ExtendArgs, ExtensionWord, MlaArgs, PostArgs, RespondArgs, RiskWord,
    Says, When, With, WithdrawArgs,
};
pub use self::evidence::EvidenceVerb;
pub use self::paper::{PaperArgs, PaperFormat};
pub use self::peer::{PeerVerb, VerifyArgs};
pub use self::sending::{
    Attach, DraftVerb, PreservationArgs, SendArgs, SendVerb, TemplateVerb, WaitFor,
};

/// Command line of the relay.
#[derive(Debug, Parser)]
#[command(
    name = "relay-cli",
    version,
    about = "The relay's desk: what needs you, send, acknowledge, prove.",
    after_help = HELP_MAIN,
    disable_help_subcommand = true,
    infer_long_args = false
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// One JSON document on stdout, with a schema number
    #[arg(long, global = true)]
    pub json: bool,
    /// The same on one line; watch prints one line per record
    #[arg(long, global = true)]
    pub jsonl: bool,
    /// Tables as tab-separated lines, nothing shortened or emphasised
    #[arg(long, global = true)]
    pub plain: bool,
    /// No emphasis (also: NO_COLOR, TERM=dumb)
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Never ask; fail where an answer is needed
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Absolute UTC times only, without "2 h ago"
    #[arg(long, global = true)]
    pub utc: bool,
    /// Unix socket or https URL of the node [env: RELAY_NODE] [default: /run/relay/api.sock]
    #[arg(long, global = true, value_name = "SOCKET-or-URL")]
    pub node: Option<String>,
    /// With a URL: certificates that the node's certificate must lead to (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// With a URL: our client certificate (PEM)
    #[arg(long, global = true, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// With a URL: its private key (PEM)
    #[arg(long, global = true, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Longest wait, as in 500ms, 30s, 5m [default: 30s; with --wait: 60s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// For what content is read, one line; the node records it [env: RELAY_PURPOSE]
    #[arg(long, global = true, value_name = "TEXT", value_parser = purpose)]
    pub purpose: Option<String>,
    /// Only the verdict
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also full ids, digests and reason labels
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Is all well? What needs me?
    #[command(after_help = "Example:\n  relay-cli status\n\nEnds with 1 if anything needs you.")]
    Status,
    /// The same as it changes, on one screen: peers, what is due, what waits to be sent
    #[command(after_help = "Example:\n  relay-cli top\n\nq quits.")]
    Top,
    /// The units that we exchange messages with
    #[command(subcommand, after_help = "Example:\n  relay-cli peer add xb.ncu.relaycard")]
    Peer(PeerVerb),
    /// What an operator must look at: see it, end it
    #[command(subcommand, after_help = "Example:\n  relay-cli alarm list")]
    Alarm(AlarmVerb),
    /// Requests for preservation from first to last: where they stand, whose turn it is
    #[command(subcommand, after_help = "Example:\n  relay-cli case list")]
    Case(CaseVerb),
    /// What is due, from whom, by when and by whose rule
    #[command(after_help = "Example:\n  relay-cli deadlines --of xb.ncu\n\n\
                            Ends with 1 if anything is overdue.")]
    Deadlines(DeadlinesArgs),
    /// Send an alert or a request from a file
    #[command(subcommand, after_help = "Example:\n  relay-cli send alert --file alert.json")]
    Send(SendVerb),
    /// Answer in a case: take it, decide, ask, warn, confirm, close; or answer a question
    #[command(after_help = HELP_RESPOND, override_usage = USAGE_RESPOND)]
    Respond(Box<RespondArgs>),
    /// Withdraw a request of ours, or items of it
    #[command(after_help = "Example:\n  relay-cli withdraw 7F3K-22QD --item 1 \\\n      \
                            --reason obtained-otherwise")]
    Withdraw(WithdrawArgs),
    /// Ask for a later end of preservation
    #[command(after_help = "Example:\n  relay-cli extend 7F3K-22QD --until 2027-05-22 \\\n      \
                            --reason 'translation takes until April' --mla-status drafted")]
    Extend(ExtendArgs),
    /// Say how far our request for mutual assistance is
    #[command(after_help = "Example:\n  relay-cli mla 7F3K-22QD --reference MOJ-92 \\\n      \
                            --status sent --authority 'Ministry of Justice XB'")]
    Mla(MlaArgs),
    /// Message files to fill in, each field explained
    #[command(subcommand, after_help = "Example:\n  relay-cli template show art29 > request.json")]
    Template(TemplateVerb),
    /// Messages that are being written: kept here until they are sent
    #[command(subcommand, after_help = "Example:\n  relay-cli draft submit xb-mailbox")]
    Draft(DraftVerb),
    /// Messages that came and that nobody took yet
    #[command(after_help = "Example:\n  relay-cli inbox --all")]
    Inbox(ListArgs),
    /// Messages on their way from us
    #[command(after_help = "Example:\n  relay-cli outbox")]
    Outbox(ListArgs),
    /// Try a waiting message again now
    #[command(after_help = "Example:\n  relay-cli retry 7F3K-22QD")]
    Retry(RefArgs),
    /// One message: where it stands, its receipts, its content
    #[command(after_help = "Examples:\n  relay-cli show 7F3K-22QD\n  \
                            relay-cli show 7F3K-22QD --format pdf --out request.pdf\n\n\
                            As a paper: preservation requests, in the order of T-CY(2018)11.")]
    Show(ShowArgs),
    /// The files that go with a message: see them, fetch one
    #[command(
        subcommand,
        after_help = "Example:\n  relay-cli attachment get 7F3K-22QD 1 --out notes.pdf"
    )]
    Attachment(AttachmentVerb),
    /// State that a message was taken: by a named officer, or by a case system
    #[command(after_help = "Examples:\n  relay-cli ack 7F3K-22QD --by 'duty officer Novak'\n  \
                            relay-cli ack 7F3K-22QD --handover --by 'case system 2'")]
    Ack(AckArgs),
    /// What happens, as it happens, one record per line
    #[command(after_help = "Examples:\n  relay-cli watch\n  \
                            relay-cli watch --jsonl --cursor \"$LAST\"")]
    Watch(WatchArgs),
    /// The receipts of a message
    #[command(after_help = "Example:\n  relay-cli receipts 7F3K-22QD")]
    Receipts(RefArgs),
    /// Proof for others: export it, verify it without a node
    #[command(
        subcommand,
        after_help = "Example:\n  relay-cli evidence export 7F3K-22QD --to court"
    )]
    Evidence(EvidenceVerb),
    /// Messages that a second officer has to agree to
    #[command(subcommand, after_help = "Example:\n  relay-cli approval list")]
    Approval(ApprovalVerb),
    /// Who read, sent and changed what at this node
    #[command(subcommand, after_help = "Example:\n  relay-cli audit list")]
    Audit(AuditVerb),
}

/// `deadlines`
#[derive(Debug, Args)]
pub struct DeadlinesArgs {
    /// Only what this unit owes, as in xb.ncu
    #[arg(long, value_name = "UNIT")]
    pub of: Option<UnitId>,
}

/// `case …`
#[derive(Debug, Subcommand)]
pub enum CaseVerb {
    /// Those that are open
    #[command(after_help = "Example:\n  relay-cli case list --all")]
    List {
        /// Also those that ended
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50,
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// One case: its items, its messages, what may be sent now
    #[command(after_help = "Examples:\n  relay-cli case show 7F3K-22QD\n  \
                            relay-cli case show 0192f1a0-0009-4000-8000-000000000009")]
    Show {
        /// Its id, or any message of it
        #[arg(value_name = "CASE")]
        name: String,
    },
}

/// A key for safe repetition, for verbs that change something.
#[derive(Debug, Clone, Args)]
pub struct RepeatArgs {
    /// Of an earlier try, to repeat it safely [default: a new one]
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<RequestId>,
}

/// Lists.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Also those that are settled
    #[arg(long)]
    pub all: bool,
    /// Only of this peer
    #[arg(long, value_name = "UNIT")]
    pub peer: Option<UnitId>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

/// A message.
#[derive(Debug, Args)]
pub struct RefArgs {
    /// Eight characters, as in 7F3K-22QD, or the whole id
    #[arg(value_name = "ID", value_parser = message_ref)]
    pub id: String,
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

/// `show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Eight characters, as in 7F3K-22QD, or the whole id
    #[arg(value_name = "ID", value_parser = message_ref)]
    pub id: String,
    /// Where it stands only; the content is not read
    #[arg(long, conflicts_with = "format")]
    pub no_content: bool,
    #[command(flatten)]
    pub paper: PaperArgs,
}

/// `ack`
#[derive(Debug, Args)]
pub struct AckArgs {
    /// Eight characters, as in 7F3K-22QD, or the whole id
    #[arg(value_name = "ID", value_parser = message_ref)]
    pub id: String,
    /// The officer or desk that takes it; the sender sees this name
    #[arg(long, value_name = "NAME", value_parser = stated,
          required_unless_present = "handover")]
    pub by: Option<String>,
    /// A case system took it, not an officer
    #[arg(long)]
    pub handover: bool,
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

/// `watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Go on after this record [default: from the first one kept]
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// End after so many records
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print what there is and end
    #[arg(long)]
    pub once: bool,
}

/// `500ms`, `30s`, `5m`, `2h`, `1d`; a unit is needed.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || "expected a number and ms, s, m, h or d, as in 30s".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    let total = number.checked_mul(millis).filter(|ms| *ms > 0 && *ms <= TIMEOUT_MAX_MS);
    total.map(Duration::from_millis).ok_or_else(|| "expected between 1ms and 30d".to_owned())
}

/// A name or a reason: one line that says something.
fn stated(text: &str) -> Result<String, String> {
    line(text, limits::ACTOR_CHARS_MAX)
}

/// For what something is read.
fn purpose(text: &str) -> Result<String, String> {
    line(text, limits::PURPOSE_CHARS_MAX)
}

fn line(text: &str, max: usize) -> Result<String, String> {
    let text = text.trim();
    let sound =
        !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control);
    let wanted = format!("expected one line of 1 to {max} characters");
    if sound { Ok(text.to_owned()) } else { Err(wanted) }
}

/// A message id or its eight characters, in the one spelling that the node takes.
fn message_ref(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("messages/").unwrap_or(text);
    if let Ok(id) = bare.parse::<MessageId>() {
        return Ok(id.to_string());
    }
    bare.parse::<ShortId>().map(|id| id.to_string()).map_err(|_| {
        "expected eight characters, as in 7F3K-22QD, or a whole message id (UUID)".to_owned()
    })
}

/// No wait is longer than the longest lifetime of a message.
const TIMEOUT_MAX_MS: u64 = 30 * 86_400_000;

const HELP_MAIN: &str = "\
Examples:
  relay-cli status                          is all well, what needs me
  relay-cli inbox                           what came
  relay-cli ack 7F3K-22QD --by 'Novak'      take a message
  relay-cli send alert --file alert.json    send one
  relay-cli show 7F3K-22QD                  who has it, who took it

Exit codes:
  0 done   1 attention, or no   2 usage   10 node not reachable   11 permission
  12 not found   13 safe, not there yet   14 INVALID   15 faults in the content
  16 conflict   17 peer not verified   130 interrupted";

const USAGE_RESPOND: &str = "relay-cli respond <CASE> <WHAT IS ANSWERED> [OPTIONS]";

const HELP_RESPOND: &str = "\
Examples, of the requested side:
  relay-cli respond 7F3K-22QD --taken --reference XB-77 --next-update 24h
  relay-cli respond 7F3K-22QD --decision accept
  relay-cli respond 7F3K-22QD --decision refuse --item 2 --ground political-offence \\
      --reasons 'the offence stated is one of opinion'
  relay-cli respond 7F3K-22QD --ask 'items[0].source_port=which port?' --due 48h
  relay-cli respond 7F3K-22QD --confirm --preserved-until 2027-02-22 --custodian 'ISP B'
Of the requesting side:
  relay-cli respond 7F3K-22QD --answer 'items[0].source_port=51422'
  relay-cli respond 7F3K-22QD --change --drop 1

A question is no refusal: refusing takes a ground of the closed list (Articles 29(4), 29(5)).
Times: 2027-02-22 (until the end of that day, UTC), 2027-02-22T12:00:00Z, 90d, @-2h.
What is not legal now is refused by the node (15); a case that changed meanwhile, too (16).";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("relay-cli").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Whoever asks for help at any verb sees a command that can be copied.
    #[test]
    fn every_help_shows_an_example() {
        fn check(command: &mut clap::Command, path: &str) {
            let path = format!("{path}{}", command.get_name());
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{path}: no example in\n{help}");
            assert!(help.contains("  relay-cli "), "{path}: no command in the example");
            for verb in command.get_subcommands_mut() {
                check(verb, &format!("{path} "));
            }
        }
        check(&mut Cli::command(), "");
    }

    /// The numbers of the help are those of the map.
    #[test]
    fn the_help_lists_every_exit_code() {
        for exit in crate::exit::Exit::ALL {
            let listed = HELP_MAIN.split_whitespace().any(|word| word == exit.code().to_string());
            assert!(listed, "{exit:?}");
        }
    }

    /// The examples of the help parse as they stand.
    #[test]
    fn examples_can_be_typed() {
        for line in [
            "status --json --node /tmp/relay.sock",
            "peer add xb.ncu.relaycard",
            "peer verify xb.ncu --read",
            "peer verify xb.ncu --by Novak --groups 1,2,5,6,9,10",
            "peer suspend xb.ncu --by Novak --reason lost",
            "alarm list --all --limit 9",
            "alarm clear 4711 --by Novak --reason done",
            "send alert --file a.json --wait delivered --timeout 60s",
            "send preservation --file a.json --dry-run",
            "send preservation --to xb.ncu --interactive",
            "draft save xb-mailbox --file a.json",
            "draft submit xb-mailbox --wait human-ack",
            "ack 7f3k22qd --by Novak",
            "send alert --file a --wait human-ack --timeout 60m",
            "respond 7F3K-22QD --taken --reference Q-1 --next-update 24h",
            "respond 7F3K-22QD --decision accept --item 1,2 --dry-run",
            "respond 7F3K-22QD --decision refuse --ground essential-interests --reasons x \
             --signer A --signer B",
            "respond 7F3K-22QD --ask items[0].source_port=which? --ask custodian=who? --due 48h",
            "respond 7F3K-22QD --risk confidentiality --explanation seen --item 1",
            "respond 7F3K-22QD --confirm --preserved-until 2027-02-22 --custodian ISP",
            "respond 7F3K-22QD --not-found --reference Q-1",
            "respond 7F3K-22QD --extension grant --preserved-until 90d",
            "respond 7F3K-22QD --mla-received MOJ-1 --received-on 2026-08-19",
            "respond 7F3K-22QD --mla-decided executed",
            "respond 7F3K-22QD --close moved --as not-competent --hint xc.ncu --reference Q-1",
            "respond 7F3K-22QD --answer items[0].source_port=51422 --wait delivered",
            "respond 7F3K-22QD --change --drop 1",
            "withdraw 7F3K-22QD --item 1,2 --reason obtained-otherwise",
            "extend 7F3K-22QD --until 2027-05-22 --reason late --mla-status drafted",
            "mla 7F3K-22QD --reference M-1 --status sent --authority MoJ",
            "ack 7F3K-22QD --handover",
            "send alert --file a --attach notes.pdf --attach x=text/csv",
            "attachment list 7F3K-22QD",
            "attachment get 7F3K-22QD 2 --out a --force",
            "show 7F3K-22QD --format html --out a.html",
            "watch --jsonl --cursor abc --count 3",
            "evidence export 7F3K-22QD --to court --payload",
            "evidence verify a.relayev --trust a.relaycard b.relaycard --vkey c.vkey",
            "evidence verify a.relayev --trust a.relaycard --format html",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    /// Nothing is done on a guess: each of these ends with 2.
    #[test]
    fn mistakes_are_usage_errors() {
        for line in [
            "",
            "stat",
            "ack 7F3K-22QD",
            "ack 7F3K --by Novak",
            "show",
            "show ../../etc",
            "show 7F3K-22QD --out a.html",
            "show 7F3K-22QD --format html --no-content",
            "show 7F3K-22QD --format odt",
            "retry 7F3K-22QD --request-id 5",
            "peer verify XB.NCU --read",
            "peer verify xb.ncu --groups 0,13",
            "peer verify xb.ncu --read --fingerprint 1",
            "peer suspend xb.ncu",
            "peer suspend xb.ncu --reason lost",
            "peer suspend xb.ncu --by Novak",
            "alarm clear 4711 --by Novak",
            "alarm clear x --by Novak --reason done",
            "ack 7F3K-22QD --by=",
            "ack 7F3K-22QD --handover --by=",
            "send preservation",
            "send preservation --interactive",
            "send preservation --to xb.ncu --file a",
            "send preservation --to xb.ncu --interactive --file a",
            "send alert --file a --attach x=csv",
            "attachment get 7F3K-22QD 1",
            "attachment get 7F3K-22QD 0 --out a",
            "attachment get 7F3K-22QD ../a --out a",
            "draft save ../x --file a",
            "draft save .x --file a",
            "draft submit X",
            "respond 7F3K-22QD",
            "respond 7F3K-22QD --taken",
            "respond 7F3K-22QD --taken --decision accept --next-update 24h",
            "respond 7F3K-22QD --decision refuse",
            "respond 7F3K-22QD --decision refuse --ground busy --reasons x",
            "respond 7F3K-22QD --decision refuse --ground political-offence",
            "respond 7F3K-22QD --ask what?",
            "respond 7F3K-22QD --risk availability",
            "respond 7F3K-22QD --confirm",
            "respond 7F3K-22QD --confirm --preserved-until soon",
            "respond 7F3K-22QD --extension grant",
            "respond 7F3K-22QD --extension refuse",
            "respond 7F3K-22QD --change",
            "respond 7F3K-22QD --abandon --hint xc.ncu",
            "withdraw 7F3K-22QD",
            "withdraw 7F3K-22QD --reason bored",
            "extend 7F3K-22QD --until 2027-05-22",
            "mla 7F3K-22QD --reference M-1 --status sent",
            "peer verify xb.ncu --by=",
            "send alert --file a --wait read",
            "send alert --file a --dry-run --wait ack",
            "inbox --limit 0",
            "status --timeout 30",
            "status --timeout 0s",
            "status --tls-cert a",
        ] {
            let code = parse(line).map_or_else(|error| error.exit_code(), |_| 0);
            assert_eq!(code, 2, "{line}");
        }
    }

    /// Eight characters are taken as people say and write them; whole ids as they are.
    #[test]
    fn ids_are_brought_to_one_spelling() {
        assert_eq!(message_ref("7f3k-22qd").unwrap(), "7F3K-22QD");
        assert_eq!(message_ref("7F3K22QD").unwrap(), "7F3K-22QD");
        let id = "0193c8a0-1c00-7abc-8def-0123456789ab";
        assert_eq!(message_ref(&format!("messages/{id}")).unwrap(), id);
        assert_eq!(duration("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert!(duration("99999999999999999999s").is_err() && duration("31d").is_err());
    }
}
