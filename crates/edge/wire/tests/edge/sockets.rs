//! The same server at a socket of the file system.

use std::path::Path;

use estiva_model::Region;
use estiva_wire::client::Client;
use estiva_wire::server::Limits;
use estiva_wire::sigv4::{Secret, SigningCredentials};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::toy::{Echo, Server, credentials, say};

fn client(socket: &Path, credentials: SigningCredentials) -> Client {
    Client::of_server(&format!("unix:{}", socket.display()), credentials, Region::default()).unwrap()
}

#[tokio::test]
async fn calls_are_signed_and_verified_as_at_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let server = Server::at_socket(Limits::default(), &socket).await;
    for client in [client(&socket, credentials()), server.client()] {
        client.call::<Echo>(&say("hello")).await.unwrap();
    }
    let forged = SigningCredentials { secret: Secret::new("another"), ..credentials() };
    let error = client(&socket, forged).call::<Echo>(&say("hello")).await.unwrap_err();
    assert!(error.is_unauthenticated(), "{error}");
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn sessions_go_where_calls_go() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let _server = Server::at_socket(Limits::default(), &socket).await;
    let mut stream = client(&socket, credentials()).connect("192.0.2.1:1").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_crowd_at_the_address_keeps_nobody_from_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let server = Server::at_socket(limits, &socket).await;
    let crowd = [server.connect().await, server.connect().await];
    client(&socket, credentials()).call::<Echo>(&say("hello")).await.unwrap();
    drop(crowd);
}

#[tokio::test]
async fn an_error_names_the_socket() {
    let gone = client(Path::new("/nowhere/api.sock"), credentials());
    let error = gone.call::<Echo>(&say("hello")).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("unix:/nowhere/api.sock"), "{error}");
}

#[tokio::test]
async fn what_a_task_definition_names_is_never_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let named = format!("unix:{}", socket.display());
    assert!(Client::new(&named, credentials(), Region::default()).is_err());
}
