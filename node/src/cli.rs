//! The command line of `relay-node`: what can be asked of it, and which exit status answers.
//!
//! Enter through [`Arguments::parse`] and [`execute`]. Results go to stdout, all else to stderr.
//! Exit status: 0 done, 1 not done or faults found, 2 wrong usage (nothing was done), 74 the
//! journal could not be made durable.

use std::{
    error::Error,
    fmt::{self, Write as _},
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use relay_proto::{card::TREATIES, ids::UnitId, v1};

use crate::{
    check::check,
    clock::Clock,
    config::{self, ClockSettings, ClockSource, Settings},
    daemon,
    init::{InitOptions, Law, People, init},
    repair, succeed, telemetry,
};

/// The relay daemon: signs, exchanges and receipts alerts and preservation requests.
#[derive(Debug, Parser)]
#[command(name = "relay-node", version, after_help = HELP_MAIN)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the keys, configuration, store and card of a new node
    Init(Box<InitArguments>),
    /// Run a node until SIGTERM
    Run {
        /// The node's relay.toml
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Look at all of a store and put right what can be, while the node does not run
    ///
    /// Makes anew what follows from the journal: index, marks, frames of its files. Names what is
    /// damaged for good, and what helps. Changes no event; keeps what it replaces.
    Repair {
        /// The node's relay.toml
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Change nothing; exit status 1 when there is anything to do
        #[arg(long)]
        dry_run: bool,
    },
    /// The unit's log of receipts, while the node does not run
    #[command(subcommand)]
    Log(LogVerb),
    /// Look at configurations
    #[command(subcommand)]
    Config(ConfigVerb),
}

#[derive(Debug, Subcommand)]
enum LogVerb {
    /// End a log that lost signed leaves and begin the next generation
    ///
    /// Also for a restored store that waits for a peer that stays away: suspending or removing that
    /// peer releases nothing.
    Succeed {
        /// The node's relay.toml
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Why; peers read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who orders it: two different officers, one --by each
        #[arg(long, value_name = "NAME", required = true)]
        by: Vec<String>,
        /// Where the identity key is, if not in keys.dir
        #[arg(long, value_name = "FILE")]
        identity_key: Option<PathBuf>,
        /// Also when nothing shows that the log lost leaves, or a later one is known of
        #[arg(long)]
        anyway: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Report every fault with file, line, key and mend; opens nothing for use, needs no network
    Check {
        /// A relay.toml
        file: PathBuf,
        /// Look at the file and its profiles only, not at the keys, directories and sockets they
        /// name
        #[arg(long)]
        file_only: bool,
        /// Print faults only
        #[arg(long, short)]
        quiet: bool,
    },
}

#[derive(Debug, Args)]
struct InitArguments {
    /// The unit: territory, dot, name, as in xa.cyber-poc
    #[arg(long)]
    unit: UnitId,
    /// The directory to make
    #[arg(long)]
    dir: PathBuf,
    /// Which of the unit's nodes this is
    #[arg(long, default_value = "a")]
    node: String,
    /// UDP address and port for other nodes
    #[arg(long, default_value = "[::]:7443")]
    listen: SocketAddr,
    /// What other nodes may dial; may be repeated; without it this node only dials
    #[arg(long, value_name = "HOST:PORT", value_parser = config::host_and_port)]
    advertise: Vec<String>,
    /// Where the time comes from: the machine's time service, or the operator's word
    #[arg(long, value_enum, default_value_t = ClockArgument::Kernel)]
    clock: ClockArgument,
    /// The unit's name, for the card
    #[arg(long)]
    name: Option<String>,
    /// The telephone that is answered at any hour, as in +1-202-555-0143: on the card, and in every
    /// request
    #[arg(long, value_name = "TEL")]
    phone: String,
    /// The unit's shared mailbox, for the card
    #[arg(long)]
    email: Option<String>,
    /// Language of the unit (BCP 47), for the card
    #[arg(long, default_value = "en")]
    language: String,
    /// Office hours, for the card
    #[arg(long)]
    hours: Option<String>,
    /// Time zone (IANA), for the card; UTC when not given
    #[arg(long)]
    time_zone: Option<String>,
    #[command(flatten)]
    law: LawArguments,
}

/// What other nodes decide by. Nothing is taken for granted that is not stated here.
#[derive(Debug, Args)]
#[command(next_help_heading = "What the card says of the unit's law")]
struct LawArguments {
    /// A treaty that the country is party to: budapest (ETS 185), 2ap (CETS 224), unc (UN); may be
    /// repeated
    #[arg(long = "party", value_name = "TREATY", value_parser = treaty)]
    parties: Vec<v1::Treaty>,
    /// What the country reserved or declared; may be repeated
    #[arg(long = "reserve", value_name = "WHAT")]
    reserved: Vec<ReserveArgument>,
    /// For how long its law has data preserved: days at the least, as a rule, at the most, as in
    /// 60,90,180
    #[arg(long, value_name = "MIN,USUAL,MAX", value_parser = preservation_days)]
    preservation_days: Option<v1::PreservationDays>,
    /// The unit takes nothing above it
    #[arg(long, value_enum, value_name = "CLASS", default_value_t = ClassArgument::Bpl)]
    max_classification: ClassArgument,
    /// Drills may be sent to it; units of demos and tests (xa to xz) take them anyway
    #[arg(long)]
    takes_exercises: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReserveArgument {
    /// Preservation may be refused for want of dual criminality, outside of Articles 2 to 11
    /// (Article 29(4) of the Convention)
    #[value(name = "art29-4")]
    DualCriminality,
    /// Subscriber information alone in an emergency (Article 9 of the Second Additional Protocol)
    #[value(name = "art9-subscriber-only")]
    SubscriberOnly,
    /// A request by another channel has to follow in an emergency (the same article)
    #[value(name = "art9-followup")]
    FollowUp,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ClassArgument {
    Unclassified,
    Bpl,
}

impl From<LawArguments> for Law {
    fn from(arguments: LawArguments) -> Self {
        let reserved = |what| arguments.reserved.contains(&what);
        Self {
            reservations: v1::Reservations {
                art29_4: reserved(ReserveArgument::DualCriminality),
                art9_subscriber_only: reserved(ReserveArgument::SubscriberOnly),
                followup_required: reserved(ReserveArgument::FollowUp),
            },
            parties: arguments.parties,
            preservation_days: arguments.preservation_days,
            classification_max: match arguments.max_classification {
                ClassArgument::Unclassified => v1::Classification::Unclassified,
                ClassArgument::Bpl => v1::Classification::Bpl,
            },
            takes_exercises: arguments.takes_exercises,
        }
    }
}

fn treaty(text: &str) -> Result<v1::Treaty, String> {
    let found = TREATIES.iter().find(|(_, name)| *name == text);
    found.map(|(treaty, _)| *treaty).ok_or_else(|| "expected budapest, 2ap or unc".to_owned())
}

fn preservation_days(text: &str) -> Result<v1::PreservationDays, String> {
    let days: Option<Vec<u32>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match days.as_deref() {
        Some([min, usual, max]) => Ok(v1::PreservationDays { min: *min, usual: *usual, max: *max }),
        _ => Err("expected three numbers of days, as in 60,90,180".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ClockArgument {
    Kernel,
    Assumed,
}

/// Does what the arguments ask; gives the exit status.
pub fn execute(arguments: Arguments) -> u8 {
    match arguments.verb {
        Verb::Init(arguments) => make(*arguments),
        Verb::Run { config } => run(&config),
        Verb::Repair { config, dry_run } => mend(&config, dry_run),
        Verb::Log(LogVerb::Succeed { config, reason, by, identity_key, anyway }) => {
            end_log(&config, &succeed::Order { reason, by, identity: identity_key, anyway })
        }
        Verb::Config(ConfigVerb::Check { file, file_only, quiet }) => {
            let report = if file_only { config::inspect(&file).report() } else { check(&file) };
            if !quiet || !report.faults.is_empty() {
                print(&report);
            }
            u8::from(!report.is_ok())
        }
    }
}

fn make(arguments: InitArguments) -> u8 {
    let clock = match arguments.clock {
        ClockArgument::Kernel => ClockSource::Kernel,
        ClockArgument::Assumed => ClockSource::Assumed,
    };
    let options = InitOptions {
        unit: arguments.unit,
        node: arguments.node,
        dir: arguments.dir,
        listen: arguments.listen,
        advertise: arguments.advertise,
        clock,
        people: People {
            name: arguments.name,
            phone: arguments.phone,
            email: arguments.email,
            language: arguments.language,
            hours: arguments.hours,
            time_zone: arguments.time_zone,
        },
        law: arguments.law.into(),
    };
    let now = Clock::new(&ClockSettings { source: clock, ..ClockSettings::default() }).now();
    match init(&options, now, &daemon::create_store) {
        Ok(made) => {
            print(&made);
            0
        }
        Err(error) => {
            complain(&error);
            1
        }
    }
}

fn run(file: &std::path::Path) -> u8 {
    let Some(settings) = settings(file) else { return 1 };
    if let Err(error) = telemetry::start_logs(&settings.log) {
        complain(&error);
        return 1;
    }
    match daemon::run(settings) {
        Ok(()) => 0,
        Err(error) => {
            complain(&error);
            let _ = writeln!(io::stderr(), "  reason: {}", error.label());
            let try_this = match error.mend() {
                Some(mend) => mend.to_owned(),
                None => format!("relay-node config check {}", file.display()),
            };
            let _ = writeln!(io::stderr(), "  try:  {}", config::escaped(&try_this));
            error.exit_code()
        }
    }
}

fn mend(config: &std::path::Path, dry_run: bool) -> u8 {
    let Some(settings) = settings(config) else { return 1 };
    match repair::repair(&settings, dry_run) {
        Ok(report) => {
            print(&report);
            u8::from(!report.is_sound())
        }
        Err(error) => {
            complain(&error);
            1
        }
    }
}

fn end_log(config: &std::path::Path, order: &succeed::Order) -> u8 {
    let Some(settings) = settings(config) else { return 1 };
    let now = Clock::new(&settings.clock).now();
    match succeed::succeed(&settings, order, now) {
        Ok(done) => {
            print(&done);
            0
        }
        Err(error) => {
            complain(&error);
            1
        }
    }
}

/// The settings to run by; what is wrong with them is told.
fn settings(file: &std::path::Path) -> Option<Settings> {
    let told = |report| {
        // A closed stderr must not turn a refusal into something else.
        let _ = writeln!(io::stderr(), "{report}");
    };
    config::load(file).map_err(told).ok()
}

/// A reader of stdout who went away has seen enough.
fn print(result: &dyn fmt::Display) {
    let _ = writeln!(io::stdout(), "{result}");
}

/// An error with its causes on one line.
fn complain(error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(error) = cause else { break };
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    let _ = writeln!(io::stderr(), "relay-node: {}", config::escaped(&text));
}

const HELP_MAIN: &str = "A backup in place of the store (README.md, \"Backups\"):
  1. the node is stopped, and the store that is given up is never started again
  2. put the copy into an empty `node.dir`; leave `node.anchor_dir` as it is
  3. make an empty file `restored` in `node.dir`, then start the node: it signs nothing before
     every peer that it knew as verified or suspended was heard
  4. if signed receipts are lost, or a peer stays away: relay-node log succeed

Exit codes:
  0 done   1 not done, or faults found   2 usage   74 the disk failed: look before starting again";

/// Longest chain of causes that is told.
const CAUSES_MAX: usize = 8;
