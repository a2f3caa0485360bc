//! From a document to [`Settings`]: every key of `relay.toml`, its limits, and what must hold
//! between keys.
//!
//! Enter through [`settings`]. The defaults are those of `settings.rs`; the file
//! `config/relay.toml` tells people the same, and a test holds the two together.

mod store;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use relay_core::{case::Stage, profile::Profile};
use relay_proto::ids::{NodeId, UnitId};

use super::{
    account::accounts,
    document::Section,
    settings::{
        ApiSettings, ApiTcpSettings, ClockSettings, ClockSource, InboxSettings, KeyExchange,
        KeySettings, LinkSettings, LogFormat, LogLevel, LogSettings, NodeSettings, NotifySettings,
        OutboxSettings, QuotaSettings, RetrySettings, Settings, StopSettings, StoreSettings,
    },
};

/// Everything but the profiles, which are files of their own: their paths come back beside.
pub(super) struct Parts {
    pub(super) node: Option<NodeSettings>,
    pub(super) keys: KeySettings,
    pub(super) link: LinkSettings,
    pub(super) api: ApiSettings,
    pub(super) clock: ClockSettings,
    pub(super) store: StoreSettings,
    pub(super) outbox: OutboxSettings,
    pub(super) inbox: InboxSettings,
    pub(super) quota: QuotaSettings,
    pub(super) retry: RetrySettings,
    pub(super) log: LogSettings,
    pub(super) notify: NotifySettings,
    pub(super) stop: StopSettings,
    pub(super) profiles: Vec<PathBuf>,
}

impl Parts {
    /// The settings, once the profiles are read.
    pub(super) fn with(self, profiles: Vec<Arc<Profile>>) -> Option<Settings> {
        let Self { keys, link, api, clock, store, outbox, inbox, quota, retry, log, .. } = self;
        let (node, stop, notify) = (self.node?, self.stop, self.notify);
        Some(Settings {
            node,
            keys,
            link,
            api,
            clock,
            store,
            outbox,
            inbox,
            quota,
            retry,
            profiles,
            log,
            notify,
            stop,
        })
    }
}

/// Reads all sections; `base` is the file's directory, from which relative paths count.
pub(super) fn settings(mut root: Section<'_, '_>, base: &Path) -> Parts {
    let profiles = root
        .list("profiles", PROFILES_MAX, "\"profiles/budapest-247.toml\"", |text| path(text, base))
        .unwrap_or_else(|| vec![base.join(PROFILE_DEFAULT)]);
    if profiles.is_empty() {
        let mend = format!("name one, as in `profiles = [\"{PROFILE_DEFAULT}\"]`");
        root.refuse("profiles", "a node without a profile can send nothing".into(), mend);
    }
    let (node, dir) = node(root.section("node"), base);
    let unit = node.as_ref().map(|node| node.id.unit().clone());
    let parts = Parts {
        node,
        keys: keys(root.section("keys"), base, &dir),
        link: link(root.section("link")),
        api: api(root.section("api"), base),
        clock: clock(root.section("clock"), base, unit.as_ref()),
        store: store::store(root.section("store")),
        outbox: outbox(root.section("outbox")),
        inbox: inbox(root.section("inbox")),
        quota: quota(root.section("quota")),
        retry: retry(root.section("retry")),
        log: log(root.section("log")),
        notify: notify(root.section("notify")),
        stop: stop(root.section("stop")),
        profiles,
    };
    root.finish();
    parts
}

fn node(mut section: Section<'_, '_>, base: &Path) -> (Option<NodeSettings>, PathBuf) {
    let unit = section.mandatory("unit", "\"xa.cyber-poc\"", |text| {
        text.parse::<UnitId>().map_err(|error| error.to_string())
    });
    let unit_or_any = unit.clone().or_else(|| "xx.any".parse().ok());
    let name = section.optional("name", "\"a\"", |text| {
        let unit = unit_or_any.clone().ok_or_else(String::new)?;
        NodeId::new(unit, text).map(|_| text.to_owned()).map_err(|error| error.to_string())
    });
    let dir = section.optional("dir", "\"/var/lib/relay/data\"", |text| path(text, base));
    let dir = dir.unwrap_or_else(|| DATA_DEFAULT.into());
    let anchor_dir =
        section.optional("anchor_dir", "\"/var/lib/relay-anchor\"", |text| path(text, base));
    let anchor_dir = anchor_dir.unwrap_or_else(|| ANCHOR_DEFAULT.into());
    if anchor_dir.starts_with(&dir) {
        let problem = "the anchor lies in `node.dir`, so a restored backup would set it back too";
        section.refuse("anchor_dir", problem.into(), "choose a directory beside `node.dir`".into());
    }
    section.finish();
    let id = unit.and_then(|unit| NodeId::new(unit, name.as_deref().unwrap_or("a")).ok());
    (id.map(|id| NodeSettings { id, dir: dir.clone(), anchor_dir }), dir)
}

