//! A node without a link: made by `init` in a directory of its own, served over its socket.

use std::{path::PathBuf, sync::Arc, time::Duration};

use relay_core::{outbox, quota};
use relay_proto::{
    card::Card,
    envelope::{Header, Priority},
    reason::Reason,
    receipt::{Event, NewStatement},
    timestamp::Timestamp,
    v1::{
        self, approval_service_client::ApprovalServiceClient,
        attachment_service_client::AttachmentServiceClient,
        audit_service_client::AuditServiceClient, message_service_client::MessageServiceClient,
        node_service_client::NodeServiceClient, peer_service_client::PeerServiceClient,
    },
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    clock::Clock,
    config::{self, AccountSettings, ApiTcpSettings, ClockSource},
    directory::{Directory, Heard},
    init::{InitOptions, People, init},
    keys::KeyStore,
    relay::{Limits, Parts, Relay},
    store::{
        About, ArrivalAnswer, Backend, NewArrival, OpenStore, QueueMax, Verdict, create,
        space::ReserveSettings,
    },
    tasks::Tasks,
    telemetry::Counters,
    tlog::Tlog,
};

pub struct Node {
    pub relay: Relay,
    pub tasks: Tasks,
    pub channel: Channel,
    pub socket: PathBuf,
    pub tcp: Option<std::net::SocketAddr>,
    pub card: Vec<u8>,
    _dir: tempfile::TempDir,
}

/// What is not as usual.
pub struct Setup {
    pub tcp: Option<ApiTcpSettings>,
    pub accounts: Vec<AccountSettings>,
    pub two_officers: Vec<v1::Kind>,
    pub reserve: ReserveSettings,
    pub restored: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let (reserve, restored) = (ReserveSettings::NONE, false);
        Self { tcp: None, accounts: Vec::new(), two_officers: Vec::new(), reserve, restored }
    }
}

fn limits() -> Limits {
    Limits {
        outbox: outbox::Settings::default(),
        queue_max: QueueMax { messages: QUEUE_MAX, bytes: 1 << 30 },
        inbox_messages_max: 100,
        inbox_bytes_max: 1 << 30,
        quotas: quota::Settings::default(),
    }
}

impl Node {
    pub async fn start(unit: &str) -> Self {
        Self::start_as(unit, Setup::default()).await
    }

    /// On a disk that is full by its own measure.
    pub async fn start_full(unit: &str) -> Self {
        let reserve = ReserveSettings { percent: 0, bytes_min: u64::MAX / 4 };
        Self::start_as(unit, Setup { reserve, ..Setup::default() }).await
    }

    /// Out of a backup: its log signs nothing before its peers were heard.
    pub async fn start_restored(unit: &str) -> Self {
        Self::start_as(unit, Setup { restored: true, ..Setup::default() }).await
    }

    /// For these accounts alone.
    pub async fn start_for(unit: &str, accounts: Vec<AccountSettings>) -> Self {
        Self::start_as(unit, Setup { accounts, ..Setup::default() }).await
    }

    pub async fn start_as(unit: &str, setup: Setup) -> Self {
        let reserve = setup.reserve;
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("n");
        let options = InitOptions {
            unit: unit.parse().unwrap(),
            node: "a".to_owned(),
            dir: at.clone(),
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: vec!["127.0.0.1:7443".to_owned()],
            clock: ClockSource::Assumed,
            people: People {
                name: None,
                phone: "+99 1 555 0100".to_owned(),
                email: None,
                language: "en".to_owned(),
                hours: None,
                time_zone: None,
            },
            law: Default::default(),
        };
        let (clock, _) = Clock::manual(now());
        let made = init(&options, now(), &|dir, node, instance, now| {
            create(&backend(dir.to_owned(), reserve), node.unit(), *instance.as_bytes(), now)
                .map_err(Into::into)
        });
        let made = made.unwrap();
        let mut settings = config::load(&made.config()).unwrap();
        (settings.api.tcp, settings.api.accounts) = (setup.tcp, setup.accounts);
        for profile in &mut settings.profiles {
            Arc::make_mut(profile).two_officers.clone_from(&setup.two_officers);
        }
        let card = std::fs::read(made.card()).unwrap();
        let own = Card::from_file(&card).unwrap();
        let unit = own.unit().clone();
        let origin = unit.log_origin(1);
        let open = OpenStore { backend: backend(settings.node.dir.clone(), reserve), unit, origin };
        if setup.restored {
            std::fs::write(settings.node.dir.join("restored"), "").unwrap();
        }
        let store = open.open().unwrap();
        let signer = Arc::new(KeyStore::open(&settings.keys.dir, 1).unwrap().signer().clone());
        let tasks = Tasks::new();
        let parts = Parts {
            node: settings.node.id.clone(),
            software: "relay-node/test".to_owned(),
            directory: Directory::load(store.clone(), own).unwrap(),
            tlog: Tlog::open(store.clone(), Arc::clone(&signer), None).unwrap().tlog,
            store,
            signer,
            clock,
            profiles: settings.profiles.clone(),
            limits: limits(),
            notify: settings.notify.clone(),
            counters: Counters::new(),
            tasks: tasks.clone(),
            random: Arc::new(|bytes| rand::fill(bytes)),
        };
        let relay = Relay::new(parts).unwrap();
        let api = crate::api::start(&settings.api, relay.clone(), &tasks).unwrap();
        let (socket, tcp) = (api.socket().to_owned(), api.tcp());
        let address = format!("unix://{}", socket.display());
        let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        Self { relay, tasks, channel, socket, tcp, card, _dir: dir }
    }

