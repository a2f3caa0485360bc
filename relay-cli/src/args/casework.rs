//! What can be typed to make a case go on: `respond` of either side, `withdraw`, `extend` and
//! `mla` of the requesting one.
//!
//! One flag says what is answered, the others say what belongs to it. Words become enumerations of
//! the wire here; whether an answer is legal is the node's to decide.

use clap::{Args, ValueEnum};
use relay_proto::{ids::UnitId, payload, timestamp::Timestamp, v1};

use super::{RepeatArgs, WaitFor, stated};

/// `respond`
#[derive(Debug, Args)]
pub struct RespondArgs {
    /// The case: any message of it, or its id
    #[arg(value_name = "CASE")]
    pub case: String,
    #[command(flatten)]
    pub says: Says,
    #[command(flatten)]
    pub with: With,
    #[command(flatten)]
    pub post: PostArgs,
}

/// What is answered: exactly one.
#[derive(Debug, Default, Args)]
#[group(required = true, multiple = false)]
#[command(next_help_heading = "What is answered, exactly one")]
pub struct Says {
    /// A desk has the request (kind 8); with --reference and --next-update
    #[arg(long)]
    pub taken: bool,
    /// Accept or refuse items (kind 13, Articles 29(3) to (5)); a refusal with --ground, --reasons
    #[arg(long, value_name = "WORD")]
    pub decision: Option<DecisionWord>,
    /// Ask about a field of the request (kind 9); may be repeated
    #[arg(long, value_name = "FIELD=QUESTION", value_parser = pair)]
    pub ask: Vec<(String, String)>,
    /// Warn that preservation may fail or leak (kind 11, Article 29(6)); with --explanation
    #[arg(long, value_name = "WORD")]
    pub risk: Option<RiskWord>,
    /// Items are preserved (kind 14, Article 29(7)); with --preserved-until
    #[arg(long, requires = "preserved_until")]
    pub confirm: bool,
    /// Items were looked for and are not there (kind 14)
    #[arg(long)]
    pub not_found: bool,
    /// Items are held by somebody else (kind 14)
    #[arg(long)]
    pub not_held: bool,
    /// Decide an extension (kind 18); with --preserved-until, or with --reasons
    #[arg(long, value_name = "WORD")]
    pub extension: Option<ExtensionWord>,
    /// The request for mutual assistance came, under this number (kind 20, Article 29(7))
    #[arg(long, value_name = "NUMBER")]
    pub mla_received: Option<String>,
    /// The request for mutual assistance was decided (kind 20)
    #[arg(long, value_name = "WORD")]
    pub mla_decided: Option<OutcomeWord>,
    /// End the case and say why (kind 23)
    #[arg(long, value_name = "TEXT")]
    pub close: Option<String>,
    /// Requesting side: answer a question about a field (kind 10); may be repeated
    #[arg(long, value_name = "FIELD=ANSWER", value_parser = pair)]
    pub answer: Vec<(String, String)>,
    /// Requesting side, after a warning: preserve nevertheless (kind 12)
    #[arg(long)]
    pub proceed: bool,
    /// Requesting side, after a warning: preserve otherwise (kind 12); with --drop
    #[arg(long)]
    pub change: bool,
    /// Requesting side, after a warning: do not preserve (kind 12)
    #[arg(long)]
    pub abandon: bool,
}

