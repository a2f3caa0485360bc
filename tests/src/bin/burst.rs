//! A burst of messages while a node is killed: the client's record, the recipient's inbox and the
//! verified receipts must be the same messages, each once.
//!
//! The client repeats what got no answer under the same request id, as every case system should.
//! Exit status 0 only if everything held.
#![forbid(unsafe_code)]

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use relay_proto::{
    card::Card,
    evidence::{self, Outcome, TrustAnchors},
    file::MessageFile,
    ids::Uuid,
    timestamp::Timestamp,
    v1,
};
use relay_tests::{client::Client, forge::Forgery};
use tokio::{sync::mpsc, time::Instant};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the demo needs besides relay-cli.
#[derive(Parser)]
enum Verb {
    /// Send a burst and hold three records against each other
    Run(Arguments),
    /// Forge an evidence bundle
    Forge(ForgeArguments),
}

#[derive(clap::Args)]
struct ForgeArguments {
    /// The bundle
    #[arg(long)]
    bundle: PathBuf,
    /// A bundle of another message
    #[arg(long)]
    other: PathBuf,
    /// What to forge
    #[arg(long)]
    what: Forgery,
    /// Where to write it
    #[arg(long)]
    out: PathBuf,
}

#[derive(clap::Args, Clone)]
struct Arguments {
    /// Socket of the sending node
    #[arg(long)]
    sender: PathBuf,
    /// Socket of the receiving node
    #[arg(long)]
    recipient: PathBuf,
    /// The receiving unit
    #[arg(long)]
    to: String,
    /// Message file to send
    #[arg(long)]
    file: PathBuf,
    /// Messages
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Send SIGKILL to this process …
    #[arg(long)]
    kill_pid: Option<i32>,
    /// … when so many messages are acknowledged
    #[arg(long, default_value_t = 60)]
    kill_at: usize,
    /// Cards of the units whose receipts are to be verified
    #[arg(long, num_args = 1..)]
    trust: Vec<PathBuf>,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 60)]
    within: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Verb::parse() {
        Verb::Run(arguments) => arguments,
        Verb::Forge(arguments) => return end(forge(&arguments)),
    };
    let within = Duration::from_secs(arguments.within);
    let late = || Err(format!("not done within {} s", arguments.within).into());
    end(tokio::time::timeout(within, burst(&arguments)).await.unwrap_or_else(|_| late()))
}

fn end(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("burst: {error}");
            ExitCode::FAILURE
        }
    }
}

fn forge(arguments: &ForgeArguments) -> Result<(), Failure> {
    let bundle = evidence::parse(&std::fs::read(&arguments.bundle)?)?;
    let other = evidence::parse(&std::fs::read(&arguments.other)?)?;
    let forged = arguments.what.apply(bundle, &other);
    std::fs::write(&arguments.out, evidence::to_bytes(&forged))?;
    Ok(())
}

async fn burst(arguments: &Arguments) -> Result<(), Failure> {
    let started = Instant::now();
    let record = send(arguments).await?;
    let distinct: BTreeSet<&String> = record.iter().collect();
    println!("  acknowledged {} messages, {} distinct ids", record.len(), distinct.len());
    if distinct.len() != arguments.count {
        return Err("two acknowledgements name one message".into());
    }
    let verified = verify(arguments, &record).await?;
    println!("  verified ContentConsignment receipts of {verified} messages");
    let inbox = inbox(arguments, &distinct).await?;
    println!("  recipient's inbox holds {inbox} of them, each once");
    if verified != arguments.count || inbox != arguments.count {
        return Err("the three records differ".into());
    }
    println!("  all three records agree after {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Sends all, some at a time; kills at the given count. Returns the ids that were acknowledged.
async fn send(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(&arguments.file)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = Timestamp::from_millis(u64::try_from(now.as_millis())?);
    let mut draft = MessageFile::parse(&text, now).map_err(|faults| format!("{faults}"))?;
    draft.to = vec![arguments.to.clone()];
    let (done, mut acknowledged) = mpsc::channel(arguments.count);
    for lane in 0..LANES {
        let (draft, done) = (draft.clone(), done.clone());
        let client = Client::over(&arguments.sender);
        let numbers = (0..arguments.count).filter(move |n| n % LANES == lane);
        tokio::spawn(async move {
            for _ in numbers {
                let id = send_one(&client, &draft).await;
                if done.send(id).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    let mut record = Vec::with_capacity(arguments.count);
    while let Some(id) = acknowledged.recv().await {
        record.push(id?);
        if record.len() == arguments.kill_at
            && let Some(pid) = arguments.kill_pid
        {
            println!("  {} acknowledged: SIGKILL to process {pid}", record.len());
            kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        }
    }
    Ok(record)
}

/// Sends one message, again and again under one request id until the node answers.
async fn send_one(client: &Client, draft: &v1::Draft) -> Result<String, Failure> {
    let request = v1::SendMessageRequest {
        request_id: Uuid::random(rand::random()).to_string(),
        draft: Some(draft.clone()),
        validate_only: false,
        etag: String::new(),
    };
    loop {
        match client.messages.clone().send_message(request.clone()).await {
            Ok(response) => {
                let message = response.into_inner().message.ok_or("an answer without a message")?;
                return Ok(message.message_id);
            }
            Err(status) if is_away(&status) => tokio::time::sleep(PAUSE).await,
            Err(status) => return Err(status.into()),
        }
    }
}

/// Exports every message's evidence as soon as its consignment is there, and verifies it offline.
async fn verify(arguments: &Arguments, record: &[String]) -> Result<usize, Failure> {
    let mut trust = TrustAnchors::default();
    for card in &arguments.trust {
        trust.add_card(Card::from_file(&std::fs::read(card)?)?)?;
    }
    let client = Client::over(&arguments.sender);
    let mut verified = 0;
    for id in record {
        loop {
            let request = v1::ExportEvidenceRequest {
                name: id.clone(),
                include_payload: false,
                purpose: String::new(),
            };
            let bundle = match client.messages.clone().export_evidence(request).await {
                Ok(response) => response.into_inner().bundle.ok_or("no bundle")?,
                Err(status) if is_away(&status) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(status) => return Err(status.into()),
            };
            let verdict = evidence::verify(&bundle, &trust);
            let consigned = verdict
                .ladder
                .iter()
                .any(|line| line.event == relay_proto::receipt::Event::ContentConsignment);
            if !consigned {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            if verdict.outcome != Outcome::Valid {
                return Err(format!("{id}: {:?} {:?}", verdict.outcome, verdict.problems).into());
            }
            verified += 1;
            break;
        }
    }
    Ok(verified)
}

/// Counts the recorded messages in the recipient's inbox; one that is there twice is an error.
async fn inbox(arguments: &Arguments, record: &BTreeSet<&String>) -> Result<usize, Failure> {
    let client = Client::over(&arguments.recipient);
    let mut found = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListMessagesRequest {
            page_size: 1000,
            page_token,
            filter: "direction = IN".to_owned(),
        };
        let page = client.messages.clone().list_messages(request).await?.into_inner();
        for message in page.messages {
            if record.contains(&message.message_id) && !found.insert(message.message_id.clone()) {
                return Err(format!("{} is in the inbox twice", message.message_id).into());
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(found.len());
        }
        page_token = page.next_page_token;
    }
}

/// Whether a call failed because the node was away: then the answer is unknown and the call is
/// repeated.
fn is_away(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled
    )
}

/// Messages in flight.
const LANES: usize = 4;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
