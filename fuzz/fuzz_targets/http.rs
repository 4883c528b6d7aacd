//! The HTTP front: all that comes on one connection, thrown at a server with ECS behind it. It must neither panic nor stop
//! answering others.

#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use estiva_ecs::{EcsService, Options};
use estiva_model::Ambient;
use estiva_model::Caller;
use estiva_schema::{ApiError, Authorizer};
use estiva_store::backend::Memory;
use estiva_store::{Schema, Store};
use estiva_wire::server::{Edge, Limits, Listener, serve};
use estiva_wire::sigv4::{Credential, CredentialSource, Verification, Verifier};
use libfuzzer_sys::fuzz_target;

/// It only ends a run that would hang.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so many connections somebody else asks.
const OTHERS_EVERY: usize = 64;

static SERVER: LazyLock<SocketAddr> = LazyLock::new(start);
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

struct Nobody;

impl CredentialSource for Nobody {
    fn find(&self, _: &str, _: Option<&str>) -> Option<Credential> {
        None
    }
}

struct Everything;

impl Authorizer for Everything {
    fn authorize(&self, _: &Caller, _: &str) -> Result<(), ApiError> {
        Ok(())
    }
}

fn start() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    listener.set_nonblocking(true).expect("it is a socket");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let store = Store::open(Memory::new(), estiva_ecs::tables(Schema::new(1))).expect("an empty store");
            let options = Options { endpoint: format!("http://{address}"), ..Options::default() };
            let ecs = Arc::new(EcsService::new(store, options, Ambient::system()));
            // Without signatures, so that what is behind them is reached too.
            let verifier = Verifier::new(Arc::new(Nobody), Verification::Off);
            let edge = Edge::new(verifier, Arc::new(Everything), Limits::default())
                .service(Arc::new(estiva_api_ecs::Endpoint(ecs)));
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a socket");
            serve(vec![Listener::Tcp(listener)], edge, std::future::pending()).await;
        });
    });
    address
}

/// Sends it all and hears what comes.
fn exchange(bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(*SERVER).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let mut answer = Vec::new();
    // It may close at any byte; that it hangs is a fault.
    if stream.write_all(bytes).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server hangs"),
            _ => {}
        }
    }
    answer
}

fuzz_target!(|bytes: &[u8]| {
    exchange(bytes);
    if CONNECTIONS.fetch_add(1, Ordering::Relaxed) % OTHERS_EVERY == 0 {
        let good = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonEC2ContainerServiceV20141113.ListClusters\r\nContent-Type: \
            application/x-amz-json-1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let answer = exchange(good);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
});
