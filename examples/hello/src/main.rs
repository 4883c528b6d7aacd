//! A tiny HTTP server, to be run as a task: it answers every request with a greeting and logs a line for each.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// A request line and headers longer than this are not read on.
const HEAD_BYTES_MAX: u64 = 8 << 10;

fn main() -> io::Result<()> {
    end_on_sigterm()?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let greeting = env::var("GREETING").unwrap_or_else(|_| "Hello from Estiva".to_owned());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"))?;
    println!("listening on port {port}");
    for stream in listener.incoming() {
        let greeting = greeting.clone();
        thread::spawn(move || {
            if let Err(error) = stream.and_then(|stream| answer(&stream, &greeting)) {
                eprintln!("request failed: {error}");
            }
        });
    }
    Ok(())
}

/// The first process of a container is spared by the kernel's default for SIGTERM: it has to ask for it.
fn end_on_sigterm() -> io::Result<()> {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: _exit is async-signal-safe.
        unsafe { libc::_exit(0) }
    }
    let handler = end as extern "C" fn(libc::c_int);
    // SAFETY: the handler is async-signal-safe, and stays for as long as the process.
    let former = unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
    if former == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn answer(mut stream: &TcpStream, greeting: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.take(HEAD_BYTES_MAX)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    println!("{request}");
    let body = format!("{greeting}\n");
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
