//! The node protocol's way in.

use std::sync::Arc;

use async_trait::async_trait;
use estiva_model::Timestamp;
use estiva_wire::client::signed_upgrade_request;
use estiva_wire::server::{Limits, Refusal, Upgrade, UpgradeHandler, UpgradedIo};
use estiva_wire::sigv4::{Secret, SigningCredentials, Verification};
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::toy::{Server, credentials};

/// Says who came, then echoes.
struct Echoes;

#[async_trait]
impl UpgradeHandler for Echoes {
    async fn admit(&self, upgrade: &Upgrade) -> Result<(), Refusal> {
        match upgrade.parameter("containerInstanceArn") {
            Some("arn:gone") => {
                let body = r#"{"InactiveInstanceException":"gone"}"#.to_owned();
                Err(Refusal { status: StatusCode::BAD_REQUEST, body })
            }
            _ => Ok(()),
        }
    }

    async fn serve(&self, upgrade: Upgrade, io: UpgradedIo) {
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let greeting = format!("{} {} {:?}", upgrade.path, upgrade.caller.arn(), upgrade.query);
        if socket.send(Message::text(greeting)).await.is_err() {
            return;
        }
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_text() || socket.send(message).await.is_err() {
                return;
            }
        }
    }
}

async fn server(limits: Limits) -> Server {
    Server::with(limits, Verification::Required, |edge| edge.upgrade("/acs/ws", "ecs", Arc::new(Echoes))).await
}

fn request(server: &Server, query: &str, credentials: &SigningCredentials) -> Request<()> {
    let url = format!("ws://{}/acs/ws?{query}", server.address);
    signed_upgrade_request(&url, credentials, "us-east-1", Timestamp::now()).unwrap()
}

async fn refused(server: &Server, request: Request<()>) -> (u16, String) {
    let stream = server.connect().await;
    match client_async(request, stream).await.map(|_| ()) {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_signed_handshake_opens_a_web_socket() {
    let server = server(Limits::default()).await;
    let query = "containerInstanceArn=arn%3Aaws%3Aecs%2Fx&sendCredentials=true";
    let request = request(&server, query, &credentials());
    let authorization = request.headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains("SignedHeaders=host;x-amz-date,"), "{authorization}");
    let (mut socket, response) = client_async(request, server.connect().await).await.unwrap();
    assert!(response.headers().contains_key("x-amzn-requestid"));
    let greeting = socket.next().await.unwrap().unwrap();
    assert_eq!(
        greeting.to_text().unwrap(),
        "/acs/ws arn:aws:iam::123456789012:root \
         [(\"containerInstanceArn\", \"arn:aws:ecs/x\"), (\"sendCredentials\", \"true\")]"
    );
    socket.send(Message::text("ping")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().to_text().unwrap(), "ping");
}

#[tokio::test]
async fn handshakes_that_are_not_signed_right_are_refused() {
    let server = server(Limits::default()).await;
    let wrong = SigningCredentials { secret: Secret::new("wrong"), ..credentials() };
    let (status, body) = refused(&server, request(&server, "a=b", &wrong)).await;
    assert!(status == 400 && body.contains(r#""__type":"InvalidSignatureException""#), "{status} {body}");
    let mut tampered = request(&server, "containerInstanceArn=mine", &credentials());
    *tampered.uri_mut() = format!("ws://{}/acs/ws?containerInstanceArn=yours", server.address).parse().unwrap();
    assert!(refused(&server, tampered).await.1.contains("InvalidSignatureException"));
    let mut unsigned = request(&server, "a=b", &credentials());
    unsigned.headers_mut().remove("authorization");
    assert!(refused(&server, unsigned).await.1.contains("MissingAuthenticationTokenException"));
}

#[tokio::test]
async fn a_handler_may_refuse_in_its_own_words() {
    let server = server(Limits::default()).await;
    let request = request(&server, "containerInstanceArn=arn%3Agone", &credentials());
    let (status, body) = refused(&server, request).await;
    assert_eq!((status, body.as_str()), (400, r#"{"InactiveInstanceException":"gone"}"#));
}

#[tokio::test]
async fn a_plain_request_is_told_to_upgrade() {
    let server = server(Limits::default()).await;
    let answer = server.exchange(b"GET /acs/ws HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("sec-websocket-version: 13"), "{answer}");
}

#[tokio::test]
async fn web_sockets_end_with_the_server() {
    let drain = std::time::Duration::from_millis(50);
    let mut server = server(Limits { drain, ..Limits::default() }).await;
    let request = request(&server, "a=b", &credentials());
    let (mut socket, _) = client_async(request, server.connect().await).await.unwrap();
    socket.next().await.unwrap().unwrap();
    server.tell_to_stop();
    server.stopped().await;
    assert!(!matches!(socket.next().await, Some(Ok(_))));
}
