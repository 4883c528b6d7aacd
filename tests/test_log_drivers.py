"""Where output goes, by log driver: listeners of the tests' own stand for the backends."""

import http.server
import json
import socket
import threading
import time
import zlib

import pytest
from installation import eventually, files, free_port, shell


def logged(driver, script="echo moored", **options):
    configuration = {"logDriver": driver, "options": {name.replace("_", "-"): value for name, value in options.items()}}
    return shell(script, logConfiguration=configuration)


def run(estiva, family, definition, *more):
    estiva.register(family, [definition, *more])
    return estiva.run_to_end(family)


class Listener:
    """Takes every connection and keeps what comes; can be away for a while."""

    def __init__(self, port):
        self.port, self.received, self.socket = port, bytearray(), None

    def open(self):
        self.socket = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection):
        while data := connection.recv(65536):
            self.received += data


@pytest.fixture
def listener():
    made = Listener(free_port())
    yield made
    if made.socket:
        made.socket.close()


def events(estiva, script, **options):
    group = "/multiline"
    task = run(
        estiva,
        f"multiline-{time.monotonic_ns()}",
        logged("awslogs", script, awslogs_group=group, awslogs_stream_prefix="t", awslogs_create_group="true", **options),
    )
    return estiva.messages(group, f"t/main/{task['taskArn'].rsplit('/', 1)[-1]}")


def test_events_of_several_lines_by_pattern(estiva):
    script = "echo 'INFO one'; echo 'ERROR two'; echo '  at a'; echo '  at b'; echo 'INFO three'"
    found = events(estiva, script, awslogs_multiline_pattern="^(INFO|ERROR)")
    assert found == ["INFO one", "ERROR two\n  at a\n  at b", "INFO three"]


def test_events_of_several_lines_by_date(estiva):
    script = "echo '2026-11-21 08:00:00 one'; echo ' more'; echo '2026-11-21 08:00:01 two'"
    found = events(estiva, script, awslogs_datetime_format="%Y-%m-%d %H:%M:%S")
    assert found == ["2026-11-21 08:00:00 one\n more", "2026-11-21 08:00:01 two"]


def test_fluentd(estiva, listener):
    listener.open()
    task = run(estiva, "fluentd", logged("fluentd", fluentd_address=f"127.0.0.1:{listener.port}", tag="app.{{.Name}}"))
    assert task["containers"][0]["exitCode"] == 0
    eventually(lambda: b"moored" in listener.received)
    assert b"app.ecs-fluentd-1-main-" in listener.received and b"container_name" in listener.received


def test_a_backend_that_is_away_is_for_the_mode_to_judge(estiva):
    address = f"127.0.0.1:{free_port()}"
    strict = run(estiva, "away-strict", logged("fluentd", fluentd_address=address, mode="blocking"))
    assert strict["stopCode"] == "TaskFailedToStart" and "logging driver" in strict["stoppedReason"]
    easy = run(estiva, "away-easy", logged("fluentd", fluentd_address=address, mode="non-blocking"))
    assert easy["containers"][0]["exitCode"] == 0


@pytest.mark.parametrize("mode", ["blocking", "non-blocking"])
def test_what_was_written_while_the_backend_was_away_arrives(estiva, listener, mode):
    address = f"127.0.0.1:{listener.port}"
    family = f"away-{mode}"
    estiva.register(family, [logged("fluentd", "seq 1 2000; sleep 1", fluentd_address=address, fluentd_async="true", mode=mode)])
    [arn] = estiva.run(family)
    estiva.wait("RUNNING", arn)
    listener.open()
    # The container did not wait for the backend, and ends as it would have.
    assert estiva.wait("STOPPED", arn)["containers"][0]["exitCode"] == 0
    eventually(lambda: b"2000" in listener.received)
    assert b"1999" in listener.received


def test_blocking_loses_nothing_though_the_backend_comes_late(estiva, listener):
    # More than waits on disk: the container has to wait for the backend.
    script = "i=0; while [ $i -lt 80 ]; do head -c 1000000 /dev/zero | tr '\\0' 'x'; echo; i=$((i+1)); done; echo the last"
    definition = logged("fluentd", script, fluentd_address=f"127.0.0.1:{listener.port}", fluentd_async="true", mode="blocking")
    estiva.register("late-backend", [{**definition, "memory": 256}])
    [arn] = estiva.run("late-backend")
    estiva.wait("RUNNING", arn)
    spool = estiva.data / "node/tasks" / arn.rsplit("/", 1)[-1] / "logs/main"
    eventually(lambda: sum(size for _, size in files(spool)) > 60_000_000)
    listener.open()
    task = estiva.wait("STOPPED", arn)
    assert task["containers"][0]["exitCode"] == 0, task
    eventually(lambda: b"the last" in listener.received)
    assert listener.received.count(b"x") >= 80 * 1_000_000


