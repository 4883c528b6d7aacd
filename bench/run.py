"""Measures Estiva, and Docker beside it where it is installed and runs. Prints a table; `make bench` runs it.

    bench/run.py [services] [task-start] [api] [footprint] [scale] [density] [neighbours] [placement] [simulation]

ESTIVA_BIN names another program than that of the release build.
"""

import concurrent.futures
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]
import botocore.auth  # noqa: E402
import botocore.awsrequest  # noqa: E402
import botocore.credentials  # noqa: E402
import installation  # noqa: E402
import oci_image  # noqa: E402
from density import density  # noqa: E402
from neighbours import neighbours  # noqa: E402
from service_scheduler import services  # noqa: E402

installation.BINARY = Path(os.environ.get("ESTIVA_BIN", ROOT / "target/release/estiva"))
IMAGE = None
HELLO = {"name": "web", "image": "hello", "memory": 16, "portMappings": [{"containerPort": 8080}]}


class RawClient:
    """Signs and sends by hand: boto3 takes longer for a call than the server does."""

    def __init__(self, here):
        keys = json.loads((here.data / "credentials.json").read_text())["owner"]
        self.id, self.secret, self.port = keys["access_key_id"], keys["secret_access_key"], here.port
        self.connection = http.client.HTTPConnection("127.0.0.1", here.port)
        self.day = None

    def call(self, operation, **request):
        body = json.dumps(request).encode()
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        day, scope = now[:8], f"{now[:8]}/us-east-1/ecs/aws4_request"
        if day != self.day:
            key = ("AWS4" + self.secret).encode()
            for part in (day, "us-east-1", "ecs", "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self.day, self.key = day, key
        target = f"AmazonEC2ContainerServiceV20141113.{operation}"
        digest = hashlib.sha256(body).hexdigest()
        signed = "host;x-amz-date;x-amz-target"
        canonical = f"POST\n/\n\nhost:127.0.0.1:{self.port}\nx-amz-date:{now}\nx-amz-target:{target}\n\n{signed}\n{digest}"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
        authorization = f"AWS4-HMAC-SHA256 Credential={self.id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        headers = {"X-Amz-Date": now, "X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1", "Authorization": authorization}
        self.connection.request("POST", "/", body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return json.loads(content)


def start(directory, *images):
    here = installation.Installation(Path(directory) / "data")
    for image in images:
        here.estiva("image", "import", str(image))
    here.up()
    return here


def until_running(client, arns):
    while True:
        tasks = client.call("DescribeTasks", tasks=arns)["tasks"]
        assert not any("stoppedReason" in task for task in tasks), tasks
        if all(task["lastStatus"] == "RUNNING" for task in tasks):
            return
        time.sleep(0.001)


def stop_all(here, client):
    arns = here.ecs.list_tasks()["taskArns"]
    for arn in arns:
        client.call("StopTask", task=arn)
    while here.ecs.list_tasks()["taskArns"] or here.processes("shim"):
        time.sleep(0.05)


def milliseconds(work):
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def docker(*arguments):
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def has_docker():
    return shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def task_start(here, hello):
    client = RawClient(here)
    here.register("bench", [HELLO])

    def one():
        until_running(client, [client.call("RunTask", taskDefinition="bench")["tasks"][0]["taskArn"]])

    one()
    single = [milliseconds(one) for _ in range(50)]
    stop_all(here, client)

    def twenty():
        arns = [it["taskArn"] for _ in range(2) for it in client.call("RunTask", taskDefinition="bench", count=10)["tasks"]]
        until_running(client, arns)

    at_once = []
    for _ in range(3):
        at_once.append(milliseconds(twenty))
        stop_all(here, client)
    rows = [("RunTask to RUNNING, p50", f"{statistics.median(single):.0f} ms"), ("… p99", f"{percentile(single, 0.99):.0f} ms")]
    rows.append(("20 tasks at once, all RUNNING", f"{statistics.median(at_once):.0f} ms"))
    if has_docker():
        rows += docker_start(hello)
    return rows


@contextlib.contextmanager
def docker_image(hello):
    with tempfile.TemporaryDirectory() as directory:
        tar = Path(directory) / "root.tar"
        subprocess.run(["tar", "-C", str(hello.parent), "-cf", str(tar), hello.name], check=True)
        docker("import", "--change", f'ENTRYPOINT ["/{hello.name}"]', str(tar), "estiva-bench")
    yield "estiva-bench"
    docker("rmi", "-f", "estiva-bench")


def docker_start(hello):
    with docker_image(hello) as image:
        return docker_start_of(image)


def docker_start_of(image):
    made = []

    def one():
        made.append(docker("run", "-d", "-m", "16m", "-P", image))

    one()
    single = [milliseconds(one) for _ in range(20)]

    def twenty():
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda _: one(), range(20)))

    at_once = milliseconds(twenty)
    docker("rm", "-f", *made)
    return [("docker run -d, p50", f"{statistics.median(single):.0f} ms"), ("20 docker run -d at once", f"{at_once:.0f} ms")]


