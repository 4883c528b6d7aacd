"""ExecuteCommand: by the AWS CLI with a session plugin, and by `estiva exec` without one."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
import threading
import time

import botocore.exceptions
import pytest
import websocket
from installation import AWS, BINARY, ROOT, container, eventually, shell

SLEEPER = {"stopTimeout": 2}


@pytest.fixture(scope="module")
def plugin_path(tmp_path_factory):
    """Where the AWS CLI finds the session plugin: a stand-in that speaks the protocol by itself."""
    directory = tmp_path_factory.mktemp("plugin")
    (directory / "session-manager-plugin").symlink_to(ROOT / "tests" / "session-manager-plugin")
    return f"{directory}:{AWS.parent}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def task(estiva):
    """A task of two containers, one of them with a read-only root."""
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "/exec", "awslogs-stream-prefix": "t", "awslogs-create-group": "true"}}
    estiva.register(
        "exec",
        [
            shell("sleep 10000", name="web", user="nobody", logConfiguration=log, **SLEEPER),
            shell("sleep 10000", name="frozen", readonlyRootFilesystem=True, **SLEEPER),
        ],
    )
    [arn] = estiva.run("exec", enableExecuteCommand=True)
    estiva.wait("RUNNING", arn)
    yield arn
    estiva.stop(arn)


def exec_(estiva, task, *command, container="web", stdin=""):
    arguments = [BINARY, "--data", estiva.data, "exec", "--container", container, task, *command]
    return subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=60)


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, command, environment, columns=80, rows=24):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.execvpe(command[0], [str(argument) for argument in command], environment)
        self.pid, self.shown = pid, b""
        self.resize(columns, rows)

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait_for(self, text, timeout=60):
        end = time.monotonic() + timeout
        while text.encode() not in self.shown:
            assert time.monotonic() < end, self.shown
            try:
                self.shown += os.read(self.fd, 65536)
            except OSError:
                assert text.encode() in self.shown, self.shown
        return self.shown.decode(errors="replace")

    def end(self):
        try:
            while data := os.read(self.fd, 65536):
                self.shown += data
        except OSError:
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_the_exit_code_and_both_streams(estiva, task):
    done = exec_(estiva, task, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_input_goes_in_and_ends(estiva, task):
    text = "".join(f"line {number}\n" for number in range(20_000))
    done = exec_(estiva, task, "cat", stdin=text)
    assert (done.stdout, done.returncode) == (text, 0)


def test_it_is_root_in_the_container(estiva, task):
    done = exec_(estiva, task, "sh", "-c", "id -u; pwd; ls /bin/busybox; readlink /proc/self/ns/pid")
    user, _, _, namespace = done.stdout.splitlines()
    assert user == "0" and namespace != os.readlink("/proc/self/ns/pid")


def test_a_read_only_root_is_no_hindrance(estiva, task):
    done = exec_(estiva, task, "sh", "-c", "echo here; touch /file", container="frozen")
    assert done.stdout == "here\n" and done.returncode == 1 and "Read-only" in done.stderr


def test_a_program_that_is_not_there(estiva, task):
    done = exec_(estiva, task, "/no/such/program")
    assert done.returncode == 126 and "/no/such/program" in done.stderr


def test_words_are_split_as_a_shell_would(estiva, task):
    done = exec_(estiva, task, "echo", "two words", "$HOME", "it's")
    assert done.stdout == "two words $HOME it's\n"


def test_a_terminal_with_its_size(estiva, task):
    command = [BINARY, "--data", estiva.data, "exec", "--container", "web", task]
    terminal = Terminal(command, estiva.environment, columns=91, rows=33)
    terminal.type("test -t 0 && echo is a term''inal; stty size\r")
    terminal.wait_for("is a terminal")
    terminal.wait_for("33 91")
    terminal.resize(100, 44)
    terminal.type("sleep 0.3; stty size\r")
    terminal.wait_for("44 100")
    terminal.type("exit 5\r")
    assert terminal.end() == 5


def test_many_sessions_at_once(estiva, task):
    results = {}

    def one(number):
        done = exec_(estiva, task, "sh", "-c", f"sleep 0.5; echo {number}")
        results[number] = done.stdout + done.stderr

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: f"{number}\n" for number in range(12)}


def test_the_aws_cli_with_a_session_plugin(estiva, task, plugin_path):
    command = [AWS, "ecs", "execute-command", "--task", task, "--container", "web", "--interactive", "--command", "/bin/sh"]
    terminal = Terminal(command, {**estiva.environment, "PATH": plugin_path})
    terminal.type("echo sum $((20 + 3))\r")
    terminal.wait_for("sum 23")
    terminal.type("exit\r")
    assert terminal.end() == 0


def test_a_session_that_is_left_ends_its_program(estiva, task):
    command = [BINARY, "--data", estiva.data, "exec", "--container", "web", task, "--", "sleep", "7654"]
    caller = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    running = lambda: "7654" in exec_(estiva, task, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout.replace("cat", "")  # noqa: E731
    eventually(running)
    caller.kill()
    caller.wait()
    eventually(lambda: not running())


def test_the_cluster_keeps_a_record(estiva, task):
    exec_(estiva, task, "echo", "moored fast")
    printed = estiva.estiva("task", task.rsplit("/", 1)[-1]).stdout
    assert "EXECUTE_COMMAND" in printed and "echo 'moored fast'" in printed and ":root" in printed
    # With the container's own log group, unless the cluster says otherwise.
    streams = lambda: estiva.logs.describe_log_streams(logGroupName="/exec", logStreamNamePrefix="ecs-execute-command-")["logStreams"]  # noqa: E731

    def logged():
        return any("moored fast" in "".join(estiva.messages("/exec", it["logStreamName"])) for it in streams())

    assert eventually(logged)


def test_a_token_opens_a_session_once(estiva, task):
    answer = estiva.ecs.execute_command(task=task, container="web", interactive=True, command="sleep 5")
    session = answer["session"]
    opening = {"MessageSchemaVersion": "1.0", "RequestId": "r", "ClientId": "c", "ClientVersion": "1"}

    def connect(token):
        connection = websocket.create_connection(session["streamUrl"], timeout=20)
        connection.send(json.dumps({**opening, "TokenValue": token}))
        return connection

    def is_open(connection):
        opcode, _ = connection.recv_data()
        return opcode == websocket.ABNF.OPCODE_BINARY

    assert not is_open(connect("x" * 43))
    first = connect(session["tokenValue"])
    assert is_open(first)
    assert not is_open(connect(session["tokenValue"]))
    first.close()


def test_refusals(estiva, task):
    def refused(**more):
        arguments = {"task": task, "container": "web", "interactive": True, "command": "true", **more}
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            estiva.ecs.execute_command(**arguments)
        return raised.value.response["Error"]

    assert "Interactive" in refused(interactive=False)["Message"]
    assert refused(container="other")["Code"] == "InvalidParameterException"
    estiva.register("closed", [container(command=["sleep", "1000"], stopTimeout=2)])
    [arn] = estiva.run("closed")
    estiva.wait("RUNNING", arn)
    assert "not enabled" in refused(task=arn, container="main")["Message"]
    estiva.stop(arn)
    assert "not running" in refused(task=arn, container="main")["Message"]


def test_top_shows_what_containers_use(estiva, task):
    def shown():
        tasks = json.loads(estiva.estiva("top", "--json").stdout)
        mine = [it for it in tasks if it["taskArn"] == task]
        return mine[0] if mine and mine[0]["containers"][0].get("cpuPercent") is not None else None

    usage = eventually(shown)
    assert {it["name"] for it in usage["containers"]} == {"web", "frozen"}
    assert all(it["memoryMiB"] > 0 for it in usage["containers"])
    assert task.rsplit("/", 1)[-1] in estiva.estiva("top").stdout


def test_a_hostile_container_reaches_nothing_by_what_is_run_in_it(estiva):
    """CVE-2019-5736, CVE-2024-21626: what enters a container runs its files, and must not hand anything of the host's to them."""
    binary = BINARY.read_bytes()
    script = "rm /bin/cat; printf '#!/proc/self/exe\\n' > /bin/cat; chmod 755 /bin/cat; ln -s / /etc/x; while :; do for p in /proc/[0-9]*/exe; do : >> $p; done; done 2> /dev/null"
    estiva.register("hostile-exec", [shell(script, memory=128, stopTimeout=2)])
    [arn] = estiva.run("hostile-exec", enableExecuteCommand=True)
    estiva.wait("RUNNING", arn)
    for _ in range(20):
        exec_(estiva, arn, "cat", "/etc/hostname", container="main")
        exec_(estiva, arn, "/proc/self/exe", "--help", container="main")
    seen = exec_(estiva, arn, "sh", "-c", "ls -l /proc/self/fd; ls /; readlink /proc/self/cwd", container="main").stdout
    assert str(estiva.data) not in seen and "estiva" not in seen
    assert BINARY.read_bytes() == binary
    estiva.stop(arn)