def test_an_unfinished_line_does_not_hold_back_the_other_stream(estiva, listener):
    # The shim cuts a line at 16 KiB; what it has of this one stays at the beginning of all that waits on disk.
    listener.open()
    script = "head -c 40000 /dev/zero | tr '\\0' 'u'; i=0; while [ $i -lt 80 ]; do head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; i=$((i+1)); done"
    definition = logged("fluentd", script, fluentd_address=f"127.0.0.1:{listener.port}", mode="blocking")
    estiva.register("unfinished-line", [{**definition, "memory": 256}])
    [arn] = estiva.run("unfinished-line")
    assert estiva.wait("STOPPED", arn)["containers"][0]["exitCode"] == 0
    eventually(lambda: listener.received.count(b"x") >= 80 * 1_000_000)
    assert listener.received.count(b"u") >= 40000


def test_gelf_over_udp(estiva):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        port = server.getsockname()[1]
        run(estiva, "gelf", logged("gelf", gelf_address=f"udp://127.0.0.1:{port}", gelf_compression_type="zlib"))
        message = json.loads(zlib.decompress(server.recv(65536)))
    assert message["short_message"] == "moored" and message["level"] == 6
    assert message["_container_name"].startswith("ecs-gelf-1-main-")


def test_syslog(estiva):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        port = server.getsockname()[1]
        address = {"syslog_address": f"udp://127.0.0.1:{port}", "syslog_format": "rfc5424", "syslog_facility": "local3"}
        run(estiva, "syslog", logged("syslog", tag="mine", **address))
        message = server.recv(65536).decode()
    # Facility local3 (19), severity informational (6).
    assert message.startswith(f"<{19 * 8 + 6}>1 ") and " mine " in message and message.rstrip().endswith("moored")


def test_splunk(estiva):
    received = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_OPTIONS(self):
            self.answer()

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.headers["Authorization"], body))
            self.answer()

        def answer(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    token = "b7d1e7a2-0000-4000-8000-moored-secret"
    run(estiva, "splunk", logged("splunk", splunk_url=url, splunk_token=token))
    [(authorization, body)] = eventually(lambda: received or None)
    server.shutdown()
    assert authorization == f"Splunk {token}" and json.loads(body)["event"]["line"] == "moored"
    assert token not in estiva.log()


def test_options_that_no_driver_knows(estiva):
    task = run(estiva, "strange-option", logged("syslog", strange_option="1"))
    assert task["stopCode"] == "TaskFailedToStart" and "strange-option" in task["stoppedReason"]


def test_json_files_are_rotated(estiva):
    definition = logged("json-file", "seq 1 100000; sleep 1000", max_size="100k", max_file="3")
    estiva.register("rotated", [{**definition, "stopTimeout": 2}])
    [arn] = estiva.run("rotated")
    directory = estiva.data / "node/tasks" / arn.rsplit("/", 1)[-1] / "logs/main"

    def is_whole():
        # Between two files there may be none of that name, and the last line may be half written.
        try:
            text = (directory / "json.log").read_text()
        except FileNotFoundError:
            return False
        return '"log":"100000\\n"' in text and text.endswith("\n") and (directory / "json.log.2").exists()

    eventually(is_whole)
    sizes = {path.name: size for path, size in files(directory)}
    assert sorted(sizes) == ["json.log", "json.log.1", "json.log.2"]
    assert max(sizes.values()) <= 110_000
    estiva.stop(arn)


def test_firelens(estiva):
    """The router is a shell here: what the node makes for it, and what it is sent, is the same."""
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/router", "awslogs-stream-prefix": "t", "awslogs-create-group": "true"}}
    router = shell(
        "cat /fluent-bit/etc/fluent-bit.conf; sleep 1000",
        name="router",
        user="nobody",
        stopTimeout=2,
        logConfiguration=log,
        firelensConfiguration={"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true"}},
    )
    options = {"Name": "cloudwatch", "region": "us-east-1", "log-driver-buffer-limit": "1000"}
    app = shell("echo $FLUENT_HOST:$FLUENT_PORT; sleep 1000", name="app", stopTimeout=2, logConfiguration={"logDriver": "awsfirelens", "options": options})
    estiva.register("firelens", [app, router])
    [arn] = estiva.run("firelens")
    estiva.wait("RUNNING", arn)
    identifier = arn.rsplit("/", 1)[-1]
    with socket.socket(socket.AF_UNIX) as fluent:
        fluent.bind(str(estiva.run_dir / "firelens" / identifier / "fluent.sock"))
        fluent.listen()
        fluent.settimeout(60)
        connection, _ = fluent.accept()
        received = b""
        while b"127.0.0.1:24224" not in received:
            received += connection.recv(65536)
    assert f"app-firelens-{identifier}".encode() in received
    configuration = "\n".join(eventually(lambda: estiva.messages("/router", f"t/router/{identifier}") or None))
    assert "unix_path /var/run/fluent.sock" in configuration and f"Record ecs_task_arn {arn}" in configuration
    assert "    Name cloudwatch\n    region us-east-1\n    Match app-firelens*" in configuration
    estiva.stop(arn)
