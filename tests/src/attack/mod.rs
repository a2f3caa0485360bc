//! Hostile peers: a client of its own that speaks QUIC, TLS, frames, receipts and HTTP/2 wrongly on
//! purpose, against real nodes that exchange messages all the while.
//!
//! Enter through [`run`]. Each [`Attack`] is one scenario; what it sees itself, and what every
//! attack has to leave alone (latency, memory, health, log, the process), make its row. Invariant:
//! an attack holds only if everything that is demanded of it was measured and held.

mod envelopes;
mod flood;
mod frames;
mod honest;
mod http2;
mod inject;
mod paths;
mod peer;
mod quic;
mod receipts;
mod report;
mod stage;
mod stranger;
mod streams;
mod tcp;
mod tls;
mod watch;

use std::time::Duration;

use clap::ValueEnum;
use tokio::time::Instant;

pub use report::{Outcome, Report, Row};
use stage::Stage;
use watch::{Lines, Seen, Watch};

use crate::bench::Usage;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Handshakes without a certificate
    Unauthenticated,
    /// Another's name under a key that nobody pinned
    WrongKey,
    /// Other application protocols, other versions of QUIC
    Downgrade,
    /// 10,000 first packets a second
    HandshakeFlood,
    /// First packets with bits changed
    MutatedInitials,
    /// Datagrams of noise
    Noise,
    /// A captured session sent again
    ReplayedFlight,
    /// Packets of a session from another address
    Migration,
    /// Connections that never say hello
    Connections,
    /// Sessions that supersede each other
    Sessions,
    /// Too many streams
    Streams,
    /// Half frames that never end
    NeverEnding,
    /// One byte now and then
    Dribble,
    /// Gaps in every stream
    Gaps,
    /// Handshake data behind gaps
    CryptoGaps,
    /// Frames that QUIC forbids
    ForbiddenFrames,
    /// Connection ids that retire all others
    Retirements,
    /// Path challenges without end
    Challenges,
    /// Lengths that promise gigabytes
    GiantLengths,
    /// Bombs in protobuf, second readings
    Bombs,
    /// Good frames in wrong places
    Misplaced,
    /// Greetings that do not fit the key
    FalseHellos,
    /// HTTP/2 rapid reset
    RapidReset,
    /// HTTP/2 MadeYouReset
    MadeYouReset,
    /// HTTP/2 CONTINUATION flood
    Continuation,
    /// HTTP/2 empty DATA
    EmptyData,
    /// HTTP/2 PING and SETTINGS flood
    PingsAndSettings,
    /// HTTP/2 answers to no PING
    PingAnswers,
    /// HTTP/2 headers over the limit
    GiantHeaders,
    /// HTTP/2 calls that come byte by byte
    SlowCalls,
    /// Strangers at the API's TCP port
    TcpStrangers,
    /// Sender, key and session that are not one unit
    Mismatches,
    /// Copies whose parts do not fit
    BrokenCopies,
    /// One id with two contents
    Conflicts,
    /// One message 10,000 times
    Replays,
    /// Receipts that prove nothing
    FalseReceipts,
    /// Two signed histories
    Equivocation,
}

/// How long and how random.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Of each attack.
    pub length: Duration,
    /// Of all chance in the attacks.
    pub seed: u64,
    /// The machine is others' as well: latencies are told, not judged.
    pub shared: bool,
}

/// Runs the attacks, one after the other, on the same nodes; `told` gets each row as it is there.
pub async fn run(attacks: &[Attack], options: Options, told: impl Fn(&Row)) -> Report {
    let stage = Stage::new(options.seed).await;
    let mut rows = Vec::new();
    for attack in attacks {
        let row = suffer(&stage, *attack, options).await;
        told(&row);
        rows.push(row);
    }
    let (seconds, seed) = (options.length.as_secs(), options.seed);
    Report { schema: "relay.attack/1", seconds, seed, rows }
}

