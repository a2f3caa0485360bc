//! Load that waits: many messages handed to a node, whose peer takes them later or now.

use std::time::Duration;

use relay_proto::v1::{self, send_messages_response::Outcome};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::{
    client::Client,
    process::{Process, introduce, request_id},
};

/// Two nodes that run and know each other, below a directory that goes with its value.
pub async fn pair() -> (tempfile::TempDir, Process, Process) {
    let dir = tempfile::tempdir().expect("a directory for the nodes");
    let mut nodes = ["xa.bench", "xb.bench"].map(|unit| Process::init(dir.path(), unit, CONFIG));
    for node in &mut nodes {
        node.start().await;
    }
    introduce(&nodes).await;
    let [one, other] = nodes;
    (dir, one, other)
}

/// Hands in so many messages over one stream; returns their ids once all are durable.
pub async fn submit(client: &Client, draft: &v1::Draft, count: usize) -> Vec<String> {
    let (requests, queued) = mpsc::channel(IN_FLIGHT);
    let draft = draft.clone();
    tokio::spawn(async move {
        for _ in 0..count {
            let (request_id, draft) = (request_id(), Some(draft.clone()));
            let request = v1::SendMessageRequest {
                request_id,
                draft,
                validate_only: false,
                etag: String::new(),
            };
            requests.send(request).await.expect("an open stream");
        }
    });
    let mut client = client.messages.clone();
    let answers = client.send_messages(ReceiverStream::new(queued)).await.expect("a stream");
    let mut answers = answers.into_inner();
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let answer = answers.next().await.expect("as many answers as requests");
        match answer.expect("an answer").outcome {
            Some(Outcome::Sent(sent)) => ids.push(sent.message_id),
            refused => unreachable!("a message was refused: {refused:?}"),
        }
    }
    ids
}

/// What waits at a node, counted page by page: its status counts up to a bound.
pub async fn waiting(client: &Client) -> u64 {
    let (mut count, mut page_token) = (0, String::new());
    loop {
        let filter = "open = yes".to_owned();
        let request = v1::ListMessagesRequest { page_size: 1000, page_token, filter };
        let page = client.messages.clone().list_messages(request).await.expect("a page");
        let page = page.into_inner();
        count += page.messages.len() as u64;
        if page.next_page_token.is_empty() {
            return count;
        }
        page_token = page.next_page_token;
    }
}

/// Waits until nothing does.
pub async fn drained(client: &Client) {
    let started = Instant::now();
    let status = async || client.node.clone().get_status(v1::GetStatusRequest {}).await;
    while status().await.expect("a status").into_inner().outbox_open > 0 {
        assert!(started.elapsed() < DRAIN_MAX, "not drained");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Starts a node and measures how long it is until its API answers.
pub async fn start_timed(node: &mut Process) -> Duration {
    let started = Instant::now();
    node.spawn();
    let client = node.client();
    while client.node.clone().get_card(v1::GetCardRequest {}).await.is_err() {
        assert!(started.elapsed() < START_MAX, "{} does not answer: {}", node.unit, node.log());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    started.elapsed()
}

/// Everything waits here, and nobody takes what arrives.
const CONFIG: &str = "\n[log]\nlevel = \"warn\"\n\n[inbox]\nqueue_messages_max = 1000000\n\
                          queue_bytes_max = \"16GiB\"\n\n[outbox]\nqueue_messages_max = 1000000\n\
                          queue_bytes_max = \"16GiB\"\n";

const IN_FLIGHT: usize = 1024;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const DRAIN_MAX: Duration = Duration::from_secs(3600);
const START_MAX: Duration = Duration::from_secs(300);