def api(here, _):
    """Eight connections from eight processes: one interpreter cannot ask fast enough."""
    here.register("api", [{**HELLO, "portMappings": []}])
    client = RawClient(here)
    arn = client.call("RunTask", taskDefinition="api")["tasks"][0]["taskArn"]
    until_running(client, [arn])
    node = simulated_node(here)
    rows = []
    for name, call in (
        ("DescribeTasks calls/s", ("DescribeTasks", {"tasks": [arn]})),
        ("RunTask calls/s (durable writes, node simulated)", ("RunTask", {"taskDefinition": "api", "cluster": "simulated"})),
        ("RegisterTaskDefinition calls/s (durable writes)", ("RegisterTaskDefinition", {"family": "w", "containerDefinitions": [HELLO]})),
    ):
        rows.append((name, f"{rate(here, *call):,.0f}"))
    node.close()
    stop_all(here, client)
    return rows


def scale(here, _):
    """What 100,000 tasks in the store cost those who ask about one of them, or for the next page."""
    here.register("api", [{**HELLO, "portMappings": []}])
    node = simulated_node(here)
    client = RawClient(here)
    request = {"taskDefinition": "api", "cluster": "simulated", "count": 10}
    arn = client.call("RunTask", **request)["tasks"][0]["taskArn"]
    asked = (("DescribeTasks", {"cluster": "simulated", "tasks": [arn]}), ("ListTasks", {"cluster": "simulated", "maxResults": 10}))
    before = [rate(here, *call) for call in asked]
    begun, made = time.monotonic(), 10
    while made < 100_000:
        made += 10 * rate(here, "RunTask", request, seconds=2.0) * 2.0
    taken = time.monotonic() - begun
    time.sleep(3)  # until what was written has settled
    after = [rate(here, *call) for call in asked]
    rows = [(f"{name} calls/s with 10 tasks", f"{few:,.0f}") for (name, _), few in zip(asked, before)]
    rows += [(f"{name} calls/s with {made:,.0f} tasks", f"{many:,.0f}") for (name, _), many in zip(asked, after)]
    server = memory(here.processes("server"))["rss"]
    node.close()
    rows += [
        ("tasks made a second", f"{made / taken:,.0f}"),
        ("server: RSS with them", f"{server:,.0f} MB"),
        ("start to the first answer with them", f"{milliseconds_to_first_answer(here):,.0f} ms"),
    ]
    return rows


def simulated_node(here):
    """A container instance with room for everything: its session is open, and what is sent over it is thrown away."""
    here.ecs.create_cluster(clusterName="simulated")
    resources = [{"name": name, "type": "INTEGER", "integerValue": 2_000_000_000} for name in ("CPU", "MEMORY")]
    answer = here.ecs.register_container_instance(cluster="simulated", totalResources=resources)
    arn = urllib.parse.quote(answer["containerInstance"]["containerInstanceArn"], safe="")
    keys = json.loads((here.data / "credentials.json").read_text())["owner"]
    url = f"{here.endpoint}/acs/ws?clusterArn=simulated&containerInstanceArn={arn}"
    request = botocore.awsrequest.AWSRequest("GET", url)
    credentials = botocore.credentials.Credentials(keys["access_key_id"], keys["secret_access_key"])
    botocore.auth.SigV4Auth(credentials, "ecs", "us-east-1").add_auth(request)
    upgrade = {"Host": f"127.0.0.1:{here.port}", "Connection": "Upgrade", "Upgrade": "websocket"}
    upgrade |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    lines = [f"{name}: {value}" for name, value in {**upgrade, **dict(request.headers.items())}.items()]
    node = socket.create_connection(("127.0.0.1", here.port))
    node.sendall(("\r\n".join([f"GET {url.removeprefix(here.endpoint)} HTTP/1.1", *lines]) + "\r\n\r\n").encode())

    def drain():
        with contextlib.suppress(OSError):
            while node.recv(1 << 20):
                pass

    def live():
        """A pong every second: a node that shows no sign of life is taken for silent."""
        with contextlib.suppress(OSError):
            while True:
                node.sendall(b"\x8a\x80\x00\x00\x00\x00")
                time.sleep(1)

    assert b" 101 " in node.recv(1 << 16)
    threading.Thread(target=drain, daemon=True).start()
    threading.Thread(target=live, daemon=True).start()
    return node


