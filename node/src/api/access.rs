//! Who may call what: the account of each caller, and the roles that each call needs.
//!
//! Every request passes [`Gate`] before a service sees it. A caller is the user at the other end of
//! the Unix socket, as the kernel names him, or the holder of a client certificate, as TLS does;
//! nothing in a request says who calls. Invariants: a call that [`NEEDS`] does not list is refused,
//! and so is a caller without account; what is refused is in the audit log, up to a bound.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use data_encoding::HEXLOWER;
use relay_proto::{ids::Digest, limits, reason::Reason, v1::Kind};
use tokio::time::Instant;
use tonic::{
    Extensions, Status,
    body::Body,
    codegen::http,
    transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo},
};

use super::{Service, args, status::Problem};
use crate::{
    config::{AccountSettings, Role},
    relay::submit::Principal,
};

/// A caller who may do what he asked for, as far as the call alone says it.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// As he is written down.
    pub principal: Principal,
    account: Arc<AccountSettings>,
}

impl Caller {
    /// Of a request that passed the gate.
    pub fn of(extensions: &Extensions) -> Result<Self, Problem> {
        let caller = extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal("a call passed without a caller"))
    }

    /// Whether he has a role.
    pub fn has(&self, role: Role) -> bool {
        self.account.roles.contains(&role)
    }

    /// Whether he may send a message of this kind.
    pub fn may_send(&self, kind: Kind) -> Result<(), Problem> {
        let roles = senders_of(kind);
        if roles.iter().any(|role| self.has(*role)) {
            return Ok(());
        }
        Err(self.denied(&format!("send {}", relay_proto::payload::kind_name(kind)), roles))
    }

    /// For what he reads content: his word, or what his account states once for all.
    pub fn purpose(&self, stated: &str) -> Result<String, Problem> {
        if !stated.trim().is_empty() {
            return args::line("purpose", stated, limits::PURPOSE_CHARS_MAX);
        }
        if self.account.purpose.is_empty() {
            let text = "say for what the content is read, as in `preparing the request for mutual \
                        assistance`: reading is recorded with its purpose (Directive (EU) \
                        2016/680, Article 25)";
            return Err(Problem::field(Reason::PurposeMissing, "purpose", text));
        }
        Ok(self.account.purpose.clone())
    }

    fn denied(&self, what: &str, roles: &[Role]) -> Problem {
        let words: Vec<_> = roles.iter().map(|role| role.word()).collect();
        let words = words.join(" or ");
        let name = &self.account.name;
        let text = format!(
            "the account {name} may not {what}: it needs the role {words} (`api.accounts.{name}` \
             in the node's configuration)"
        );
        Problem::text(Reason::PermissionDenied, text).with("account", name).with("roles", words)
    }
}

/// The accounts of a node.
#[derive(Debug)]
pub(super) struct Accounts {
    known: Vec<Arc<AccountSettings>>,
    denied: Mutex<Denied>,
}

impl Accounts {
    /// Those of the configuration; none there: the user that the node runs as.
    pub fn new(configured: &[AccountSettings]) -> Self {
        let known = match configured {
            [] => vec![Arc::new(AccountSettings::of_this_user())],
            some => some.iter().cloned().map(Arc::new).collect(),
        };
        Self { known, denied: Mutex::default() }
    }

    /// Who calls; with what he is called, and his account.
    fn caller(&self, extensions: &Extensions) -> (String, Option<Arc<AccountSettings>>) {
        let find = |is: &dyn Fn(&AccountSettings) -> bool| {
            self.known.iter().find(|account| is(account)).cloned()
        };
        if let Some(unix) = extensions.get::<UdsConnectInfo>() {
            let Some(user) = unix.peer_cred.map(|credentials| credentials.uid()) else {
                return (String::new(), None);
            };
            return (format!("uid:{user}"), find(&|account| account.users.contains(&user)));
        }
        let certificates =
            extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        let Some(leaf) = certificates.as_ref().and_then(|chain| chain.first()) else {
            return (String::new(), None);
        };
        let digest = *Digest::of(leaf.as_ref()).as_bytes();
        let name = format!("cert:{}", HEXLOWER.encode(&digest));
        (name, find(&|account| account.certificates.contains(&digest)))
    }

