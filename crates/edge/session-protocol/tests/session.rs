//! A server and a client on a link that loses, repeats and reorders frames, on a clock of its own.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use estiva_session_protocol::payload::{SessionType, Size};
use estiva_session_protocol::{Client, ClientEvent, Server, ServerEvent, SessionError, SessionOptions};
use proptest::prelude::*;

const STEPS_MAX: usize = 1_000_000;
const WALL_MS: u64 = 1_700_000_000_000;
const SIZE: Size = Size { cols: 80, rows: 24 };

/// What the link does to frames.
#[derive(Debug, Clone, Copy)]
struct Weather {
    loss_percent: u64,
    repeat_percent: u64,
    delay_ms_max: u64,
}

#[derive(Clone, Copy)]
enum To {
    Server,
    Client,
}

struct Network {
    weather: Weather,
    seed: u64,
    sent: u64,
    /// By the time of arrival, then by the order of sending.
    flying: BTreeMap<(Instant, u64), (To, Vec<u8>)>,
}

impl Network {
    fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)) >> 16) % below.max(1)
    }

    fn send(&mut self, frames: Vec<Vec<u8>>, to: To, now: Instant) {
        for frame in frames {
            let copies = 1 + u64::from(self.random(100) < self.weather.repeat_percent);
            for _ in 0..copies {
                if self.random(100) >= self.weather.loss_percent {
                    let delay = Duration::from_millis(1 + self.random(self.weather.delay_ms_max));
                    self.sent += 1;
                    self.flying.insert((now + delay, self.sent), (to, frame.clone()));
                }
            }
        }
    }
}

/// What came out at the ends.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    input: Vec<u8>,
    sizes: Vec<Size>,
    output: Vec<u8>,
    errors: Vec<u8>,
    exit_code: Option<i32>,
    text: String,
}

struct Session {
    network: Network,
    server: Server,
    client: Client,
    now: Instant,
    /// What is still to be said: by the client, by the server.
    to_say: (Vec<u8>, Vec<u8>),
    is_terminated: bool,
    is_done: bool,
    outcome: Outcome,
}

impl Session {
    fn new(weather: Weather, seed: u64, input: &[u8], output: &[u8]) -> Self {
        let now = Instant::now();
        let options = SessionOptions {
            session_id: "s".to_owned(),
            destination_id: "d".to_owned(),
            agent_version: "1".to_owned(),
            session_type: SessionType::StandardStream,
            properties: serde_json::Value::Null,
            customer_message: "hello".to_owned(),
        };
        Self {
            network: Network { weather, seed, sent: 0, flying: BTreeMap::new() },
            server: Server::new(options, now, WALL_MS).unwrap(),
            client: Client::new("1", now, WALL_MS),
            now,
            to_say: (input.to_vec(), output.to_vec()),
            is_terminated: false,
            is_done: false,
            outcome: Outcome::default(),
        }
    }

    fn run(mut self) -> Result<Outcome, SessionError> {
        for _ in 0..STEPS_MAX {
            self.speak();
            if self.client.is_closed() {
                return Ok(self.outcome);
            }
            let arrival = self.network.flying.keys().next().map(|(at, _)| *at);
            let next = [arrival, self.server.deadline(), self.client.deadline()].into_iter().flatten().min();
            self.now = self.now.max(next.expect("somebody waits for something"));
            self.server.tick(self.now)?;
            self.client.tick(self.now)?;
            while let Some(entry) = self.network.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, frame) = entry.remove();
                self.arrive(to, &frame)?;
            }
        }
        panic!("no end after {STEPS_MAX} steps");
    }

    /// Both ends say what there is room for, and their frames go out.
    fn speak(&mut self) {
        let taken = self.client.input(&self.to_say.0, self.now);
        self.to_say.0.drain(..taken);
        if self.to_say.0.is_empty() && !self.is_terminated {
            self.is_terminated = self.client.terminate(self.now).is_ok();
        }
        if !self.is_done {
            let taken = self.server.output(&self.to_say.1, self.now);
            self.to_say.1.drain(..taken);
        }
        self.network.send(self.server.take_frames(), To::Client, self.now);
        self.network.send(self.client.take_frames(), To::Server, self.now);
    }

    fn arrive(&mut self, to: To, frame: &[u8]) -> Result<(), SessionError> {
        match to {
            To::Server => {
                for event in self.server.receive(frame, self.now)? {
                    self.server_event(event);
                }
                self.end();
            }
            To::Client => {
                for event in self.client.receive(frame, self.now)? {
                    self.client_event(event);
                }
            }
        }
        Ok(())
    }

    fn server_event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::HandshakeDone { .. } => {}
            ServerEvent::Input(bytes) => self.outcome.input.extend(bytes),
            ServerEvent::Size(size) => self.outcome.sizes.push(size),
            ServerEvent::Terminate => self.is_done = true,
            ServerEvent::Skipped(why) => panic!("{why}"),
        }
    }

    /// The process ends once it is told to and has written everything.
    fn end(&mut self) {
        if !self.is_done {
            return;
        }
        let taken = self.server.output(&self.to_say.1, self.now);
        self.to_say.1.drain(..taken);
        if self.to_say.1.is_empty() && self.server.room_bytes() > 0 {
            assert_eq!(self.server.stderr(b"oh", self.now), 2);
            self.server.exit_code(3, self.now).unwrap();
            self.server.close("bye", self.now);
        }
    }

    fn client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::HandshakeDone { customer_message } => {
                assert_eq!(customer_message, "hello");
                self.client.size(SIZE, self.now).unwrap();
            }
            ClientEvent::Output(bytes) => self.outcome.output.extend(bytes),
            ClientEvent::StdErr(bytes) => self.outcome.errors.extend(bytes),
            ClientEvent::ExitCode(code) => self.outcome.exit_code = Some(code),
            ClientEvent::Closed(text) => self.outcome.text = text,
            ClientEvent::Skipped(why) => panic!("{why}"),
        }
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| u8::try_from((index * 7 + index / 251) % 256).unwrap()).collect()
}