fn keys(mut section: Section<'_, '_>, base: &Path, data: &Path) -> KeySettings {
    let dir = section.optional("dir", "\"/var/lib/relay/keys\"", |text| path(text, base));
    let dir = dir.unwrap_or_else(|| KEYS_DEFAULT.into());
    if dir.starts_with(data) {
        let problem = "the keys lie in `node.dir`, so every backup of the store would hold them";
        section.refuse("dir", problem.into(), "choose a directory beside `node.dir`".into());
    }
    let card =
        section.optional("card", "\"/var/lib/relay/unit.relaycard\"", |text| path(text, base));
    let card = card.unwrap_or_else(|| CARD_DEFAULT.into());
    section.finish();
    KeySettings { dir, card }
}

fn link(mut section: Section<'_, '_>) -> LinkSettings {
    let default = LinkSettings::default();
    let s = Duration::from_secs;
    let words = [("prefer", KeyExchange::Prefer), ("require", KeyExchange::Require)];
    let link = LinkSettings {
        listen: section.optional("listen", "\"[::]:7443\"", address).unwrap_or(default.listen),
        advertise: section
            .list("advertise", ADVERTISE_MAX, "\"relay.example.org:7443\"", host_and_port)
            .unwrap_or_default(),
        key_exchange: section.choice("key_exchange", default.key_exchange, &words),
        idle_timeout: section.duration("idle_timeout", default.idle_timeout, s(5)..=s(600)),
        keep_alive: section.duration("keep_alive", default.keep_alive, s(1)..=s(300)),
        handshake_timeout: section.duration(
            "handshake_timeout",
            default.handshake_timeout,
            s(1)..=s(60),
        ),
        hello_timeout: section.duration("hello_timeout", default.hello_timeout, s(1)..=s(60)),
        progress_timeout: section.duration(
            "progress_timeout",
            default.progress_timeout,
            s(5)..=s(600),
        ),
        pad_packets: section.switch("pad_packets", default.pad_packets),
    };
    if link.keep_alive.saturating_mul(3) > link.idle_timeout {
        let problem = "three signs of life must fit into `link.idle_timeout`, or two lost packets \
                       end the session";
        let mend = "choose at most a third of `link.idle_timeout`".to_owned();
        section.refuse("keep_alive", problem.into(), mend);
    }
    section.finish();
    link
}

fn api(mut section: Section<'_, '_>, base: &Path) -> ApiSettings {
    let default = ApiSettings::default();
    let socket = section.optional("socket", "\"/run/relay/api.sock\"", |text| {
        let path = path(text, base)?;
        match socket_bytes(&path) {
            ..=SOCKET_BYTES_MAX => Ok(path),
            len => Err(format!(
                "needs {len} bytes, the system allows {SOCKET_BYTES_MAX} for a socket's path: \
                 choose a shorter one"
            )),
        }
    });
    let socket_mode = section.optional("socket_mode", "\"0660\"", |text| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| text.len() == 4);
        match mode {
            Some(mode) if mode & 0o7 != 0 => Err("lets every user of the machine in".to_owned()),
            Some(mode) if mode & !0o660 == 0 && mode & 0o600 == 0o600 => Ok(mode),
            _ => Err("is not a mode of a socket: 0600 or 0660".to_owned()),
        }
    });
    let tcp = api_tcp(section.section("tcp"), base);
    let accounts = accounts(&section.section("accounts"));
    section.finish();
    ApiSettings {
        socket: socket.unwrap_or(default.socket),
        socket_mode: socket_mode.unwrap_or(default.socket_mode),
        tcp,
        accounts,
    }
}

