//! The verb `init`: makes a node's files, all of them or none.
//!
//! Enter through [`init`]. Everything is made in a directory beside the wanted one and moved there
//! at the end, so a crash leaves no half of a node under its name. Invariants: nothing that exists
//! is changed; when this returns well, a power cut loses nothing of it.

use std::{
    error::Error,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use relay_proto::{
    card::{self, CardError},
    ids::{IdError, NodeId, UnitId},
    limits, payload,
    timestamp::Timestamp,
    v1,
};

use crate::{
    config::{self, ClockSource},
    keys::{IDENTITY_FILE, InstanceId, KeyStore, KeyStoreError},
};

mod card_of;
mod files;

/// What the operator asks for.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The unit that the node speaks for.
    pub unit: UnitId,
    /// Which of its nodes this is.
    pub node: String,
    /// The directory to make; it may exist if it is empty.
    pub dir: PathBuf,
    /// UDP address and port for other nodes.
    pub listen: SocketAddr,
    /// What others may dial, `host:port`.
    pub advertise: Vec<String>,
    /// Where the time comes from.
    pub clock: ClockSource,
    /// What the card tells people.
    pub people: People,
    /// What it tells of the unit's law.
    pub law: Law,
}

/// What a card says of its unit's law and of what its node takes. What is not stated is not taken
/// for granted; other nodes decide by it what they send.
#[derive(Debug, Clone, Default)]
pub struct Law {
    /// Treaties that its country is party to, in any order.
    pub parties: Vec<v1::Treaty>,
    /// What its country reserved or declared.
    pub reservations: v1::Reservations,
    /// For how long its law has data preserved.
    pub preservation_days: Option<v1::PreservationDays>,
    /// It takes nothing above it; unspecified: BPL.
    pub classification_max: v1::Classification,
    /// Drills may be sent to it.
    pub takes_exercises: bool,
}

/// What a card tells people, not machines.
#[derive(Debug, Clone)]
pub struct People {
    /// The unit's name in `language`; its id when not given.
    pub name: Option<String>,
    /// The telephone that is answered at any hour: without one nobody may trust the card, and no
    /// message can be completed.
    pub phone: String,
    /// The shared mailbox.
    pub email: Option<String>,
    /// BCP 47.
    pub language: String,
    /// Office hours.
    pub hours: Option<String>,
    /// Name of the IANA time zone database.
    pub time_zone: Option<String>,
}

/// Makes an empty store, dated by the last argument, in a directory that exists and is empty.
pub type CreateStore<'a> =
    &'a dyn Fn(&Path, &NodeId, InstanceId, Timestamp) -> Result<(), Box<dyn Error + Send + Sync>>;

/// Makes a node's directory.
pub fn init(
    options: &InitOptions,
    now: Timestamp,
    create_store: CreateStore<'_>,
) -> Result<Made, InitError> {
    let node = NodeId::new(options.unit.clone(), &options.node)?;
    check_texts(&options.people)?;
    check_free(&options.dir)?;
    let made = Made { dir: options.dir.clone(), node };
    if config::socket_bytes(&made.socket()) > config::SOCKET_BYTES_MAX {
        return Err(InitError::TooLong(made.socket()));
    }
    let staging = files::Staging::beside(&options.dir)?;
    fill(&staging, options, &made, now, create_store)?;
    staging.publish(&options.dir)?;
    Ok(made)
}

fn fill(
    staging: &files::Staging,
    options: &InitOptions,
    made: &Made,
    now: Timestamp,
    create_store: CreateStore<'_>,
) -> Result<(), InitError> {
    let dir = staging.path();
    let (keys, identity) = KeyStore::create(&dir.join(KEYS))?;
    let card = card_of::sign(options, &made.node, &keys, &identity, now);
    // What is written is what a peer will read: a card that cannot be opened must not leave.
    card::Card::open(&card)?;
    files::write(&dir.join(made.card_name()), &card::Card::to_file(&card))?;
    files::make_dir(&dir.join(PROFILES), 0o755)?;
    files::write(&dir.join(PROFILES).join(PROFILE_NAME), PROFILE.as_bytes())?;
    files::sync_dir(&dir.join(PROFILES))?;
    files::write(&dir.join(CONFIG), configuration(options, &made.node).as_bytes())?;
    files::make_dir(&dir.join(DATA), 0o700)?;
    files::make_dir(&dir.join(ANCHOR), 0o700)?;
    create_store(&dir.join(DATA), &made.node, keys.instance(), now).map_err(InitError::Store)?;
    files::sync_dir(&dir.join(DATA))?;
    files::sync_dir(dir)
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    dir: PathBuf,
    node: NodeId,
}

