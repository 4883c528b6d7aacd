"""Tasks as places to flood from and to ask from: programs run in the network that a task has."""

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

from installation import eventually

PROGRAMS = Path(__file__).parent / "programs"
ENDPOINT = "169.254.170.2"


class Place:
    """A task, and the way into the network that it has."""

    def __init__(self, here, arn):
        self.here, self.arn = here, arn
        self.pid = eventually(self.process)

    def process(self):
        task = self.arn.rsplit("/", 1)[-1]
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"sleep\x0010000"):
                    if task in (entry / "cgroup").read_text():
                        return int(entry.name)
        return None

    def within(self, program, *arguments, **options):
        command = ["nsenter", "-t", str(self.pid), "-n", sys.executable, PROGRAMS / program, *map(str, arguments)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)

    def ask(self, url, times=1):
        """The statuses of so many requests, each on a connection of its own."""
        printed, _ = self.within("ask.py", url, times).communicate()
        return [line.split()[0] for line in printed.splitlines()]

    @contextlib.contextmanager
    def flood(self, address, kind, connections, opened, path="/"):
        flood = self.within("flood.py", address, kind, connections, opened, path)
        try:
            yield int(flood.stdout.readline().split()[1])
        finally:
            flood.communicate()

    def environment(self):
        text = Path(f"/proc/{self.pid}/environ").read_text()
        return dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)

    @property
    def credentials_url(self):
        return f"http://{ENDPOINT}{self.environment()['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']}"

    def credentials(self):
        program = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
        command = ["nsenter", "-t", str(self.pid), "-n", sys.executable, "-c", program, self.credentials_url]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def resident_mb(here):
    [server] = here.processes("server")
    status = Path(f"/proc/{server}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024
