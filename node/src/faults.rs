//! Faults that a campaign orders of a node of its own: it dies at a named point, a write or a sync
//! fails, a step is left out.
//!
//! They are there only with the feature `faults`, which no released program has; without it every
//! call is nothing. Ordered by `RELAY_FAULTS`: `POINT=ACTION`, or `POINT=ACTION@N` for the Nth time
//! alone, joined by commas. An order that cannot be read, or that its point cannot do, ends the
//! process when it begins.

use std::io;

/// Where something can be made to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A batch of the journal is about to be written.
    Write,
    /// It was written and is not durable.
    Written,
    /// It is about to be made durable.
    Sync,
    /// It is durable and nobody was told.
    Synced,
    /// The write and sync of a batch are waited for.
    Wait,
    /// An arrival is looked up among those that are known.
    Duplicate,
    /// A checkpoint is about to be signed.
    Sign,
    /// It was signed and nobody was told.
    Signed,
    /// A transfer is about to be sent.
    Send,
    /// It was handed to the link.
    Sent,
    /// Receipts of a peer are about to be committed.
    Settle,
    /// They are durable and nobody was told.
    Settled,
}

/// The process dies here, if so ordered.
pub fn at(point: Point) {
    let _ = due(point);
}

/// Whether an I/O step is to be done; an error where it is ordered to fail.
pub fn io(point: Point) -> io::Result<bool> {
    match due(point) {
        Some(Action::Fail) => Err(io::Error::from_raw_os_error(EIO)),
        Some(Action::Skip) => Ok(false),
        _ => Ok(true),
    }
}

/// Whether a step is ordered to be left out here.
pub fn skips(point: Point) -> bool {
    due(point) == Some(Action::Skip)
}

/// The part of a write that reaches the disk before the process dies; all of it, unless ordered. An
/// error where it is ordered to fail.
pub fn part(point: Point, bytes: &[u8]) -> io::Result<&[u8]> {
    match due(point) {
        Some(Action::Fail) => Err(io::Error::from_raw_os_error(EIO)),
        Some(Action::Tear) => Ok(bytes.get(..bytes.len() / 2).unwrap_or_default()),
        _ => Ok(bytes),
    }
}

/// After [`part`]: the process dies now if the write was torn.
pub fn torn(written: &[u8], all: &[u8]) {
    if written.len() < all.len() {
        die();
    }
}

/// Does a step that nobody waits for.
pub fn later(step: impl FnOnce() -> io::Result<()> + Send + 'static) {
    std::thread::spawn(move || {
        std::thread::sleep(LATER);
        let _ = step();
    });
}

/// Reads the orders, before anything is done.
pub fn begin() {
    #[cfg(feature = "faults")]
    orders::read();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "nothing can be ordered"))]
enum Action {
    Kill,
    Tear,
    Fail,
    Skip,
}

#[cfg(not(feature = "faults"))]
const fn due(_: Point) -> Option<Action> {
    None
}

#[cfg(feature = "faults")]
fn due(point: Point) -> Option<Action> {
    let action = orders::next(point);
    if action == Some(Action::Kill) {
        die();
    }
    action
}

/// As a power cut: no destructor runs, nothing is flushed.
fn die() {
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
}

#[cfg(feature = "faults")]
mod orders {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    use super::{Action, Point};

    struct Order {
        point: Point,
        action: Action,
        /// At this time alone; 0: each time.
        nth: u64,
        times: AtomicU64,
    }

    static ORDERS: LazyLock<Vec<Order>> = LazyLock::new(|| {
        let text = std::env::var("RELAY_FAULTS").unwrap_or_default();
        let orders = text.split(',').filter(|order| !order.is_empty()).map(parse);
        orders.collect::<Option<_>>().unwrap_or_else(|| {
            eprintln!("RELAY_FAULTS cannot be read");
            std::process::exit(2)
        })
    });

    /// Reads them, if they were not read.
    pub(super) fn read() {
        LazyLock::force(&ORDERS);
    }

    /// What is to happen at this point this time.
    pub(super) fn next(point: Point) -> Option<Action> {
        let due = |order: &&Order| {
            let time = order.times.fetch_add(1, Ordering::Relaxed) + 1;
            order.nth == 0 || order.nth == time
        };
        ORDERS.iter().filter(|order| order.point == point).find(due).map(|order| order.action)
    }

    fn parse(order: &str) -> Option<Order> {
        let (point, action) = order.split_once('=')?;
        let (action, nth) = action.split_once('@').unwrap_or((action, "0"));
        let action = match action {
            "kill" => Action::Kill,
            "tear" => Action::Tear,
            "fail" => Action::Fail,
            "skip" => Action::Skip,
            _ => return None,
        };
        let (point, nth) = (named(point)?, nth.parse().ok()?);
        can(point, action).then(|| Order { point, action, nth, times: AtomicU64::new(0) })
    }

    /// Whether a point does this: what it does not is no order.
    fn can(point: Point, action: Action) -> bool {
        match action {
            Action::Kill => true,
            Action::Tear => point == Point::Write,
            Action::Fail => matches!(point, Point::Write | Point::Sync),
            Action::Skip => matches!(point, Point::Sync | Point::Wait | Point::Duplicate),
        }
    }

    fn named(point: &str) -> Option<Point> {
        Some(match point {
            "write" => Point::Write,
            "written" => Point::Written,
            "sync" => Point::Sync,
            "synced" => Point::Synced,
            "wait" => Point::Wait,
            "duplicate" => Point::Duplicate,
            "sign" => Point::Sign,
            "signed" => Point::Signed,
            "send" => Point::Send,
            "sent" => Point::Sent,
            "settle" => Point::Settle,
            "settled" => Point::Settled,
            _ => return None,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_order_that_its_point_cannot_do_is_refused() {
            for order in ["sign=kill", "write=tear@3", "sync=fail@9", "wait=skip", "send=kill@1"] {
                assert!(parse(order).is_some(), "{order}");
            }
            for order in
                ["sign=fail", "wait=fail", "send=skip", "sync=tear", "write=skip", "x=kill"]
            {
                assert!(parse(order).is_none(), "{order}");
            }
        }
    }
}

const EIO: i32 = 5;
/// Longer than a client waits for its answer.
const LATER: std::time::Duration = std::time::Duration::from_millis(20);