/// One attack with a quiet stretch before and after it.
async fn suffer(stage: &Stage, attack: Attack, options: Options) -> Row {
    let node = &stage.attacked;
    let (pid, begun) = (node.pid(), Instant::now());
    tokio::time::sleep(QUIET).await;
    let before = stage.exchange.since(begun);
    let rss_before = Usage::of(pid).rss_bytes;
    let logged = node.log().len();
    let watch = Watch::start(node);
    let beside = stage.bystanders.first().map(Watch::start);
    let begun = Instant::now();
    let mut outcome = attack.run(stage, begun + options.length).await;
    let (during, control) = (stage.exchange.since(begun), stage.control.since(begun));
    let took = begun.elapsed();
    let seen = watch.end().await;
    let mut health_bound = HEALTH_MS;
    if let Some(beside) = beside {
        // As for the latency of exchanges: what the machine does to everybody is no effect.
        health_bound = health_bound.max(2.0 * beside.end().await.health_p99);
    }
    let begun = Instant::now();
    tokio::time::sleep(QUIET).await;
    let after = stage.exchange.since(begun);
    let lines = Lines::after(node, logged);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let rss_mib = [mib(rss_before), mib(seen.rss_peak), mib(Usage::of(pid).rss_bytes)];
    let p99_ms = [before.p99, during.p99, after.p99];
    let answered_per_byte = outcome.pre_auth.map(|(to, back)| back as f64 / to as f64);
    outcome.demand(during.count > 0, "the honest pair exchanged nothing");
    if !options.shared {
        let told =
            format!("health answers in {:.1} ms, {health_bound:.1} allowed", seen.health_p99);
        outcome.demand(seen.health_p99 <= health_bound, told);
        quick(p99_ms, control.p99, &mut outcome);
    }
    unharmed(stage, &seen, &lines, took, &mut outcome).await;
    bounded(attack, rss_mib, answered_per_byte, &mut outcome);
    Row {
        attack: attack.name(),
        sent: outcome.sent,
        answered: outcome.answered,
        p50_ms: [before.p50, during.p50, after.p50],
        p99_ms,
        control_p99_ms: control.p99,
        exchanges: during.count,
        rss_mib,
        health_p99_ms: seen.health_p99,
        answered_per_byte,
        lines_per_source: lines.most(),
        lines: lines.all,
        faults: outcome.faults,
    }
}

/// The node serves, has not ended, not panicked, not filled its log; the honest pair goes on.
async fn unharmed(
    stage: &Stage,
    seen: &Seen,
    lines: &Lines,
    took: Duration,
    outcome: &mut Outcome,
) {
    let alive = std::path::Path::new(&format!("/proc/{}", stage.attacked.pid())).exists();
    outcome.demand(alive, "the node ended");
    outcome.demand(watch::serves(&stage.attacked.client()).await, "the node does not serve");
    outcome.demand(seen.unhealthy == 0, format!("{} health calls failed", seen.unhealthy));
    outcome.faults.extend(stage.exchange.failures());
    outcome.faults.extend(lines.panics.iter().map(|line| format!("panic: {line}")));
    // One when it begins, and one for each full minute after that.
    let minutes = usize::try_from((took + QUIET).as_secs() / 60).unwrap_or(0) + 1;
    let most = lines.most();
    outcome.demand(most <= minutes, format!("{most} log lines about one source"));
    let (of_peers, allowed) = (lines.of_peers(), minutes * LINES_A_MINUTE);
    outcome.demand(of_peers <= allowed, format!("{of_peers} log lines that no stranger caused"));
    let control = stage.control.failures();
    outcome.faults.extend(control.into_iter().map(|fault| format!("control: {fault}")));
}

/// The honest pair's latency is within its bound.
fn quick([before, during, after]: [f64; 3], control: f64, outcome: &mut Outcome) {
    // What the machine does to everybody, the attacker's own work included, is no effect.
    let bound = (2.0 * before.max(after).max(control)).max(P99_FLOOR_MS);
    // Not a number means that nothing was exchanged.
    outcome.demand(during <= bound, format!("honest p99 {during:.1} ms, {bound:.1} allowed"));
}

/// Memory and amplification are within their bounds.
fn bounded(
    attack: Attack,
    [rss_before, rss_peak, _]: [f64; 3],
    answered_per_byte: Option<f64>,
    outcome: &mut Outcome,
) {
    let (grown, allowed) = (rss_peak - rss_before, attack.growth_mib_max());
    outcome.demand(grown <= allowed, format!("memory grew by {grown:.1} MiB, {allowed} allowed"));
    let large = format!("memory of {rss_peak:.1} MiB, {RSS_MIB_MAX} documented");
    outcome.demand(rss_peak <= RSS_MIB_MAX, large);
    if let Some(ratio) = answered_per_byte.filter(|_| attack.is_before_the_address()) {
        outcome.demand(ratio <= 3.0, format!("{ratio:.2} bytes answered a byte"));
    }
}