def rate(here, operation, request, seconds=3.0, connections=8):
    with concurrent.futures.ProcessPoolExecutor(connections) as pool:
        counts = pool.map(hammer, [(str(here.data), here.port, operation, request, seconds)] * connections)
        return sum(counts) / seconds


def hammer(work):
    data, port, operation, request, seconds = work
    here = installation.Installation(data)
    here.port = port
    client, count, end = RawClient(here), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        client.call(operation, **request)
        count += 1
    return count


def footprint(here, hello):
    client = RawClient(here)
    here.register("bench", [HELLO])
    idle = {part: memory(here.processes(part)) for part in ("server", "agent", "up")}
    first_answer = milliseconds_to_first_answer(here)
    for _ in range(5):
        client.call("RunTask", taskDefinition="bench", count=10)
    while len(here.ecs.list_tasks()["taskArns"]) < 50 or len(here.processes("shim")) < 50:
        time.sleep(0.1)
    time.sleep(1)
    shims = here.processes("shim")
    parts = sum(memory(here.processes(part))["pss"] for part in ("server", "agent", "up"))
    held = memory(shims)["pss"]
    stop_all(here, client)
    rows = [(f"{part}, idle: RSS / PSS", f"{idle[part]['rss']:.1f} / {idle[part]['pss']:.1f} MB") for part in idle]
    rows += [
        ("start of the control plane to its first answer", f"{first_answer:.0f} ms"),
        ("a shim: PSS, of 50", f"{held / len(shims):.2f} MB"),
        ("all daemons a running container (50): PSS", f"{(parts + held) / len(shims):.2f} MB"),
    ]
    return rows + docker_footprint(hello) if has_docker() else rows


def docker_footprint(hello):
    with docker_image(hello) as image:
        made = [docker("run", "-d", "-m", "16m", "-P", image) for _ in range(50)]
        pids = subprocess.run(["pgrep", "dockerd|containerd|docker-proxy"], capture_output=True, text=True, check=True).stdout.split()
        held = memory(pids)["pss"]
        docker("rm", "-f", *made)
    return [("Docker: all daemons a running container (50): PSS", f"{held / 50:.2f} MB")]


def milliseconds_to_first_answer(here):
    here.down("--keep-tasks")
    server = subprocess.Popen([installation.BINARY, "--data", here.data, "--listen", f"127.0.0.1:{here.port}", "server"], stderr=subprocess.DEVNULL)

    def answered():
        while True:
            try:
                return RawClient(here).call("ListClusters")
            except OSError:
                time.sleep(0.001)

    taken = milliseconds(answered)
    server.terminate()
    server.wait()
    here.up()
    return taken


def memory(pids):
    """RSS and PSS of processes together, in MB."""
    total = {"rss": 0.0, "pss": 0.0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.lower() in total:
                total[name.lower()] += int(value.split()[0]) / 1000
    return total


def dense(here, _):
    return density(here, sys.modules[__name__])


def shared(here, hello):
    return neighbours(here, hello, sys.modules[__name__])


def placement(*_):
    """Planning alone, without store and network; a program in Rust, because the caller's time is the callee's here."""
    command = ["cargo", "run", "--release", "-q", "-p", "estiva-planning", "--example", "placement_bench"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [tuple(line.split("\t")) for line in lines]


def simulation(*_):
    """The real control plane and 5,000 simulated nodes in one process, on a virtual clock."""
    command = ["cargo", "run", "--release", "-q", "-p", "estiva-sim", "--example", "scale"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [tuple(line.split("\t")) for line in lines]


def of_services(here, hello):
    here.down()
    here.up("--healthy-after", "0s")
    return services(here, hello, sys.modules[__name__])


BENCHES = {"services": of_services, "task-start": task_start, "api": api, "footprint": footprint, "scale": scale, "density": dense, "neighbours": shared, "placement": placement, "simulation": simulation}


def main():
    chosen = sys.argv[1:] or list(BENCHES)
    hello = Path(subprocess.run([ROOT / "tools/build-hello"], check=True, capture_output=True, text=True).stdout.strip())
    with tempfile.TemporaryDirectory() as directory:
        global IMAGE
        image = IMAGE = Path(directory) / "hello.tar"
        oci_image.write_image(image, "hello", [(hello, "/hello")], Entrypoint=["/hello"])
        for name in chosen:
            print(f"\n{name}")
            # An installation of its own: what one leaves in the store is not the next one's to carry.
            here = start(Path(directory) / name, image)
            try:
                for what, value in BENCHES[name](here, hello):
                    print(f"  {what:<76}{value:>24}" if name == "neighbours" else f"  {what:<52}{value:>20}", flush=True)
            finally:
                here.down()


if __name__ == "__main__":
    main()