fn expected(input: &[u8], output: &[u8]) -> Outcome {
    Outcome {
        input: input.to_vec(),
        sizes: vec![SIZE],
        output: output.to_vec(),
        errors: b"oh".to_vec(),
        exit_code: Some(3),
        text: "bye".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_byte_arrives_once_and_in_order(
        loss_percent in 0_u64..30,
        repeat_percent in 0_u64..50,
        delay_ms_max in 1_u64..400,
        seed in any::<u64>(),
        input_bytes in 0_usize..20_000,
        output_bytes in 0_usize..60_000,
    ) {
        let weather = Weather { loss_percent, repeat_percent, delay_ms_max };
        let (input, output) = (pattern(input_bytes), pattern(output_bytes));
        let outcome = Session::new(weather, seed, &input, &output).run().unwrap();
        prop_assert!(outcome == expected(&input, &output), "{:?}", outcome.text);
    }

    #[test]
    fn no_frame_panics(frames in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
        let mut session = Session::new(Weather { loss_percent: 0, repeat_percent: 0, delay_ms_max: 1 }, 0, b"", b"");
        for frame in frames {
            let _ = session.server.receive(&frame, session.now);
            let _ = session.client.receive(&frame, session.now);
        }
    }
}

#[test]
fn more_than_the_limits_hold_passes_through_a_good_link() {
    let weather = Weather { loss_percent: 1, repeat_percent: 1, delay_ms_max: 5 };
    let (input, output) = (pattern(400_000), pattern(1_000_000));
    let outcome = Session::new(weather, 1, &input, &output).run().unwrap();
    assert!(outcome == expected(&input, &output));
}

#[test]
fn a_dead_link_is_given_up() {
    let weather = Weather { loss_percent: 100, repeat_percent: 0, delay_ms_max: 1 };
    let error = Session::new(weather, 1, b"", b"").run().unwrap_err();
    assert!(matches!(error, SessionError::HandshakeTimeout));
}

#[test]
fn a_link_that_dies_later_is_given_up() {
    let mut session = Session::new(Weather { loss_percent: 0, repeat_percent: 0, delay_ms_max: 5 }, 1, b"", b"");
    session.is_terminated = true;
    while session.client.room_bytes() == 0 {
        session.speak();
        let entry = session.network.flying.pop_first().expect("the handshake goes on");
        session.now = entry.0.0;
        session.arrive(entry.1.0, &entry.1.1).unwrap();
    }
    session.network.weather.loss_percent = 100;
    session.network.flying.clear();
    session.to_say = (pattern(10), pattern(10));
    assert!(matches!(session.run().unwrap_err(), SessionError::GaveUp(_)));
}

#[test]
fn an_unknown_kind_of_session_is_refused() {
    let now = Instant::now();
    let mut client = Client::new("1", now, WALL_MS);
    let mut session = Session::new(Weather { loss_percent: 0, repeat_percent: 0, delay_ms_max: 1 }, 0, b"", b"");
    let frames = session.server.take_frames();
    let mut request = estiva_session_protocol::Message::decode(&frames[0]).unwrap();
    let text = String::from_utf8(request.payload).unwrap().replace("Standard_Stream", "Port");
    request.payload = text.into_bytes();
    assert!(client.receive(&request.encode(), now).unwrap().is_empty());
    let error = client.take_frames().iter().find_map(|frame| session.server.receive(frame, now).err()).unwrap();
    assert!(matches!(error, SessionError::HandshakeRefused(why) if why == "Unknown session type Port"));
}

#[test]
fn the_opening_frame_holds_the_token() {
    let client = Client::new("1", Instant::now(), WALL_MS);
    let frame: serde_json::Value = serde_json::from_str(&client.opening_frame("secret")).unwrap();
    assert_eq!((&frame["TokenValue"], &frame["MessageSchemaVersion"]), (&"secret".into(), &"1.0".into()));
}