impl Attack {
    /// As it is asked for.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How much the node's memory may grow, MiB: the table's figure where it has one, else the
    /// windows of one hostile session.
    fn growth_mib_max(self) -> f64 {
        match self {
            Self::HandshakeFlood | Self::MutatedInitials | Self::Noise => 64.0,
            Self::Gaps | Self::CryptoGaps | Self::NeverEnding | Self::Dribble => 16.0,
            _ => 32.0,
        }
    }

    /// Whether no address of it was proven, so that the factor of RFC 9000, 8.1 holds.
    fn is_before_the_address(self) -> bool {
        matches!(
            self,
            Self::HandshakeFlood | Self::MutatedInitials | Self::Noise | Self::ReplayedFlight
        )
    }

    async fn run(self, stage: &Stage, until: Instant) -> Outcome {
        match self {
            Self::Unauthenticated => stranger::unauthenticated(stage, until).await,
            Self::WrongKey => stranger::wrong_key(stage, until).await,
            Self::Downgrade => stranger::downgrade(stage, until).await,
            Self::HandshakeFlood => flood::handshakes(stage, until).await,
            Self::MutatedInitials => flood::mutated(stage, until).await,
            Self::Noise => flood::noise(stage, until).await,
            Self::ReplayedFlight => paths::replayed_flights(stage, until).await,
            Self::Migration => paths::migration(stage, until).await,
            Self::Connections => streams::connections(stage, until).await,
            Self::Sessions => streams::sessions(stage, until).await,
            Self::Streams => streams::streams(stage, until).await,
            Self::NeverEnding => streams::never_ending(stage, until).await,
            Self::Dribble => streams::dribble(stage, until).await,
            Self::Gaps => quic::gaps(stage, until).await,
            Self::CryptoGaps => quic::crypto_gaps(stage, until).await,
            Self::ForbiddenFrames => quic::forbidden(stage, until).await,
            Self::Retirements => quic::retirements(stage, until).await,
            Self::Challenges => quic::challenges(stage, until).await,
            Self::GiantLengths => frames::giant_lengths(stage, until).await,
            Self::Bombs => frames::bombs(stage, until).await,
            Self::Misplaced => frames::misplaced(stage, until).await,
            Self::FalseHellos => frames::false_hellos(stage, until).await,
            Self::RapidReset => http2::rapid_reset(stage, until).await,
            Self::MadeYouReset => http2::made_you_reset(stage, until).await,
            Self::Continuation => http2::continuation(stage, until).await,
            Self::EmptyData => http2::empty_data(stage, until).await,
            Self::PingsAndSettings => http2::pings_and_settings(stage, until).await,
            Self::PingAnswers => http2::ping_answers(stage, until).await,
            Self::GiantHeaders => http2::giant_headers(stage, until).await,
            Self::SlowCalls => http2::slow_calls(stage, until).await,
            Self::TcpStrangers => tcp::strangers(stage, until).await,
            Self::Mismatches => envelopes::mismatches(stage, until).await,
            Self::BrokenCopies => envelopes::broken_copies(stage, until).await,
            Self::Conflicts => envelopes::conflicts(stage, until).await,
            Self::Replays => envelopes::replays(stage, until).await,
            Self::FalseReceipts => receipts::false_receipts(stage, until).await,
            Self::Equivocation => receipts::equivocation(stage, until).await,
        }
    }
}

/// Base 128, least first; protobuf's and HPACK's long lengths.
fn protobuf_varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Before and after each attack.
const QUIET: Duration = Duration::from_secs(4);

/// Below this nobody waits, and the machine's own noise decides.
const P99_FLOOR_MS: f64 = 10.0;

/// What the health service may take.
const HEALTH_MS: f64 = 100.0;

/// The node's memory at full load, as documented.
const RSS_MIB_MAX: f64 = 150.0;

/// Lines that one peer may cause: some of its sessions, some of its refused copies.
const LINES_A_MINUTE: usize = 60;
