//! Log records: one a line, JSON or text, with nothing in them that a terminal would obey.
//!
//! Enter through [`start_logs`]. The formatters of `tracing-subscriber` escape some characters
//! (text: not line ends in fields; JSON: not directions), so every finished record passes
//! [`Escaping`], which escapes the rest.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, SubscriberBuilder},
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::{LogFormat, LogLevel, LogSettings, is_printable};

/// Starts the process's logs on stderr. The environment variable `RELAY_LOG` overrides the level
/// for a search of errors, as in `RELAY_LOG=relay_node::link=debug`.
pub fn start_logs(settings: &LogSettings) -> Result<(), LogError> {
    let filter = match std::env::var(ENVIRONMENT) {
        Ok(directives) => EnvFilter::try_new(&directives)
            .map_err(|error| LogError::Filter { directives, why: error.to_string() })?,
        Err(_) => filter(settings.level),
    };
    let subscriber = subscriber(settings.format, filter, io::stderr);
    subscriber.try_init().map_err(LogError::Twice)?;
    // Below this the index prints whole records, with names and numbers of people in them.
    log::set_max_level(log::max_level().min(INDEX_LEVEL));
    Ok(())
}

/// Why the logs did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The environment variable is not understood.
    #[error(
        "RELAY_LOG=`{}` is not understood ({why}): write it as in `debug` or \
         `relay_node=debug,quinn=info`",
        .directives.escape_debug()
    )]
    Filter {
        /// What it says.
        directives: String,
        /// What is wrong with it.
        why: String,
    },
    /// They were started before in this process.
    #[error("the logs were started twice")]
    Twice(#[source] TryInitError),
}

/// Writes each record as one line that is safe for a terminal.
struct Escaping<W> {
    inner: W,
    format: LogFormat,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Escaping<W> {
    type Writer = EscapingWriter<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        EscapingWriter { inner: self.inner.make_writer(), format: self.format }
    }
}

struct EscapingWriter<W> {
    inner: W,
    format: LogFormat,
}

impl<W: Write> Write for EscapingWriter<W> {
    /// `tracing-subscriber` hands over one finished record a call.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        self.inner.write_all(escaped(body, self.format).as_bytes())?;
        self.inner.write_all(b"\n")?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn escaped(body: &str, format: LogFormat) -> Cow<'_, str> {
    if body.chars().all(is_printable) {
        return Cow::Borrowed(body);
    }
    let mut out = String::with_capacity(body.len().saturating_add(16));
    for character in body.chars() {
        // Writing to a String cannot fail.
        let _ = match format {
            _ if is_printable(character) => out.write_char(character),
            // RFC 8259 section 7: outside the basic plane, the two halves of a UTF-16 pair.
            LogFormat::Json => {
                let mut units = [0; 2];
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .try_for_each(|u| write!(out, "\\u{u:04x}"))
            }
            LogFormat::Text => write!(out, "{}", character.escape_unicode()),
        };
    }
    debug_assert!(out.chars().all(is_printable), "all were escaped");
    Cow::Owned(out)
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let writer = Escaping { inner: writer, format };
    let builder = SubscriberBuilder::default().with_env_filter(filter).with_ansi(false);
    match format {
        LogFormat::Json => Box::new(
            builder.json().flatten_event(true).with_span_list(false).with_writer(writer).finish(),
        ),
        LogFormat::Text => Box::new(builder.with_writer(writer).finish()),
    }
}

/// Our own records from `level` on; of libraries only what an operator may have to act on. What a
/// library of protocols warns of was done by the other side, who could fill the disk with it.
fn filter(level: LogLevel) -> EnvFilter {
    let (ours, libraries, protocols) = match level {
        LogLevel::Error => ("error", "error", "error"),
        LogLevel::Warn => ("warn", "warn", "error"),
        LogLevel::Info => ("info", "warn", "error"),
        LogLevel::Debug => ("debug", "warn", "warn"),
        LogLevel::Trace => ("trace", "info", "info"),
    };
    let mut directives = libraries.to_owned();
    for (names, level) in [(OURS, ours), (PROTOCOLS, protocols)] {
        directives.extend(names.iter().map(|name| format!(",{name}={level}")));
    }
    EnvFilter::new(directives)
}