/// What belongs to an answer.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What belongs to it")]
pub struct With {
    /// Of these items [default: all that wait for it]
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    pub item: Vec<String>,
    /// Our own number of the case [default: the one that we stated before]
    #[arg(long, value_name = "TEXT", value_parser = stated)]
    pub reference: Option<String>,
    /// --taken: the desk and who is there [default: the unit's name]
    #[arg(long, value_name = "TEXT", value_parser = stated)]
    pub desk: Option<String>,
    /// --taken: by when we say more, as in 24h
    #[arg(long, value_name = "WHEN", value_parser = when, required_if_eq("taken", "true"))]
    pub next_update: Option<When>,
    /// --taken: another desk of our country has it now
    #[arg(long, requires = "taken")]
    pub rerouted: bool,
    /// Refusing: the ground, of the closed list
    #[arg(long, value_name = "WORD", required_if_eq("decision", "refuse"))]
    pub ground: Option<GroundWord>,
    /// Refusing: why (Article 27(7))
    #[arg(long, value_name = "TEXT",
          required_if_eq_any([("decision", "refuse"), ("extension", "refuse")]))]
    pub reasons: Option<String>,
    /// Refusing: what would be possible
    #[arg(long, value_name = "TEXT")]
    pub alternatives: Option<String>,
    /// Who signs; essential interests take two
    #[arg(long, value_name = "NAME", value_parser = stated)]
    pub signer: Vec<String>,
    /// --ask: by when answers are needed
    #[arg(long, value_name = "WHEN", value_parser = when, default_value = "48h")]
    pub due: When,
    /// --risk: what may happen
    #[arg(long, value_name = "TEXT", required_if_eq_any([
        ("risk", "availability"), ("risk", "confidentiality"), ("risk", "other")]))]
    pub explanation: Option<String>,
    /// Until when it is preserved: a day, a time, or as in 90d
    #[arg(long, value_name = "WHEN", value_parser = when,
          required_if_eq("extension", "grant"))]
    pub preserved_until: Option<When>,
    /// Since when it is preserved
    #[arg(long, value_name = "WHEN", value_parser = when, default_value = "@now")]
    pub preserved_from: When,
    /// --confirm: who holds it
    #[arg(long, value_name = "TEXT", value_parser = stated)]
    pub custodian: Option<String>,
    /// --confirm: what of it is not whole; says PARTIAL
    #[arg(long, value_name = "TEXT")]
    pub partial: Option<String>,
    /// With mutual assistance: the day it came [default: today, or as stated before]
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub received_on: Option<String>,
    /// With mutual assistance: the authority that has it
    #[arg(long, value_name = "TEXT", value_parser = stated)]
    pub authority: Option<String>,
    /// --close: how it ends [default: what its state allows]; not-competent is never guessed
    #[arg(long = "as", value_name = "WORD", requires = "close")]
    pub ending: Option<EndingWord>,
    /// --close --as not-competent: whom to ask
    #[arg(long, value_name = "UNIT", requires = "ending")]
    pub hint: Option<UnitId>,
    /// --change: without these items
    #[arg(long, value_name = "ID,ID", value_delimiter = ',', required_if_eq("change", "true"))]
    pub drop: Vec<String>,
    /// Of the request that is answered [default: the newest]
    #[arg(long, value_name = "N")]
    pub revision: Option<u32>,
}

/// `withdraw`
#[derive(Debug, Args)]
pub struct WithdrawArgs {
    /// The case: any message of it, or its id
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Only these items [default: the whole request]
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    pub item: Vec<String>,
    /// Why
    #[arg(long, value_name = "WORD")]
    pub reason: WithdrawalWord,
    /// More about it
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    #[command(flatten)]
    pub post: PostArgs,
}

/// `extend`
#[derive(Debug, Args)]
pub struct ExtendArgs {
    /// The case: any message of it, or its id
    #[arg(value_name = "CASE")]
    pub case: String,
    /// Until when the data are needed: a day, a time, or as in 90d from now
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub until: When,
    /// Why it takes longer
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How far the request for mutual assistance is
    #[arg(long, value_name = "WORD", default_value = "intended")]
    pub mla_status: MlaWord,
    /// Only these items [default: all that are preserved]
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    pub item: Vec<String>,
    #[command(flatten)]
    pub post: PostArgs,
}

/// `mla`
#[derive(Debug, Args)]
pub struct MlaArgs {
    /// The case: any message of it, or its id
    #[arg(value_name = "CASE")]
    pub case: String,
    /// The number of the request for mutual assistance
    #[arg(long, value_name = "NUMBER", value_parser = stated)]
    pub reference: String,
    /// How far it is
    #[arg(long, value_name = "WORD")]
    pub status: MlaWord,
    /// The authority that it goes to
    #[arg(long, value_name = "TEXT", value_parser = stated)]
    pub authority: String,
    /// The way that it takes
    #[arg(long, value_name = "TEXT", value_parser = stated, default_value = "central authorities")]
    pub channel: String,
    /// The day that it was or will be sent [default: today]
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub date: Option<String>,
    #[command(flatten)]
    pub post: PostArgs,
}

/// How an answer is sent.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it is sent")]
pub struct PostArgs {
    #[command(flatten)]
    pub repeat: RepeatArgs,
    /// Check everything, store and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Return when it has got so far, or at --timeout
    #[arg(long, value_name = "STATE", conflicts_with = "dry_run")]
    pub wait: Option<WaitFor>,
    /// The case as it was seen (case show --json); refused when it changed since [default: now]
    #[arg(long, value_name = "ETAG")]
    pub etag: Option<String>,
}

/// A time as it was typed: a whole one, an offset from when the request id was made, or a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When(String);

impl Default for When {
    fn default() -> Self {
        Self("@now".to_owned())
    }
}

impl When {
    /// As it is typed.
    pub fn read(text: &str) -> Result<Self, String> {
        when(text)
    }

    /// The instant; of a day its end, for what lasts until then.
    pub fn until(&self, now: Timestamp) -> Timestamp {
        read(&self.0, now, "T23:59:59Z").unwrap_or(now)
    }

    /// The instant; of a day its beginning.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        read(&self.0, now, "T00:00:00Z").unwrap_or(now)
    }
}

