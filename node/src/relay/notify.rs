//! The command that is run when a term has run far: for a pager, a mail, a lamp on the desk.
//!
//! What was told and is still due is run for at least once, one at a time; a restart goes on with
//! what is left. The program gets names, labels and times alone, in its environment: nothing that a
//! person wrote. Invariant: a program that fails or hangs holds up nothing but the next run.

use std::{
    collections::VecDeque,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use relay_proto::{
    ids::{CaseId, UnitId},
    reason::Reason,
    timestamp::Timestamp,
};
use tokio::{process::Command, sync::Notify, time::Instant};
use tracing::{info, warn};

use super::{Context, alarms::alarm_once, cases, outbound::sleep};
use crate::store::records::{TermRecord, digest_of, key};

/// What waits for the command.
#[derive(Default)]
pub(crate) struct Notices {
    waiting: Mutex<VecDeque<Waiting>>,
    woken: Notify,
}

#[derive(Debug, Clone)]
struct Waiting {
    term: TermRecord,
    /// Not before.
    at: Instant,
}

impl Notices {
    /// Queues what was told of a term, if it has run far enough and was not run for; what waits for
    /// an earlier stage of the same term gives way.
    pub(super) fn put(&self, ctx: &Context, term: TermRecord) {
        let settings = &ctx.parts.notify;
        let is_far = term.stage().is_some_and(|stage| stage >= settings.from);
        if settings.command.is_empty() || !is_far || term.notified_ms >= term.told_ms {
            return;
        }
        let mut waiting = self.lock();
        waiting.retain(|one| key::term(&one.term) != key::term(&term));
        if waiting.len() >= WAITING_MAX {
            // It is in the store: the next start has it again.
            return warn!("a term is not told by the command now: too many wait");
        }
        waiting.push_back(Waiting { term, at: Instant::now() });
        self.woken.notify_one();
    }

    /// The first whose time has come; else how long to wait, if anything waits.
    fn next(&self) -> Result<TermRecord, Option<Duration>> {
        let mut waiting = self.lock();
        let now = Instant::now();
        match waiting.iter().position(|one| one.at <= now) {
            Some(place) => waiting.remove(place).map(|one| one.term).ok_or(None),
            None => Err(waiting.iter().map(|one| one.at.duration_since(now)).min()),
        }
    }

    /// Behind all others, a while later.
    fn again(&self, term: TermRecord) {
        let mut waiting = self.lock();
        let is_newer = waiting.iter().any(|one| key::term(&one.term) == key::term(&term));
        if !is_newer {
            waiting.push_back(Waiting { term, at: Instant::now() + AGAIN });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the command for all that waits until the node stops.
pub(super) async fn run(ctx: Arc<Context>) {
    let stop = ctx.parts.tasks.stop_token();
    loop {
        let term = match ctx.notices.next() {
            Ok(term) => term,
            Err(wait) => {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = ctx.notices.woken.notified() => {}
                    () = sleep(wait) => {}
                }
                continue;
            }
        };
        if !is_due(&ctx, &term) {
            continue;
        }
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            done = once(&ctx, &term) => done,
        };
        match done {
            Ok(()) => {
                info!(duty = term.duty, peer = term.peer, "command was run for a term");
                if let Err(error) = ctx.parts.store.term_notified(term, ctx.now()).await {
                    warn!(%error, "command was run, not noted: the next start runs it again");
                }
            }
            Err(why) => {
                warn!(why, "command for a term failed, run again in a minute");
                let detail = format!("the command of [notify] fails: {why}");
                if let Err(error) = alarm_once(&ctx, Reason::NotifyFailed, ctx.unit(), detail).await
                {
                    warn!(%error, "alarm could not be kept");
                }
                ctx.notices.again(term);
            }
        }
    }
}

/// Whether what a notice is about is still due: it may have been done while others were told.
fn is_due(ctx: &Context, term: &TermRecord) -> bool {
    let name = CaseId::from_bytes(&term.case_id).ok().zip(term.peer.parse::<UnitId>().ok());
    let held = name.and_then(|(case, peer)| ctx.case(&case, &peer).ok().flatten());
    held.is_some_and(|held| {
        held.obligations.iter().any(|one| {
            let due = one.due.map(Timestamp::as_millis);
            let same = (one.since.as_millis(), due) == (term.since_ms, Some(term.due_ms));
            Some(one.duty) == term.duty() && same
        })
    })
}

/// One run; an error says what happened.
async fn once(ctx: &Context, term: &TermRecord) -> Result<(), String> {
    let Some((program, arguments)) = ctx.parts.notify.command.split_first() else {
        return Ok(());
    };
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(about(ctx, term))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|error| format!("it does not start: {error}"))?;
    match tokio::time::timeout(LONGEST, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            // What it started ends with it.
            let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
            if let Some(Err(error)) = group.map(|group| killpg(group, Signal::SIGKILL)) {
                warn!(%error, "command for a term could not be ended");
            }
            Err(format!("it was not done after {} s", LONGEST.as_secs()))
        }
    }
}

/// What a run is about.
fn about(ctx: &Context, term: &TermRecord) -> Vec<(&'static str, String)> {
    let own = ctx.unit().to_string();
    let peer = term.peer.parse::<UnitId>().ok();
    let snapshot = ctx.parts.directory.snapshot();
    let card = peer.as_ref().and_then(|peer| snapshot.peer(peer)).map(|peer| peer.card.value());
    let digits = |c: &char| c.is_ascii_digit() || *c == '+';
    let phone = card.map(|card| card.phone_24x7.chars().filter(digits).collect::<String>());
    let request = ctx.parts.store.message(&digest_of(&term.digest)).ok().flatten();
    let exercise = request.as_ref().is_some_and(|record| record.exercise);
    let id = request.and_then(|record| record.message_id());
    vec![
        ("RELAY_STAGE", bare(term.stage().map(|it| cases::stage(it).as_str_name()), "TERM_STAGE_")),
        ("RELAY_DUTY", bare(term.duty().map(|it| cases::duty(it).as_str_name()), "DUTY_")),
        ("RELAY_OWED_BY", if term.ours { own.clone() } else { term.peer.clone() }),
        ("RELAY_DUE", term.due().to_string()),
        ("RELAY_RULE", bare(term.rule().map(|it| cases::rule(it).as_str_name()), "TERM_RULE_")),
        ("RELAY_BASIS", term.basis.clone()),
        ("RELAY_EXERCISE", if exercise { "yes" } else { "no" }.to_owned()),
        ("RELAY_UNIT", own),
        ("RELAY_PEER", term.peer.clone()),
        ("RELAY_PEER_PHONE", phone.unwrap_or_default()),
        (
            "RELAY_CASE",
            CaseId::from_bytes(&term.case_id).map(|it| it.to_string()).unwrap_or_default(),
        ),
        ("RELAY_REQUEST", id.map(|id| id.to_string()).unwrap_or_default()),
    ]
}

fn bare(name: Option<&str>, prefix: &str) -> String {
    name.unwrap_or_default().trim_start_matches(prefix).to_owned()
}

/// A pager answers sooner, or not at all.
const LONGEST: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(60);
/// Of a hundred bytes each.
const WAITING_MAX: usize = 10_000;