fn api_tcp(mut section: Section<'_, '_>, base: &Path) -> Option<ApiTcpSettings> {
    if !section.is_present() {
        return None;
    }
    let listen = section.mandatory("listen", "\"127.0.0.1:7444\"", address);
    let mut file = |key, example| section.mandatory(key, example, |text| path(text, base));
    let certificate = file("certificate", "\"api.pem\"");
    let key = file("key", "\"api.key\"");
    let client_ca = file("client_ca", "\"clients.pem\"");
    section.finish();
    Some(ApiTcpSettings {
        listen: listen?,
        certificate: certificate?,
        key: key?,
        client_ca: client_ca?,
    })
}

fn clock(mut section: Section<'_, '_>, base: &Path, unit: Option<&UnitId>) -> ClockSettings {
    let default = ClockSettings::default();
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let words = [("kernel", ClockSource::Kernel), ("assumed", ClockSource::Assumed)];
    let example = "\"/run/systemd/timesync/synchronized\"";
    let clock = ClockSettings {
        source: section.choice("source", default.source, &words),
        assumed_uncertainty: section.duration(
            "assumed_uncertainty",
            default.assumed_uncertainty,
            ms(1)..=s(300),
        ),
        state_files: section
            .list("state_files", STATE_FILES_MAX, example, |text| path(text, base))
            .unwrap_or(default.state_files),
        state_age_max: section.duration("state_age_max", default.state_age_max, s(60)..=s(86_400)),
        state_uncertainty: section.duration(
            "state_uncertainty",
            default.state_uncertainty,
            ms(1)..=s(300),
        ),
        shift_file: section.optional("shift_file", "\"clock.shift\"", |text| path(text, base)),
    };
    if clock.shift_file.is_some()
        && let Some(unit) = unit.filter(|unit| !unit.is_demo())
    {
        let problem = format!(
            "the clock of {unit} would be wrong on purpose: only demo units may, `xa` to `xz`"
        );
        section.refuse("shift_file", problem, "remove the line".to_owned());
    }
    section.finish();
    clock
}

fn outbox(mut section: Section<'_, '_>) -> OutboxSettings {
    let default = OutboxSettings::default();
    let outbox = OutboxSettings {
        queue_messages_max: section.number(
            "queue_messages_max",
            default.queue_messages_max,
            100..=1_000_000,
        ),
        queue_bytes_max: section.size(
            "queue_bytes_max",
            default.queue_bytes_max,
            16 * MIB..=65_536 * MIB,
        ),
        window_messages: section.number("window_messages", default.window_messages, 1..=4096),
        // The least window holds the longest frame; the most is the stream's own credit.
        window_bytes: section.size("window_bytes", default.window_bytes, MIB / 2..=MIB),
    };
    if outbox.window_messages > outbox.queue_messages_max {
        let problem = "is above `outbox.queue_messages_max`: it could never fill";
        section.refuse("window_messages", problem.into(), "lower it or raise the other".into());
    }
    section.finish();
    outbox
}

fn inbox(mut section: Section<'_, '_>) -> InboxSettings {
    let default = InboxSettings::default();
    let inbox = InboxSettings {
        queue_messages_max: section.number(
            "queue_messages_max",
            default.queue_messages_max,
            100..=1_000_000,
        ),
        queue_bytes_max: section.size(
            "queue_bytes_max",
            default.queue_bytes_max,
            16 * MIB..=65_536 * MIB,
        ),
    };
    section.finish();
    inbox
}

fn quota(mut section: Section<'_, '_>) -> QuotaSettings {
    let default = QuotaSettings::default();
    let mut per_hour = |key, default, max| section.number(key, default, 1..=max);
    let quota = QuotaSettings {
        emergency_per_hour: per_hour("emergency_per_hour", default.emergency_per_hour, 100_000),
        urgent_per_hour: per_hour("urgent_per_hour", default.urgent_per_hour, 100_000),
        refusals_per_hour: per_hour("refusals_per_hour", default.refusals_per_hour, 100_000),
        alarms_per_hour: per_hour("alarms_per_hour", default.alarms_per_hour, 10_000),
        notes_per_hour: per_hour("notes_per_hour", default.notes_per_hour, 1_000_000),
    };
    section.finish();
    quota
}

