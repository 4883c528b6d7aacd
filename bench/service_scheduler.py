"""Services: starts of 1 to 100 tasks, a killed task, a rolling update, scaling in, lost nodes; and Docker Swarm beside it."""

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

COUNTS = (1, 10, 50, 100)
DEFINITION = {"name": "web", "image": "hello", "memory": 16, "portMappings": [{"containerPort": 8080}], "stopTimeout": 2}


def seconds(work):
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def until(check, pause=0.002):
    while not check():
        time.sleep(pause)


class Estiva:
    def __init__(self, client):
        self.client = client

    def describe(self, name):
        return self.client.call("DescribeServices", services=[name])["services"][0]

    def create(self, name, count, **more):
        self.client.call("CreateService", serviceName=name, taskDefinition="one", desiredCount=count, **more)
        until(lambda: self.describe(name)["runningCount"] == count)

    def scale(self, name, count):
        self.client.call("UpdateService", service=name, desiredCount=count)
        until(lambda: self.describe(name)["runningCount"] == count)

    def tasks(self, name):
        return set(self.client.call("ListTasks", serviceName=name, maxResults=100)["taskArns"])

    def replace(self, name, count):
        """From the death of a task's process to its replacement in RUNNING."""
        before = self.tasks(name)
        victim = sorted(before)[0].rsplit("/", 1)[-1]
        [shim] = processes("shim", victim)
        os.kill(children(shim)[0], signal.SIGKILL)

        def replaced():
            new = self.tasks(name) - before
            return new and self.client.call("DescribeTasks", tasks=list(new))["tasks"][0]["lastStatus"] == "RUNNING"

        until(replaced)
        until(lambda: self.describe(name)["runningCount"] == count)

    def update(self, name, definition):
        self.client.call("UpdateService", service=name, taskDefinition=definition)
        until(lambda: [it["rolloutState"] for it in self.describe(name)["deployments"]] == ["COMPLETED"])

    def delete(self, name):
        self.client.call("DeleteService", service=name, force=True)
        until(lambda: self.describe(name)["status"] == "INACTIVE")


def processes(*words):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace") if entry.name.isdigit() else ""
        except OSError:
            continue
        if all(word in arguments for word in words):
            found.append(int(entry.name))
    return found


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def services(here, hello, tools):
    for family in ("one", "two", "three"):
        here.register(family, [DEFINITION])
    estiva = Estiva(tools.RawClient(here))
    estiva.create("warm", 1)
    estiva.delete("warm")
    for count in COUNTS:
        times = []
        for _ in range(3 if count < 50 else 1):
            times.append(seconds(lambda: estiva.create("grown", count)))
            estiva.delete("grown")
        yield f"service of {count}, all RUNNING", f"{statistics.median(times):.2f} s"
    estiva.create("kept", 10)
    time.sleep(2)  # so that its tasks count as healthy
    yield "a killed task replaced, of 10; median of 5", f"{statistics.median(killed(estiva) for _ in range(5)):.2f} s"
    estiva.delete("kept")
    bounds = {"minimumHealthyPercent": 100, "maximumPercent": 140}
    estiva.create("rolled", 10, deploymentConfiguration=bounds)
    until(lambda: estiva.describe("rolled")["deployments"][0]["rolloutState"] == "COMPLETED")
    yield "rolling update of 10, 4 at a time, start first", f"{seconds(lambda: estiva.update('rolled', 'two')):.2f} s"
    estiva.scale("rolled", 50)
    yield "50 scaled in to 5", f"{seconds(lambda: shrunk(estiva, here)):.2f} s"
    estiva.delete("rolled")
    yield from lost_nodes(here, tools)
    if tools.has_docker():
        yield from swarm(hello, tools)


def shrunk(estiva, here):
    """Until the containers have ended; the service counts none of them once they are told to."""
    estiva.scale("rolled", 5)
    until(lambda: len(here.processes("shim")) == 5, 0.02)


def killed(estiva):
    time.sleep(1)
    return seconds(lambda: estiva.replace("kept", 10))