    /// Whether a call may go on; and its caller, where it needs one.
    fn admit(&self, path: &str, extensions: &Extensions) -> Result<Option<Caller>, Box<Refusal>> {
        let (service, call) = split(path);
        let needs = needs(service, call);
        if needs == Some(Needs::Nothing) {
            return Ok(None);
        }
        let (name, account) = self.caller(extensions);
        let mut refusal = Box::new(Refusal {
            principal: Principal { account: String::new(), caller: name.clone() },
            call: needs.map_or("an unknown call", |_| call).to_owned(),
            problem: Problem::new(Reason::PermissionDenied),
        });
        let Some(account) = account else {
            refusal.problem = match name.is_empty() {
                true => {
                    Problem::text(Reason::PermissionDenied, "the caller could not be identified")
                }
                false => Problem::text(
                    Reason::PermissionDenied,
                    format!("{name} has no account at this node: add it to one of `api.accounts`"),
                ),
            };
            return Err(refusal);
        };
        let principal = Principal { account: account.name.clone(), caller: name };
        let caller = Caller { principal: principal.clone(), account };
        refusal.principal = principal;
        refusal.problem = match needs {
            Some(Needs::Nothing | Needs::Account) => return Ok(Some(caller)),
            Some(Needs::OneOf(roles)) if roles.iter().any(|role| caller.has(*role)) => {
                return Ok(Some(caller));
            }
            Some(Needs::OneOf(roles)) => caller.denied(&format!("call {call}"), roles),
            None => Problem::text(Reason::PermissionDenied, "nobody may call this"),
        };
        Err(refusal)
    }

    /// Whether one more refusal of this caller is written down.
    fn keeps(&self, caller: &str) -> bool {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).count(caller)
    }
}

/// A call that is not let through.
struct Refusal {
    principal: Principal,
    call: String,
    problem: Problem,
}

/// How many refusals of each caller were written down in this hour: who calls again and again must
/// not fill the disk.
#[derive(Debug, Default)]
struct Denied {
    since: Option<Instant>,
    counts: BTreeMap<String, u32>,
}

impl Denied {
    fn count(&mut self, caller: &str) -> bool {
        if self.since.is_none_or(|since| since.elapsed() >= DENIED_HOUR) {
            *self = Self { since: Some(Instant::now()), counts: BTreeMap::new() };
        }
        if self.counts.len() >= DENIED_CALLERS && !self.counts.contains_key(caller) {
            return false;
        }
        let count = self.counts.entry(caller.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count <= DENIED_KEPT
    }
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Whoever reaches the node.
    Nothing,
    /// Any account.
    Account,
    /// One of these roles.
    OneOf(&'static [Role]),
}

/// What each call needs; of those that send, the kind of the message says more, of those that read,
/// whose the message is.
pub(super) const NEEDS: &[(&str, &[(&str, Needs)])] = {
    use Needs::{Account, OneOf};
    use Role::{Acknowledge, Administer, Audit, ReadAll, ReadOwn, Respond, Submit};
    const SEND: Needs = OneOf(&[Submit, Respond]);
    const READ: Needs = OneOf(&[ReadOwn, ReadAll]);
    const READ_OR_SEND: Needs = OneOf(&[ReadAll, Submit, Respond]);
    const ADMINISTER: Needs = OneOf(&[Administer]);
    &[
        (
            "relay.v1.MessageService",
            &[
                ("SendMessage", SEND),
                ("SendMessages", SEND),
                ("GetMessage", READ),
                ("ListMessages", READ),
                ("WatchEvents", READ),
                ("ListEvents", READ),
                ("AcknowledgeMessage", OneOf(&[Acknowledge])),
                ("RetryMessage", OneOf(&[Submit, Respond, Administer])),
                ("ListReceipts", READ),
                ("ExportEvidence", READ),
            ],
        ),
        (
            "relay.v1.CaseService",
            &[("GetCase", READ), ("ListCases", READ), ("ListObligations", READ)],
        ),
        (
            "relay.v1.PeerService",
            &[
                ("AddPeer", ADMINISTER),
                ("VerifyPeer", ADMINISTER),
                ("GetPeer", Account),
                ("ListPeers", Account),
                ("PingPeer", Account),
                ("SuspendPeer", ADMINISTER),
                ("AcceptRollback", ADMINISTER),
                ("RemovePeer", ADMINISTER),
            ],
        ),
        (
            "relay.v1.NodeService",
            &[
                ("GetStatus", Account),
                ("GetCard", Account),
                ("ListAlarms", Account),
                ("ClearAlarm", ADMINISTER),
            ],
        ),
        (
            "relay.v1.ApprovalService",
            &[
                ("ListApprovals", READ_OR_SEND),
                ("GetApproval", READ_OR_SEND),
                ("GrantApproval", SEND),
                ("DropApproval", SEND),
            ],
        ),
        (
            "relay.v1.AttachmentService",
            &[("GetUpload", SEND), ("UploadAttachment", SEND), ("DownloadAttachment", READ)],
        ),
        ("relay.v1.AuditService", &[("ListAudit", OneOf(&[Audit]))]),
        // Whoever watches over the service asks whether it is well, and learns nothing else.
        ("grpc.health.v1.Health", &[("Check", Needs::Nothing), ("Watch", Needs::Nothing)]),
        ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", Account)]),
        ("grpc.reflection.v1alpha.ServerReflection", &[("ServerReflectionInfo", Account)]),
    ]
};

fn needs(service: &str, call: &str) -> Option<Needs> {
    let (_, calls) = NEEDS.iter().find(|(name, _)| *name == service)?;
    calls.iter().find(|(name, _)| *name == call).map(|(_, needs)| *needs)
}

fn split(path: &str) -> (&str, &str) {
    path.strip_prefix('/').unwrap_or(path).rsplit_once('/').unwrap_or_default()
}

/// Who may send a kind: what a unit says of its own accord is submitted, what answers another unit
/// is a response.
fn senders_of(kind: Kind) -> &'static [Role] {
    use Kind as K;
    match kind {
        K::AlertFeedback
        | K::ConditionReply
        | K::RequestAck
        | K::InfoRequired
        | K::RiskNotice
        | K::PreservationDecision
        | K::PreservationConfirmation
        | K::TrafficDisclosure
        | K::DisclosureWithheld
        | K::ExtensionDecision
        | K::MlaReceived
        | K::ExpiryWarning
        | K::Closure
        | K::IncidentNotice
        | K::EmergencyReply
        | K::AssistanceReply
        | K::HandlingReport => &[Role::Respond],
        // Asked for by one side and decided by the other; called by either.
        K::HandlingRelease | K::ContactCheck => &[Role::Submit, Role::Respond],
        K::Unspecified
        | K::Alert
        | K::AlertUpdate
        | K::AlertCancel
        | K::ConditionalOffer
        | K::PreservationRequest
        | K::InfoReply
        | K::RiskDecision
        | K::ExtensionRequest
        | K::MlaNotice
        | K::Withdrawal
        | K::EmergencyRequest
        | K::AssistanceRequest => &[Role::Submit],
    }
}

/// Puts [`Gate`] before the services.
#[derive(Clone)]
pub(super) struct GateLayer(pub Service);

impl<S> tower::Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { service: self.0.clone(), inner }
    }
}

