//! A node that answers what a test tells it to: the real services over a Unix socket, without a
//! store.
//!
//! Enter through [`Fake::start`]. It records requests; what is not scripted is `UNIMPLEMENTED`.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use relay_proto::v1::{
    self,
    case_service_server::{CaseService, CaseServiceServer},
    message_service_server::{MessageService, MessageServiceServer},
    node_service_server::{NodeService, NodeServiceServer},
    peer_service_server::{PeerService, PeerServiceServer},
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What the node is to answer, and what it was asked.
#[derive(Debug, Default)]
pub struct Script {
    /// Answers to SendMessage, in order; the last one is kept.
    pub send: VecDeque<Result<v1::SendMessageResponse, Status>>,
    /// SendMessage only answers after this.
    pub send_delay: Duration,
    pub sent: Vec<v1::SendMessageRequest>,
    pub status: v1::NodeStatus,
    pub message: Option<v1::Message>,
    /// By id; what is not here is `message`.
    pub messages: HashMap<String, v1::Message>,
    /// Answers to GetCase, in order; the last one is kept.
    pub cases: VecDeque<v1::Case>,
    pub receipts: Vec<v1::ReceiptView>,
    pub lists: Vec<v1::ListMessagesRequest>,
    pub pages: VecDeque<v1::ListMessagesResponse>,
    pub ack: Option<v1::AcknowledgeMessageRequest>,
    /// Streams of WatchEvents, in order, each ending with an error.
    pub streams: VecDeque<(Vec<v1::UnitEvent>, Status)>,
    pub cursors: Vec<String>,
    pub verify: Option<v1::VerifyPeerRequest>,
    pub suspend: Option<v1::SuspendPeerRequest>,
    pub peer: Option<v1::Peer>,
    pub ping: Option<Status>,
}

#[derive(Debug, Clone)]
pub struct Fake {
    pub script: Arc<Mutex<Script>>,
    pub dir: Arc<tempfile::TempDir>,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Fake {
    pub async fn start(script: Script) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), script).await
    }

    /// At the place of an earlier one.
    pub async fn start_in(dir: Arc<tempfile::TempDir>, script: Script) -> Self {
        let fake = Self { script: Arc::new(Mutex::new(script)), dir };
        let listener = UnixListener::bind(fake.socket()).unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(MessageServiceServer::new(fake.clone()))
            .add_service(CaseServiceServer::new(fake.clone()))
            .add_service(PeerServiceServer::new(fake.clone()))
            .add_service(NodeServiceServer::new(fake.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::spawn(server);
        fake
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("relay.sock")
    }

    /// The program, set to ask this node.
    pub fn command(&self, line: &str) -> Command {
        let mut command = program(line);
        command.env("RELAY_NODE", self.socket()).current_dir(self.dir.path());
        command.env("XDG_STATE_HOME", self.dir.path());
        command
    }

    /// Runs the program to its end.
    pub async fn run(&self, line: &str) -> Ended {
        end(self.command(line)).await
    }
}

/// The program without a node.
pub fn program(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay-cli"));
    command.args(line.split_whitespace()).env_remove("RELAY_NODE").stdin(Stdio::null());
    command
}

/// Waits on a thread of its own: the fake node lives on this runtime.
pub async fn end(mut command: Command) -> Ended {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An error as the node gives it.
pub fn refusal(code: Code, reason: &str, message: &str, faults: &[(&str, &str)]) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, "relay.v1", HashMap::new());
    for (field, text) in faults {
        details.add_bad_request_violation(*field, *text);
    }
    Status::with_error_details(code, message, details)
}

fn not_scripted<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not scripted"))
}

type Events = tokio_stream::Iter<std::vec::IntoIter<Result<v1::UnitEvent, Status>>>;
type Bulk = tokio_stream::Empty<Result<v1::SendMessagesResponse, Status>>;

