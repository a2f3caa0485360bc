//! Health, reflection and the stop.

use relay_proto::{reason::Reason, v1};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{fixture::Node, told};

/// Health and both versions of reflection answer without a description at hand.
#[tokio::test]
async fn tools_find_their_way() {
    let a = Node::start("xa.cyber-poc").await;
    for service in ["", "relay.v1.MessageService", "store"] {
        let check = HealthCheckRequest { service: service.to_owned() };
        let mut health = HealthClient::new(a.channel.clone());
        // The task that says so runs beside the server: wait for it, not for a time.
        let mut watch = health.watch(check).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status != 1 {}
    }
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(a.channel.clone());
    let answers = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list of services");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["relay.v1.MessageService", "relay.v1.PeerService", "relay.v1.NodeService"] {
        assert!(names.contains(&name), "{names:?}");
    }
    a.stop().await;
}

/// A stop ends watches with its reason, and the socket is gone afterwards.
#[tokio::test]
async fn a_stop_is_told() {
    let a = Node::start("xa.cyber-poc").await;
    let watch = v1::WatchEventsRequest::default();
    let mut events = a.messages().watch_events(watch).await.unwrap().into_inner();
    a.tasks.stop_token().cancel();
    let end = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            end => break end.unwrap_err(),
        }
    };
    assert_eq!((end.code(), told(&end).1), (tonic::Code::Unavailable, Reason::Stopping));
    let socket = a.socket.clone();
    drop(events);
    a.stop().await;
    assert!(!socket.exists());
}