/// Our own crates.
const OURS: &[&str] = &["relay_node", "relay_core", "relay_proto"];

/// Libraries that read what others send.
const PROTOCOLS: &[&str] =
    &["h2", "hyper", "hyper_util", "quinn", "quinn_proto", "rustls", "tonic"];

const ENVIRONMENT: &str = "RELAY_LOG";

/// The lowest level of libraries that log through `log`; `RELAY_LOG` cannot ask for more.
const INDEX_LEVEL: log::LevelFilter = log::LevelFilter::Info;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel, record: impl Fn()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = subscriber(format, filter(level), move || writer.clone());
        tracing::subscriber::with_default(subscriber, record);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const EVIL: &str = "a\r\nFAKE\u{1b}[2J\u{202e}\u{9b}\u{2028}\u{7f}\u{200b}\u{e0041}\t\"\\z";

    /// Whatever a peer's string holds, by value, by Display, by Debug, in a span or in the message,
    /// one event is one line without a control or a direction in it.
    #[test]
    fn one_event_is_one_safe_line() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let out = logged(format, LogLevel::Info, || {
                let span = tracing::info_span!("session", peer = EVIL, other = %EVIL);
                let _entered = span.enter();
                tracing::info!(plain = EVIL, shown = %EVIL, debug = ?EVIL, "said {EVIL}");
            });
            assert!(out.ends_with('\n'));
            let body = out.trim_end_matches('\n');
            assert!(body.chars().all(is_printable), "{body:?}");
            assert!(body.contains("FAKE") && body.contains('z'), "{body:?}");
        }
    }

    /// JSON stays JSON, and its reader gets the very string back.
    #[test]
    fn json_keeps_the_value() {
        let out = logged(LogFormat::Json, LogLevel::Info, || tracing::info!(peer = EVIL, "heard"));
        let start = out.find("\"peer\":\"").unwrap() + "\"peer\":\"".len();
        let rest = out.get(start..).unwrap();
        assert!(
            rest.starts_with("a\\r\\nFAKE\\u001b[2J\\u202e\\u009b\\u2028\\u007f\\u200b\\udb40")
        );
        assert!(out.contains("\"message\":\"heard\""), "{out}");
    }

    /// Below the level nothing is written; libraries are held shorter than our own rooms.
    #[test]
    fn levels() {
        let record = || {
            tracing::debug!(target: "relay_node::link", "ours");
            tracing::info!(target: "quinn::connection", "theirs");
            tracing::warn!(target: "quinn::connection", "theirs, badly");
        };
        let out = logged(LogFormat::Text, LogLevel::Debug, record);
        assert_eq!(out.lines().count(), 2, "{out}");
        let out = logged(LogFormat::Text, LogLevel::Error, record);
        assert_eq!(out, "");
    }

    /// Each wrong frame of a caller, and each wrong packet of a stranger, is a warning of the
    /// library that read it: none of them is a line. What the machine does to a library is.
    #[test]
    fn what_others_send_writes_no_lines() {
        let record = || {
            tracing::warn!(target: "h2::proto::ping_pong", "an answer that nobody asked for");
            tracing::warn!(target: "quinn_proto::connection", "illegal packet");
            tracing::warn!(target: "rustls::msgs::handshake", "illegal extension");
            tracing::warn!(target: "sled", "the disk is slow");
            tracing::error!(target: "quinn::endpoint", "the socket is gone");
        };
        for level in [LogLevel::Warn, LogLevel::Info] {
            let out = logged(LogFormat::Text, level, record);
            let lines: Vec<_> = out.lines().collect();
            assert_eq!(lines.len(), 2, "{out}");
            assert!(out.contains("slow") && out.contains("gone"), "{out}");
        }
    }
}
