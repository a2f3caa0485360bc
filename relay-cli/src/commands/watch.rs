//! `watch`: what happens, one record per line, from a cursor. Goes on by itself when the
//! connection is lost.

use std::time::Duration;

use relay_proto::v1;
use tonic::{Request, Status};

use crate::{
    args::WatchArgs,
    client::Node,
    context::Context,
    exit::Exit,
    failure::{Failure, answer_lost},
    view::EventView,
};

/// Where the watching stands.
struct Watch<'a> {
    context: &'a Context,
    cursor: String,
    left: u64,
}

/// Prints records until `--count`, the end of what there is (`--once`), or Ctrl-C.
pub async fn run(context: &Context, args: WatchArgs) -> Result<Exit, Failure> {
    let left = args.count.unwrap_or(u64::MAX);
    let mut watch = Watch { context, cursor: args.cursor.unwrap_or_default(), left };
    let node = context.node().await?;
    let ended = match args.once {
        true => watch.once(&node).await,
        false => watch.follow(&node).await,
    };
    let cursor = &watch.cursor;
    ended.map(|()| Exit::Done).map_err(|failure| match cursor.is_empty() {
        true => failure,
        false => failure.with_remedy(format!("to go on: relay-cli watch --cursor {cursor}")),
    })
}

impl Watch<'_> {
    /// The polling twin: pages until nothing is new.
    async fn once(&mut self, node: &Node) -> Result<(), Failure> {
        while self.left > 0 {
            let asked = self.cursor.clone();
            let request = v1::ListEventsRequest { cursor: asked.clone(), page_size: PAGE };
            let answer = node.messages().list_events(node.request(request)).await;
            let answer = answer.map_err(|status| node.failure(&status))?.into_inner();
            for event in &answer.events {
                self.print(event)?;
            }
            if answer.events.is_empty() || answer.next_cursor == asked {
                break;
            }
            self.cursor = answer.next_cursor;
        }
        Ok(())
    }

    /// Streams; a lost connection is taken up again from the last record.
    async fn follow(&mut self, node: &Node) -> Result<(), Failure> {
        let (mut wait, mut failed) = (WAIT_MIN, 0);
        while self.left > 0 {
            let before = self.cursor.clone();
            let Err(status) = self.stream(node).await? else {
                return Ok(());
            };
            if !answer_lost(&status) {
                return Err(node.failure(&status));
            }
            if self.cursor != before {
                (wait, failed) = (WAIT_MIN, 0);
            }
            failed += 1;
            if failed > RECONNECTS_MAX {
                return Err(node.failure(&status));
            }
            self.context.printer().say("The connection was lost; going on after the last record.");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
        Ok(())
    }

    /// One stream to its end. The outer error ends the program, the inner one is the connection's.
    async fn stream(&mut self, node: &Node) -> Result<Result<(), Status>, Failure> {
        let request = v1::WatchEventsRequest { cursor: self.cursor.clone() };
        // No deadline: a watch lasts as long as the shift.
        let mut stream = match node.messages().watch_events(Request::new(request)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        while self.left > 0 {
            match stream.message().await {
                Ok(Some(event)) => self.print(&event)?,
                Ok(None) => return Ok(Err(Status::unavailable("the stream ended"))),
                Err(status) => return Ok(Err(status)),
            }
        }
        Ok(Ok(()))
    }

    fn print(&mut self, event: &v1::UnitEvent) -> Result<(), Failure> {
        if self.left == 0 {
            return Ok(());
        }
        self.context.printer().record(&EventView::from(event))?;
        self.cursor = event.cursor.clone();
        self.left -= 1;
        Ok(())
    }
}

/// Events of a page of the polling twin.
const PAGE: i32 = 1000;

/// Waits between reconnects.
const WAIT_MIN: Duration = Duration::from_millis(250);

/// Waits between reconnects, at most.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Reconnects without one record between them: about a minute.
const RECONNECTS_MAX: u32 = 15;