fn retry(mut section: Section<'_, '_>) -> RetrySettings {
    let default = RetrySettings::default();
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let retry = RetrySettings {
        first: section.duration("first", default.first, ms(100)..=s(60)),
        max_emergency: section.duration("max_emergency", default.max_emergency, s(1)..=s(60)),
        max_urgent: section.duration("max_urgent", default.max_urgent, s(1)..=s(600)),
        max_routine: section.duration("max_routine", default.max_routine, s(1)..=s(3600)),
    };
    let ladder = [
        ("max_emergency", "retry.first", retry.first <= retry.max_emergency),
        ("max_urgent", "retry.max_emergency", retry.max_emergency <= retry.max_urgent),
        ("max_routine", "retry.max_urgent", retry.max_urgent <= retry.max_routine),
    ];
    for (key, lower, holds) in ladder {
        if !holds {
            let mend = format!("choose at least the value of `{lower}`");
            section.refuse(key, format!("is shorter than `{lower}`"), mend);
        }
    }
    section.finish();
    retry
}

fn log(mut section: Section<'_, '_>) -> LogSettings {
    let default = LogSettings::default();
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let format = section.choice("format", default.format, &formats);
    let level = section.choice("level", default.level, &levels);
    section.finish();
    LogSettings { format, level }
}

fn notify(mut section: Section<'_, '_>) -> NotifySettings {
    let default = NotifySettings::default();
    let command = section.list("command", ARGUMENTS_MAX, "\"/usr/local/bin/page\"", |text| {
        match text.contains('\0') {
            true => Err("has a NUL in it".to_owned()),
            false => Ok(text.to_owned()),
        }
    });
    let command = command.unwrap_or(default.command);
    if command.first().is_some_and(|program| !program.starts_with('/')) {
        let problem = "the program's path is not absolute, so what runs would hang on the service";
        section.refuse("command", problem.into(), "write its whole path".into());
    }
    let stages = [("half", Stage::Half), ("late", Stage::Late), ("overdue", Stage::Overdue)];
    let from = section.choice("from", default.from, &stages);
    section.finish();
    NotifySettings { command, from }
}

fn stop(mut section: Section<'_, '_>) -> StopSettings {
    let (default, s) = (StopSettings::default(), Duration::from_secs);
    let grace = section.duration("grace", default.grace, s(1)..=s(300));
    section.finish();
    StopSettings { grace }
}

fn path(text: &str, base: &Path) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character in it".into());
    }
    Ok(base.join(text))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "is not an address and a port; a name is not looked up".into())
}

/// What others may dial: a name or an address, and a port.
pub fn host_and_port(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.port() == 0 || address.ip().is_unspecified() {
            return Err("nobody can dial it".into());
        }
        return Ok(text.into());
    }
    let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
    let number = port.parse::<u16>().ok().filter(|number| *number != 0 && !port.starts_with('+'));
    number.ok_or("has no port from 1 to 65535")?;
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err("is not a host name (letters, digits, hyphens, dots)".into());
    }
    Ok(text.into())
}

const MIB: u64 = 1 << 20;

const PROFILE_DEFAULT: &str = "profiles/budapest-247.toml";
const DATA_DEFAULT: &str = "/var/lib/relay/data";
const ANCHOR_DEFAULT: &str = "/var/lib/relay-anchor";
const KEYS_DEFAULT: &str = "/var/lib/relay/keys";
const CARD_DEFAULT: &str = "/var/lib/relay/unit.relaycard";

/// A program and what it is told once for all.
const ARGUMENTS_MAX: usize = 32;

/// A unit takes part in a handful of networks.
const PROFILES_MAX: usize = 16;

/// A node has a few addresses: two families, two providers.
const ADVERTISE_MAX: usize = 8;

const STATE_FILES_MAX: usize = 8;

/// `sun_path` of unix(7) holds 108 bytes with the closing zero.
pub const SOCKET_BYTES_MAX: usize = 107;

/// The bytes that a socket's path needs: the node makes it in a directory `.PID` beside, where its
/// path may be longer.
pub fn socket_bytes(path: &Path) -> usize {
    let beside = path.parent().map_or(0, |dir| dir.as_os_str().len());
    path.as_os_str().len().max(beside.saturating_add("/.4194304/s".len()))
}