    pub fn messages(&self) -> MessageServiceClient<Channel> {
        MessageServiceClient::new(self.channel.clone())
    }

    pub fn attachments(&self) -> AttachmentServiceClient<Channel> {
        AttachmentServiceClient::new(self.channel.clone())
    }

    pub fn peers(&self) -> PeerServiceClient<Channel> {
        PeerServiceClient::new(self.channel.clone())
    }

    pub fn approvals(&self) -> ApprovalServiceClient<Channel> {
        ApprovalServiceClient::new(self.channel.clone())
    }

    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    pub fn node(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone())
    }

    /// Adds another node's card and trusts it.
    pub async fn trust(&self, other: &Node) {
        let directory = self.relay.directory();
        let peer = directory.add(&other.card, now()).await.unwrap();
        let digits = Heard::All(directory.fingerprint(&peer).concat());
        directory.verify(peer.card.unit(), &digits, "Desk 1", now()).await.unwrap();
    }

    /// Takes a message out of another node's store as if a session had brought it.
    pub async fn receive(&self, other: &Node, message_id: &str) {
        let store = other.relay.store();
        let digest = store.by_id(&message_id.parse().unwrap()).unwrap()[0];
        let record = store.message(&digest).unwrap().unwrap();
        let content = store.content(&record).unwrap();
        let header = Header::stored(&content.header).unwrap();
        let node = self.relay.node();
        let clock = self.relay.clock().state();
        let statement = |event, reason| {
            let mut new = NewStatement::about(&header, event, node, now(), clock, [7; 16]);
            (new.software, new.recipient) = ("relay-node/test", Some(node.unit()));
            new.reason = reason;
            new.build().unwrap().bytes().clone()
        };
        let conflict = Some(relay_proto::reason::Reason::Conflict);
        let new = NewArrival {
            payload: content.payload.unwrap(),
            about: About { kind: record.kind, ..About::default() },
            own: node.unit().clone(),
            peer: header.from.clone(),
            number: 1,
            consignment: statement(Event::ContentConsignment, None),
            rejections: vec![(Reason::Conflict, statement(Event::RelayRejection, conflict))],
            clock_unverified: false,
            carried: header.priority,
            meter: quota::Meter::unlimited(),
            recovered: false,
            now: now(),
            header: header.clone(),
        };
        let verdicts = vec![Verdict::Accept(Box::new(new))];
        let answers = self.relay.store().accept_arrivals(Priority::Urgent, verdicts).await.unwrap();
        assert_eq!(answers, [ArrivalAnswer::Stored]);
    }

    pub async fn stop(self) {
        drop(self.channel);
        self.tasks.shutdown(Duration::from_secs(20)).await;
        self.relay.store().close().await;
    }
}

pub fn now() -> Timestamp {
    "2026-03-02T08:15:00Z".parse().unwrap()
}

/// A request id that is the same for the same number.
pub fn id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

pub fn request(n: u32, to: &[&str]) -> v1::SendMessageRequest {
    let alert = v1::Alert {
        alert_id: [&[7; 12][..], &n.to_be_bytes()].concat().into(),
        revision: 1,
        lifecycle: v1::Lifecycle::New.into(),
        alert_type: 1,
        category: "fraud/phishing".to_owned(),
        severity: 2,
        title: format!("Phishing {n}"),
        summary: "A wave of messages in the name of a bank.".to_owned(),
        observed_from_ms: now().as_millis() - 60_000,
        confidence_plus_one: 81,
        action_requested: vec![1],
        affected_countries: vec!["FR".to_owned()],
        valid_until_ms: now().as_millis() + 86_400_000,
        dissemination: Some(v1::Dissemination { audience: 1, onward: 2 }),
        ..Default::default()
    };
    let payload = v1::Payload {
        body: Some(v1::payload::Body::Alert(alert)),
        sender_ref: "REF-1".to_owned(),
        ..Default::default()
    };
    let draft = v1::Draft {
        profile: "budapest-247".to_owned(),
        to: to.iter().map(|unit| (*unit).to_owned()).collect(),
        priority: v1::Priority::Routine.into(),
        expire_time: None,
        payload: Some(payload),
    };
    v1::SendMessageRequest {
        request_id: id(n),
        draft: Some(draft),
        validate_only: false,
        etag: String::new(),
    }
}

fn backend(dir: PathBuf, reserve: ReserveSettings) -> Backend {
    Backend::Embedded { dir, segment_bytes: 1 << 20, cache_bytes: 1 << 20, reserve }
}

/// Messages that may wait for one peer.
pub const QUEUE_MAX: u64 = 40;