impl Made {
    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// The card.
    pub fn card(&self) -> PathBuf {
        self.dir.join(self.card_name())
    }

    /// The identity key, until it is taken offline.
    pub fn identity_key(&self) -> PathBuf {
        self.dir.join(KEYS).join(IDENTITY_FILE)
    }

    fn socket(&self) -> PathBuf {
        self.dir.join(SOCKET)
    }

    fn card_name(&self) -> String {
        format!("{}.relaycard", self.node.unit().as_str())
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dir, config, identity) = (&self.dir, self.config(), self.identity_key());
        writeln!(f, "Made node {} in {}", self.node, dir.display())?;
        writeln!(f, "  keys           {}  (mode 0700)", dir.join(KEYS).display())?;
        writeln!(f, "  store          {}  (mode 0700)", dir.join(DATA).display())?;
        writeln!(f, "  anchor         {}  (in no backup)", dir.join(ANCHOR).display())?;
        writeln!(f, "  configuration  {}", config.display())?;
        writeln!(f, "  card           {}  (public, may be mailed)", self.card().display())?;
        writeln!(f)?;
        writeln!(f, "Take {} offline: two copies on two media", identity.display())?;
        writeln!(
            f,
            "that are kept apart, then remove it here. The node runs without it; whoever has it"
        )?;
        writeln!(f, "can speak for your unit.")?;
        writeln!(f)?;
        writeln!(f, "Next: relay-node run --config {}", config.display())?;
        let socket = self.socket();
        write!(f, "      relay-cli peer add THEIR.relaycard --node {}", socket.display())
    }
}