#[tonic::async_trait]
impl MessageService for Fake {
    type SendMessagesStream = Bulk;
    type WatchEventsStream = Events;

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let delay = self.script.lock().unwrap().send_delay;
        let (answer, request) = {
            let mut script = self.script.lock().unwrap();
            let request = request.into_inner();
            script.sent.push(request.clone());
            let answer = match script.send.len() {
                0 | 1 => script.send.front().cloned(),
                _ => script.send.pop_front(),
            };
            (answer, request)
        };
        tokio::time::sleep(delay).await;
        assert!(!request.request_id.is_empty());
        answer.unwrap_or_else(|| Err(Status::unimplemented("not scripted"))).map(Response::new)
    }

    async fn send_messages(
        &self,
        _: Request<Streaming<v1::SendMessageRequest>>,
    ) -> Result<Response<Bulk>, Status> {
        not_scripted()
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::Message>, Status> {
        let script = self.script.lock().unwrap();
        let named = script.messages.get(&request.into_inner().name).cloned();
        let message = named.or_else(|| script.message.clone());
        message
            .map(Response::new)
            .ok_or_else(|| refusal(Code::NotFound, "NOT_FOUND", "no such message", &[]))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let mut script = self.script.lock().unwrap();
        script.lists.push(request.into_inner());
        Ok(Response::new(script.pages.pop_front().unwrap_or_default()))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Events>, Status> {
        let mut script = self.script.lock().unwrap();
        script.cursors.push(request.into_inner().cursor);
        let (events, end) = script
            .streams
            .pop_front()
            .ok_or_else(|| refusal(Code::Internal, "INTERNAL", "no more streams", &[]))?;
        let items: Vec<_> = events.into_iter().map(Ok).chain([Err(end)]).collect();
        Ok(Response::new(tokio_stream::iter(items)))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let mut script = self.script.lock().unwrap();
        let cursor = request.into_inner().cursor;
        script.cursors.push(cursor.clone());
        let events = script.streams.pop_front().map(|(events, _)| events).unwrap_or_default();
        let next_cursor = events.last().map_or(cursor, |event| event.cursor.clone());
        Ok(Response::new(v1::ListEventsResponse { events, next_cursor }))
    }

    async fn acknowledge_message(
        &self,
        request: Request<v1::AcknowledgeMessageRequest>,
    ) -> Result<Response<v1::AcknowledgeMessageResponse>, Status> {
        let mut script = self.script.lock().unwrap();
        let again = script.ack.replace(request.into_inner()).is_some();
        Ok(Response::new(v1::AcknowledgeMessageResponse {
            message: script.message.clone(),
            receipt: script.receipts.first().cloned(),
            already_acknowledged: again,
        }))
    }

    async fn retry_message(
        &self,
        _: Request<v1::RetryMessageRequest>,
    ) -> Result<Response<v1::RetryMessageResponse>, Status> {
        not_scripted()
    }

    async fn list_receipts(
        &self,
        _: Request<v1::ListReceiptsRequest>,
    ) -> Result<Response<v1::ListReceiptsResponse>, Status> {
        let receipts = self.script.lock().unwrap().receipts.clone();
        Ok(Response::new(v1::ListReceiptsResponse { receipts }))
    }

    async fn export_evidence(
        &self,
        _: Request<v1::ExportEvidenceRequest>,
    ) -> Result<Response<v1::ExportEvidenceResponse>, Status> {
        Ok(Response::new(v1::ExportEvidenceResponse {
            bundle: Some(v1::EvidenceBundle { exported_at_ms: 1, ..Default::default() }),
            message_id: "0193c8a0-1c00-7abc-8def-0123456789ab".into(),
            short_id: "../../../x".into(),
        }))
    }
}

#[tonic::async_trait]
impl CaseService for Fake {
    async fn get_case(&self, _: Request<v1::GetCaseRequest>) -> Result<Response<v1::Case>, Status> {
        let mut script = self.script.lock().unwrap();
        let case = match script.cases.len() {
            0 | 1 => script.cases.front().cloned(),
            _ => script.cases.pop_front(),
        };
        case.map(Response::new)
            .ok_or_else(|| refusal(Code::NotFound, "UNKNOWN_CASE", "no such case", &[]))
    }

    async fn list_cases(
        &self,
        _: Request<v1::ListCasesRequest>,
    ) -> Result<Response<v1::ListCasesResponse>, Status> {
        not_scripted()
    }

    async fn list_obligations(
        &self,
        _: Request<v1::ListObligationsRequest>,
    ) -> Result<Response<v1::ListObligationsResponse>, Status> {
        not_scripted()
    }
}

#[tonic::async_trait]
impl PeerService for Fake {
    async fn add_peer(&self, _: Request<v1::AddPeerRequest>) -> Result<Response<v1::Peer>, Status> {
        not_scripted()
    }

    async fn verify_peer(
        &self,
        request: Request<v1::VerifyPeerRequest>,
    ) -> Result<Response<v1::Peer>, Status> {
        let mut script = self.script.lock().unwrap();
        let request = request.into_inner();
        let good = request.fingerprint == "12345".repeat(12);
        script.verify = Some(request);
        match good {
            true => Ok(Response::new(script.peer.clone().unwrap())),
            false => {
                let text = "the digits differ";
                Err(refusal(Code::FailedPrecondition, "FINGERPRINT_MISMATCH", text, &[]))
            }
        }
    }

    async fn get_peer(&self, _: Request<v1::GetPeerRequest>) -> Result<Response<v1::Peer>, Status> {
        let peer = self.script.lock().unwrap().peer.clone();
        peer.map(Response::new)
            .ok_or_else(|| refusal(Code::NotFound, "NOT_FOUND", "no such peer", &[]))
    }

    async fn list_peers(
        &self,
        _: Request<v1::ListPeersRequest>,
    ) -> Result<Response<v1::ListPeersResponse>, Status> {
        let peers = self.script.lock().unwrap().peer.clone().into_iter().collect();
        Ok(Response::new(v1::ListPeersResponse { peers, next_page_token: String::new() }))
    }

    async fn ping_peer(
        &self,
        _: Request<v1::PingPeerRequest>,
    ) -> Result<Response<v1::PingPeerResponse>, Status> {
        let refused = self.script.lock().unwrap().ping.clone();
        Err(refused.unwrap_or_else(|| {
            refusal(Code::Unavailable, "PEER_UNREACHABLE", "no answer in 5 s", &[])
        }))
    }

    async fn suspend_peer(
        &self,
        request: Request<v1::SuspendPeerRequest>,
    ) -> Result<Response<v1::Peer>, Status> {
        let mut script = self.script.lock().unwrap();
        let request = request.into_inner();
        let none = || refusal(Code::NotFound, "NOT_FOUND", "no such peer", &[]);
        let mut peer = script.peer.clone().ok_or_else(none)?;
        peer.trust = v1::PeerTrust::Suspended.into();
        (peer.suspended_by, peer.suspend_reason) = (request.by.clone(), request.reason.clone());
        script.peer = Some(peer.clone());
        script.suspend = Some(request);
        Ok(Response::new(peer))
    }

    async fn accept_rollback(
        &self,
        _: Request<v1::AcceptRollbackRequest>,
    ) -> Result<Response<v1::Peer>, Status> {
        not_scripted()
    }

    async fn remove_peer(
        &self,
        _: Request<v1::RemovePeerRequest>,
    ) -> Result<Response<v1::RemovePeerResponse>, Status> {
        Ok(Response::new(v1::RemovePeerResponse {}))
    }
}

#[tonic::async_trait]
impl NodeService for Fake {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::NodeStatus>, Status> {
        Ok(Response::new(self.script.lock().unwrap().status.clone()))
    }

    async fn get_card(
        &self,
        _: Request<v1::GetCardRequest>,
    ) -> Result<Response<v1::GetCardResponse>, Status> {
        let unit = "xa.cyber-poc".into();
        Ok(Response::new(v1::GetCardResponse { unit, ..Default::default() }))
    }

    async fn list_alarms(
        &self,
        _: Request<v1::ListAlarmsRequest>,
    ) -> Result<Response<v1::ListAlarmsResponse>, Status> {
        not_scripted()
    }

    async fn clear_alarm(
        &self,
        _: Request<v1::ClearAlarmRequest>,
    ) -> Result<Response<v1::Alarm>, Status> {
        not_scripted()
    }
}