def lost_nodes(here, tools):
    """Another node, whose agent is killed for good, or stopped so that it is silent."""
    here.down("--keep-tasks")
    here.up("--healthy-after", "0s", "--lost-node-after", "0s")
    for what, by in (("its connection closed", signal.SIGKILL), ("it fell silent", signal.SIGSTOP)):
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([here.binary, "--data", directory, "image", "import", str(tools.IMAGE)], check=True, capture_output=True)
            keys = json.loads((here.data / "credentials.json").read_text())["node"]
            environment = {**os.environ, "AWS_ACCESS_KEY_ID": keys["access_key_id"], "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"]}
            command = [here.binary, "--data", directory, "agent", "--server", here.endpoint]
            agent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            until(lambda: len(here.ecs.list_container_instances(filter="agentConnected == true")["containerInstanceArns"]) == 2)
            estiva = Estiva(tools.RawClient(here))
            estiva.create("moved", 20, availabilityZoneRebalancing="DISABLED")
            os.kill(agent.pid, by)

            def moved():
                service = estiva.describe("moved")
                if service["runningCount"] < 20:
                    return False
                tasks = estiva.client.call("DescribeTasks", tasks=sorted(estiva.tasks("moved")))["tasks"]
                return len({task["containerInstanceArn"] for task in tasks}) == 1 and all(it["lastStatus"] == "RUNNING" for it in tasks)

            yield f"10 tasks of a node elsewhere, once {what}", f"{seconds(lambda: until(moved)):.2f} s"
            os.kill(agent.pid, signal.SIGCONT) if by == signal.SIGSTOP else None
            agent.kill()
            agent.wait()
            agent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            estiva.delete("moved")
            agent.terminate()
            agent.wait()
            subprocess.run([here.binary, "--data", directory, "down"], check=True, capture_output=True)


class Engine:
    """Docker's API over its socket: the command line takes longer than the engine."""

    def get(self, path):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect("/var/run/docker.sock")
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

    def tasks(self, name):
        return [task for task in self.get("/tasks") if task["ServiceID"] == name]

    def running(self, name, image=None):
        wanted = [it for it in self.tasks(name) if it["DesiredState"] == "running" and it["Status"]["State"] == "running"]
        return [it for it in wanted if image is None or it["Spec"]["ContainerSpec"]["Image"].startswith(image)]


def swarm(hello, tools):
    engine = Engine()
    with tools.docker_image(hello) as image:
        tools.docker("tag", image, "estiva-bench-two")
        tools.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        create = ["service", "create", "-q", "--detach", "--no-resolve-image", "--limit-memory", "16m", "--stop-grace-period", "2s", "-p", "8080"]

        def made(count, *more):
            name = tools.docker(*create, "--replicas", str(count), *more, image)
            until(lambda: len(engine.running(name)) == count)
            return name

        def removed(name):
            tools.docker("service", "rm", name)
            until(lambda: not tools.docker("ps", "-q"))

        removed(made(1))
        for count in COUNTS:
            names = []
            taken = seconds(lambda: names.append(made(count)))
            removed(names[0])
            yield f"Swarm: service of {count}, all running", f"{taken:.2f} s"
        for what, delay in (("default", "5s"), ("without restart delay", "0s")):
            name = made(10, "--restart-delay", delay)
            times = []
            for _ in range(3):
                before = {it["ID"] for it in engine.running(name)}
                container = next(iter(engine.running(name)))["Status"]["ContainerStatus"]["PID"]
                os.kill(container, signal.SIGKILL)
                times.append(seconds(lambda: until(lambda: len(engine.running(name)) == 10 and {it["ID"] for it in engine.running(name)} != before)))
            yield f"Swarm: a killed task replaced, of 10 ({what})", f"{statistics.median(times):.2f} s"
            removed(name)
        name = made(10, "--update-parallelism", "4", "--update-order", "start-first", "--update-delay", "0s", "--update-monitor", "0s")
        taken = seconds(lambda: (tools.docker("service", "update", "-q", "--detach", "--no-resolve-image", "--image", "estiva-bench-two", name), until(lambda: updated(engine, name))))
        yield "Swarm: rolling update of 10, 4 at a time, start first", f"{taken:.2f} s"
        tools.docker("service", "scale", "-d", f"{name}=50")
        until(lambda: len(engine.running(name)) == 50)
        tools.docker("service", "scale", "-d", f"{name}=5")
        yield "Swarm: 50 scaled in to 5", f"{seconds(lambda: until(lambda: len(tools.docker('ps', '-q').split()) == 5)):.2f} s"
        removed(name)
        tools.docker("swarm", "leave", "--force")
        tools.docker("rmi", "-f", "estiva-bench-two")


def updated(engine, name):
    status = engine.get(f"/services/{name}").get("UpdateStatus", {}).get("State")
    return status == "completed" and len(engine.running(name, "estiva-bench-two")) == 10