/// Checked here, so that what is kept can be read later with any present.
fn when(text: &str) -> Result<When, String> {
    let any = Timestamp::from_millis(1_800_000_000_000);
    match read(text, any, "T00:00:00Z") {
        Some(_) => Ok(When(text.to_owned())),
        None => {
            Err("expected `2027-02-22`, `2027-02-22T12:00:00Z`, `90d`, `@+90d` or `@now`".into())
        }
    }
}

fn read(text: &str, now: Timestamp, of_day: &str) -> Option<Timestamp> {
    if payload::Date::parse(text).is_ok() {
        return format!("{text}{of_day}").parse().ok();
    }
    let offset = text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('-');
    let text = if offset { format!("@+{text}") } else { text.to_owned() };
    relay_proto::file::parse_time(&text, now).ok()
}

fn day(text: &str) -> Result<String, String> {
    payload::Date::parse(text).map(|day| day.as_str().to_owned())
}

/// `items[0].source_port=which port?`
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, said)) if !field.trim().is_empty() && !said.trim().is_empty() => {
            Ok((field.trim().to_owned(), said.trim().to_owned()))
        }
        _ => Err("expected FIELD=TEXT, as in 'items[0].source_port=which port?'".to_owned()),
    }
}

macro_rules! words {
    ($(
        $(#[$doc:meta])* $name:ident as $wire:ident { $($(#[$help:meta])* $word:ident),* $(,)? }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
        pub enum $name {
            $($(#[$help])* $word,)*
        }

        impl From<$name> for v1::$wire {
            fn from(word: $name) -> Self {
                match word {
                    $($name::$word => Self::$word,)*
                }
            }
        }
    )*};
}

words! {
    /// Why a request is refused.
    GroundWord as RefusalGround {
        /// Article 29(4): by reservation, for offences outside of Articles 2 to 11 alone
        DualCriminalityReserved,
        /// Article 29(5)(a)
        PoliticalOffence,
        /// Article 29(5)(b); two officers sign
        EssentialInterests,
        /// The requesting country is no party
        NoTreatyRelation,
        /// Networks of best effort alone
        DomesticLawLimit,
    }
    /// How mutual assistance was decided.
    OutcomeWord as MlaOutcome {
        /// It was given
        Executed,
        /// It was refused
        Refused,
        /// It was taken back
        Withdrawn,
    }
    /// How a case ends.
    EndingWord as FinalState {
        /// No answers came
        Lapsed,
        /// Wrong country, or no party; with --hint where it is known
        NotCompetent,
        /// Preserved until its end
        Expired,
        /// Mutual assistance was decided, the custodian was told
        Released,
        /// What was withdrawn is released
        Withdrawn,
    }
    /// Why a request is withdrawn.
    WithdrawalWord as WithdrawalReason {
        /// Not needed any more
        NotNeeded,
        /// Obtained in another way
        ObtainedOtherwise,
        /// The proceedings ended
        ProceedingsEnded,
        /// After a warning
        Risk,
        /// It was sent in error
        SentInError,
    }
    /// How far a request for mutual assistance is.
    MlaWord as MlaStatus {
        /// It is intended
        Intended,
        /// It is written
        Drafted,
        /// It was sent
        Sent,
        /// It was received
        Received,
    }
}

/// To accept or to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum DecisionWord {
    /// The items are accepted
    Accept,
    /// The items are refused, on a ground of the closed list
    Refuse,
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum RiskWord {
    /// The data may not be there when they are asked for
    Availability,
    /// The suspect may hear of it
    Confidentiality,
    /// The investigation may suffer otherwise
    Other,
}

/// To grant or to refuse an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum ExtensionWord {
    /// Until --preserved-until
    Grant,
    /// The end stays
    Refuse,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A day lasts until its end and begins with its beginning; offsets count from the given
    /// present; anything else is refused before a node is asked.
    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-24T03:12:00Z".parse().unwrap();
        let until = |text: &str| when(text).unwrap().until(now).to_string();
        assert_eq!(until("2027-02-22"), "2027-02-22T23:59:59Z");
        assert_eq!(when("2027-02-22").unwrap().since(now).to_string(), "2027-02-22T00:00:00Z");
        assert_eq!(until("24h"), "2026-11-25T03:12:00Z");
        assert_eq!(until("@+24h"), "2026-11-25T03:12:00Z");
        assert_eq!(until("@-2h"), "2026-11-24T01:12:00Z");
        assert_eq!(until("@now"), now.to_string());
        assert_eq!(until("2027-02-22T12:00:00+02:00"), "2027-02-22T10:00:00Z");
        for bad in ["", "soon", "2027-02-30", "22.2.2027", "24", "h", "-1d", "@"] {
            assert!(when(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn questions_name_their_field() {
        let pair_of = pair("items[0].source_port= which = port? ").unwrap();
        assert_eq!(pair_of, ("items[0].source_port".into(), "which = port?".into()));
        for bad in ["", "x", "=x", "x= "] {
            assert!(pair(bad).is_err(), "{bad}");
        }
    }
}