/// Lets through who may call what he calls.
#[derive(Clone)]
pub(super) struct Gate<S> {
    service: Service,
    inner: S,
}

impl<S> tower::Service<http::Request<Body>> for Gate<S>
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let accounts = &self.service.shared.accounts;
        match accounts.admit(request.uri().path(), request.extensions()) {
            Ok(caller) => {
                caller.map(|caller| request.extensions_mut().insert(caller));
                Box::pin(self.inner.call(request))
            }
            Err(refusal) => {
                let service = self.service.clone();
                Box::pin(async move {
                    let status = Status::from(service.refused(*refusal).await);
                    Ok(status.into_http())
                })
            }
        }
    }
}

impl Service {
    /// Writes a refusal down, then tells it.
    async fn refused(&self, refusal: Refusal) -> Problem {
        let Refusal { principal, call, problem } = refusal;
        self.note_refused(&principal, &call, Reason::PermissionDenied).await;
        problem
    }

    /// What a caller was not allowed to do, for the audit log.
    pub(super) async fn note_refused(&self, principal: &Principal, call: &str, reason: Reason) {
        if !self.shared.accounts.keeps(&principal.caller) {
            tracing::debug!(caller = principal.caller, call, "refused, one of too many");
            return;
        }
        tracing::warn!(account = principal.account, caller = principal.caller, call, "refused");
        let now = self.relay().clock().now();
        let mut record = principal.audit(call, now);
        record.refused = reason.label().to_owned();
        if let Err(error) = self.relay().store().audit(record, now).await {
            tracing::error!(%error, "a refusal is not in the audit log");
        }
    }
}

/// Refusals of one caller that are written down in an hour, and callers of whom that is counted.
const DENIED_KEPT: u32 = 60;
const DENIED_CALLERS: usize = 256;
const DENIED_HOUR: Duration = Duration::from_secs(3600);