/// Why no node was made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is a node.
    #[error(
        "`{}` holds a node already, and nothing was changed: choose another directory",
        .0.display()
    )]
    NodeExists(PathBuf),
    /// There is something else.
    #[error(
        "`{}` is not an empty directory, and nothing was changed: choose another one",
        .0.display()
    )]
    NotEmpty(PathBuf),
    /// No name for a directory.
    #[error("`{}` does not name a directory to make: give one by its name", .0.display())]
    NoName(PathBuf),
    /// An earlier attempt was cut off.
    #[error(
        "an earlier init was cut off and left `{}`: its keys were never used, remove it and repeat",
        .0.display()
    )]
    CutOff(PathBuf),
    /// The path of the socket would not fit the system's limit.
    #[error(
        "`{}` is longer than the 107 bytes of a socket's path: choose a shorter --dir",
        .0.display()
    )]
    TooLong(PathBuf),
    /// The node's name is not well-formed.
    #[error(transparent)]
    Name(#[from] IdError),
    /// A text for the card cannot stand on it.
    #[error("--{flag} {why}")]
    Text {
        /// Of which flag.
        flag: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The card that was made cannot be read back.
    #[error("the card cannot be made")]
    Card(#[from] CardError),
    /// Keys were not made.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The store was not made.
    #[error("the store cannot be made")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    /// The system refused.
    #[error("cannot {verb} `{}`", .path.display())]
    Io {
        /// Create, write, …
        verb: &'static str,
        /// What.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

fn check_free(dir: &Path) -> Result<(), InitError> {
    // Also a node whose configuration was removed is a node.
    if [CONFIG, KEYS, DATA].iter().any(|name| dir.join(name).symlink_metadata().is_ok()) {
        return Err(InitError::NodeExists(dir.into()));
    }
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(InitError::NotEmpty(dir.into())),
    }
}

fn check_texts(people: &People) -> Result<(), InitError> {
    let text = |flag, why: &str| InitError::Text { flag, why: why.into() };
    config::language(&people.language).map_err(|why| InitError::Text { flag: "language", why })?;
    payload::check_phone(&people.phone).map_err(|why| InitError::Text { flag: "phone", why })?;
    if people.email.as_deref().is_some_and(|email| !payload::is_email(email)) {
        return Err(text("email", "is no address: expected one, as in poc@example.org"));
    }
    let texts = [
        ("phone", Some(&people.phone)),
        ("name", people.name.as_ref()),
        ("email", people.email.as_ref()),
        ("hours", people.hours.as_ref()),
        ("time-zone", people.time_zone.as_ref()),
    ];
    for (flag, value) in texts {
        let Some(value) = value else { continue };
        if value.trim().is_empty() {
            return Err(text(flag, "is empty: leave it out or write something"));
        }
        if value.chars().count() > limits::LINE_CHARS_MAX {
            return Err(text(flag, "is longer than 500 characters"));
        }
        if !value.chars().all(config::is_printable) {
            return Err(text(flag, "has characters that cannot be printed"));
        }
    }
    let zone = people.time_zone.as_deref();
    match zone.is_none_or(|zone| is_time_zone(zone, Path::new(ZONES))) {
        true => Ok(()),
        false => {
            let why = "is not in this machine's time zone database: as in Europe/Prague";
            Err(text("time-zone", why))
        }
    }
}

/// Whether the database has the zone; any name of that form where there is no database.
fn is_time_zone(name: &str, zones: &Path) -> bool {
    let is_part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
        !part.is_empty() && part.chars().all(plain)
    };
    name.split('/').all(is_part) && (!zones.is_dir() || zones.join(name).is_file())
}

fn configuration(options: &InitOptions, node: &NodeId) -> String {
    let advertise: Vec<_> = options.advertise.iter().map(|text| format!("\"{text}\"")).collect();
    let clock = match options.clock {
        ClockSource::Kernel => "kernel",
        ClockSource::Assumed => "assumed",
    };
    format!(
        "# Node {node}, made by `relay-node init`. A key that is not here has its default; all\n\
         # keys, their limits and dangers are in the `config/relay.toml` that comes with the\n\
         # software. Relative paths count from this file's directory. After a change:\n\
         # relay-node config check FILE\n\
         \n\
         profiles = [\"{PROFILES}/{PROFILE_NAME}\"]\n\
         \n\
         [node]\nunit = \"{unit}\"\nname = \"{name}\"\ndir = \"{DATA}\"\n\
         # Never in a backup: it shows that the store was set back.\nanchor_dir = \"{ANCHOR}\"\n\
         \n\
         [keys]\ndir = \"{KEYS}\"\ncard = \"{unit}.relaycard\"\n\
         \n\
         [link]\nlisten = \"{listen}\"\nadvertise = [{advertise}]\n\
         \n\
         [api]\nsocket = \"{SOCKET}\"\n\
         \n\
         [clock]\nsource = \"{clock}\"\n",
        unit = node.unit().as_str(),
        name = node.name(),
        listen = options.listen,
        advertise = advertise.join(", "),
    )
}

const CONFIG: &str = "relay.toml";
const KEYS: &str = "keys";
const DATA: &str = "data";
const ANCHOR: &str = "anchor";
const PROFILES: &str = "profiles";
const SOCKET: &str = "api.sock";
const ZONES: &str = "/usr/share/zoneinfo";
const PROFILE_NAME: &str = "budapest-247.toml";
const PROFILE: &str = include_str!("../../config/profiles/budapest-247.toml");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn time_zones_are_those_of_the_database() {
        let zones = tempfile::tempdir().unwrap();
        fs::create_dir(zones.path().join("Europe")).unwrap();
        fs::write(zones.path().join("Europe/Prague"), "").unwrap();
        let known = |name| is_time_zone(name, zones.path());
        assert!(known("Europe/Prague"));
        for other in ["Europe", "Mars/Base", "", "Europe/../Europe/Prague", "/etc/passwd", "a b"] {
            assert!(!known(other), "{other}");
        }
        assert!(is_time_zone("Mars/Base", &zones.path().join("none")));
    }
}
