//! `peer …`: the units that we exchange messages with.
//!
//! Cards are checked here before the node sees them, so that a damaged file is named as such.

mod report;
mod verify;

use std::path::Path;

use relay_proto::{card::Card, ids::UnitId, limits, v1};
use tonic::Response;

pub use self::report::{
    AddReport, ListReport, PeerReport, PingReport, ReadReport, RemoveReport, RollbackReport,
    SuspendReport, VerifyReport,
};
use super::once_for_sure;
use crate::{
    args::{PeerVerb, RepeatArgs},
    client::Node,
    context::Context,
    exit::Exit,
    failure::Failure,
    files,
    terminal::ask,
    view::{PeerView, words},
};

/// Runs a verb of the noun.
pub async fn run(context: &Context, verb: PeerVerb) -> Result<Exit, Failure> {
    match verb {
        PeerVerb::Add { card, repeat } => add(context, &card, &repeat).await,
        PeerVerb::Verify(args) => verify::run(context, &args).await,
        PeerVerb::List => list(context).await,
        PeerVerb::Show { unit } => show(context, &unit).await,
        PeerVerb::Ping { unit } => ping(context, &unit).await,
        PeerVerb::Suspend { unit, by, reason, repeat } => {
            suspend(context, &unit, by, reason, &repeat).await
        }
        PeerVerb::RollbackAccept { unit, by, repeat } => {
            rollback_accept(context, &unit, &by, &repeat).await
        }
        PeerVerb::Remove { unit, yes, repeat } => remove(context, &unit, yes, &repeat).await,
    }
}

async fn add(context: &Context, path: &Path, repeat: &RepeatArgs) -> Result<Exit, Failure> {
    let bytes = read_card(path)?.1;
    let node = context.node().await?;
    let id = context.request_id(repeat);
    let request = v1::AddPeerRequest { request_id: id.to_string(), card: bytes.into() };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.peers(), node.request(request.clone()));
        async move { client.add_peer(request).await }
    });
    let peer = PeerView::from(&answer.await?);
    let our_unit = our_unit(&node).await;
    context.printer().report(&AddReport { request_id: id.to_string(), our_unit, peer })
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let (mut peers, mut page_token) = (Vec::new(), String::new());
    for _ in 0..PEER_PAGES_MAX {
        let request = v1::ListPeersRequest { page_size: 1000, page_token };
        let answer = node.peers().list_peers(node.request(request)).await;
        let answer = answer.map_err(|status| node.failure(&status))?.into_inner();
        peers.extend(answer.peers.iter().map(PeerView::from));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    context.printer().report(&ListReport { peers })
}

async fn show(context: &Context, unit: &UnitId) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let peer = PeerView::from(&peer(&node, unit).await?);
    context.printer().report(&PeerReport { our_unit: our_unit(&node).await, peer })
}

/// Our unit's name, for what the other side has to type. Only a help: nothing fails without it.
async fn our_unit(node: &Node) -> Option<String> {
    let answer = node.node().get_card(node.request(v1::GetCardRequest {})).await;
    answer.ok().map(|answer| answer.into_inner().unit).filter(|unit| !unit.is_empty())
}

/// A peer as the node sees it.
async fn peer(node: &Node, unit: &UnitId) -> Result<v1::Peer, Failure> {
    let request = v1::GetPeerRequest { unit: unit.to_string() };
    let answer = node.peers().get_peer(node.request(request)).await;
    answer.map(Response::into_inner).map_err(|status| known_or_told(node.failure(&status)))
}

/// What helps when there is no such peer.
fn known_or_told(failure: Failure) -> Failure {
    match failure.exit {
        Exit::NotFound => failure
            .only_remedy("relay-cli peer list")
            .with_remedy("relay-cli peer add CARD    (the unit's .relaycard file)"),
        _ => failure,
    }
}

async fn ping(context: &Context, unit: &UnitId) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let request = v1::PingPeerRequest { unit: unit.to_string() };
    let answer = node.peers().ping_peer(node.request(request)).await;
    let answer = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Err(no_answer(&node, unit, node.failure(&status)).await),
    };
    context.printer().report(&PingReport::new(unit, &answer))
}

