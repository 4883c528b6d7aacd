"""State that was damaged on disk: it is refused with a reason and a way on, tasks run on, and nothing is lost silently."""

import json
import os
import shutil
import signal

import pytest
from installation import container, eventually

CLUSTERS = 60


def clusters(here):
    pages = here.ecs.get_paginator("list_clusters").paginate()
    return {arn.rsplit("/", 1)[1] for page in pages for arn in page["clusterArns"]}


def flip(file, at):
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def truncate(file, length):
    os.truncate(file, length)


class Crashed:
    """An installation with a task and sixty clusters, killed in the moment after the last was acknowledged."""

    def __init__(self, here):
        self.here, self.store = here, here.data / "server/store"
        here.register("keeper", [container(command=["sleep", "1000"], stopTimeout=2)])
        [self.task] = here.run("keeper")
        here.wait("RUNNING", self.task)
        self.keys = (here.data / "credentials.json").read_bytes()
        self.node = (here.data / "node/container-instance-arn").read_bytes()
        self.made = self.write_and_kill()
        self.shims = here.processes("shim")
        assert len(self.shims) == 1
        self.saved = here.data.parent / "saved"
        shutil.copytree(self.store, self.saved)

    def write_and_kill(self):
        """Clusters until enough of them are in the log alone: a server that finds a moment to rest empties it."""
        here, log = self.here, self.store / "store.db-wal"
        [up], [server], made = here.processes("up"), here.processes("server"), set()
        while True:
            name = f"c{len(made)}"
            here.ecs.create_cluster(clusterName=name)
            made.add(name)
            if len(made) >= CLUSTERS:
                os.kill(server, signal.SIGSTOP)
                if log.stat().st_size > 60_000:
                    break
                os.kill(server, signal.SIGCONT)
        # Else it would start the others again, or let them end in good order.
        os.kill(up, signal.SIGSTOP)
        here.kill("server")
        here.kill("agent")
        here.kill("up")
        eventually(lambda: not any(here.processes(part) for part in ("up", "server", "agent")))
        return made

    def put_back(self):
        shutil.rmtree(self.store)
        shutil.copytree(self.saved, self.store)

    def refused(self):
        """What `up` says on the terminal."""
        done = self.here.estiva("up", "--detach", check=False)
        assert done.returncode != 0
        assert "estiva store accept-loss" in done.stderr or "backup" in done.stderr, done.stderr
        assert str(self.store) in done.stderr
        # The log has the same.
        assert done.stderr.strip().rsplit(": ", 1)[1] in self.here.log()
        assert (self.here.data / "node/container-instance-arn").read_bytes() == self.node
        assert (self.here.data / "credentials.json").read_bytes() == self.keys
        assert self.here.processes("shim") == self.shims
        return done.stderr

    def all_is_there(self):
        assert clusters(self.here) >= self.made
        assert self.here.task(self.task)["lastStatus"] == "RUNNING"
        assert self.here.processes("shim") == self.shims
        assert (self.here.data / "node/container-instance-arn").read_bytes() == self.node
        assert (self.here.data / "credentials.json").read_bytes() == self.keys
        instances = self.here.ecs.list_container_instances()["containerInstanceArns"]
        assert instances == [self.node.decode().strip()]


@pytest.fixture
def crashed(new_installation):
    return Crashed(new_installation())


def test_a_damaged_log_is_refused_and_tasks_run_on(crashed):
    log, mark, database = (crashed.store / name for name in ("store.db-wal", "store.mark", "store.db"))
    size = log.stat().st_size
    damages = {
        "a bit in the middle": lambda: flip(log, size // 2),
        "the header": lambda: flip(log, 0),
        "the header's salt": lambda: flip(log, 20),
        "cut": lambda: truncate(log, size // 2),
        "removed": log.unlink,
        "removed with the mark": lambda: (log.unlink(), mark.unlink()),
        "the database removed": database.unlink,
        "the whole store removed": lambda: shutil.rmtree(crashed.store),
    }
    for name, damage in damages.items():
        damage()
        print(name, crashed.refused())
        crashed.put_back()
    # What is harmless.
    (crashed.store / "store.db-shm").write_bytes(b"\xa5" * 32768)
    (crashed.here.data / "credentials.json").write_bytes(crashed.keys[:20])
    crashed.here.up()
    crashed.all_is_there()


def test_a_loss_is_accepted_by_name_only(crashed):
    here = crashed.here
    log = crashed.store / "store.db-wal"
    flip(log, log.stat().st_size // 2)
    assert "accept-loss" in crashed.refused()
    assert "was committed" in here.estiva("store", "accept-loss").stdout
    here.up()
    assert clusters(here) - {"default"} < crashed.made
    assert here.task(crashed.task)["lastStatus"] == "RUNNING"
    assert "stop Estiva first" in here.estiva("store", "accept-loss", check=False).stderr


def test_a_backup_of_a_store_in_use_is_whole(new_installation, tmp_path):
    here, backup = new_installation(), tmp_path / "backup"
    for number in range(3):
        here.ecs.create_cluster(clusterName=f"before{number}")
    here.estiva("store", "backup", str(backup))
    assert backup.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in backup.iterdir())
    again = here.estiva("store", "backup", str(backup), check=False)
    assert again.returncode != 0 and "not written over" in again.stderr
    here.ecs.create_cluster(clusterName="after")
    keys = json.loads((here.data / "credentials.json").read_text())
    here.down()
    store = here.data / "server/store"
    shutil.rmtree(store)
    shutil.copytree(backup, store)
    here.up()
    assert json.loads((here.data / "credentials.json").read_text()) == keys
    assert {"before0", "before1", "before2"} <= clusters(here) and "after" not in clusters(here)