/// What helps when a peer's node does not answer, or refuses ours.
async fn no_answer(node: &Node, unit: &UnitId, failure: Failure) -> Failure {
    let safe = "messages for it are stored; none is sent until it is verified again";
    match failure.reason.as_deref() {
        _ if failure.exit == Exit::NotFound => return known_or_told(failure),
        Some(words::PEER_SUSPENDED | words::PEER_UNVERIFIED) => return failure.safe(safe),
        _ => {}
    }
    let failure = failure.safe("messages for it are stored and sent when it returns");
    let number = format!("relay-cli peer show {unit}    (telephone)");
    if failure.reason.as_deref() != Some(words::NOT_VERIFIED_THERE) {
        return failure.with_remedy(number);
    }
    let us = our_unit(node).await.unwrap_or_else(|| "OUR-UNIT".to_owned());
    let they = format!("telephone them; they run: relay-cli peer verify {us} --by NAME");
    failure.only_remedy(they).with_remedy(number)
}

async fn suspend(
    context: &Context,
    unit: &UnitId,
    by: String,
    reason: String,
    repeat: &RepeatArgs,
) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let id = context.request_id(repeat);
    let request =
        v1::SuspendPeerRequest { request_id: id.to_string(), unit: unit.to_string(), reason, by };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.peers(), node.request(request.clone()));
        async move { client.suspend_peer(request).await }
    });
    let peer = PeerView::from(&answer.await.map_err(known_or_told)?);
    context.printer().report(&SuspendReport { request_id: id.to_string(), peer })
}

async fn rollback_accept(
    context: &Context,
    unit: &UnitId,
    by: &str,
    repeat: &RepeatArgs,
) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let id = context.request_id(repeat);
    let request = v1::AcceptRollbackRequest {
        request_id: id.to_string(),
        unit: unit.to_string(),
        by: by.to_owned(),
    };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.peers(), node.request(request.clone()));
        async move { client.accept_rollback(request).await }
    });
    let peer = PeerView::from(&answer.await.map_err(known_or_told)?);
    context.printer().report(&RollbackReport { request_id: id.to_string(), peer })
}

async fn remove(
    context: &Context,
    unit: &UnitId,
    yes: bool,
    repeat: &RepeatArgs,
) -> Result<Exit, Failure> {
    let node = context.node().await?;
    if !yes {
        context.may_ask(&format!("relay-cli peer remove {unit} --yes"))?;
        let typed = ask(&format!("Trust in {unit} is lost. Type its name to remove it: ")).await?;
        if typed != unit.as_str() {
            return Err(Failure::new(Exit::Attention, format!("That is not {unit}."))
                .safe("nothing was changed"));
        }
    }
    // Only to be told: nothing depends on it.
    let waiting = peer(&node, unit).await.map_or(0, |peer| peer.outbox_messages);
    let id = context.request_id(repeat);
    let request = v1::RemovePeerRequest { request_id: id.to_string(), unit: unit.to_string() };
    let answer = once_for_sure(context, &node, id, || {
        let (mut client, request) = (node.peers(), node.request(request.clone()));
        async move { client.remove_peer(request).await }
    });
    answer.await.map_err(known_or_told)?;
    let (request_id, unit) = (id.to_string(), unit.to_string());
    context.printer().report(&RemoveReport { request_id, unit, waiting })
}

/// A card file, checked, with its bytes.
pub fn read_card(path: &Path) -> Result<(Card, Vec<u8>), Failure> {
    let max = u64::try_from(limits::CARD_BYTES_MAX).unwrap_or(u64::MAX).saturating_mul(2);
    let bytes = files::read(path, max)?;
    let card = Card::from_file(&bytes).map_err(|error| {
        Failure::new(Exit::Invalid, format!("{} is not a valid card: {error}.", path.display()))
            .safe("nothing was imported")
            .with_remedy("ask the unit's operator to send its .relaycard file again")
    })?;
    Ok((card, bytes))
}

/// A thousand peers a page; there are some two hundred states.
const PEER_PAGES_MAX: usize = 16;
