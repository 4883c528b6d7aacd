"""A task that does as it is told from within one of its containers: where an address or a namespace is what matters."""

import http.client
import io
import json
import os
from dataclasses import dataclass

from installation import eventually, shell

# Scripts come by number through a pipe; what a script wrote is complete once its file has its last name.
OBEY = "while read number; do sh /told/$number > /told/$number.part 2>&1; mv /told/$number.part /told/$number.done; done < /told/pipe"


@dataclass
class Answer:
    status: int
    text: str

    @property
    def json(self):
        return json.loads(self.text)


class Inside:
    """One such task. `more` is what RunTask has; `containers` come beside the one that obeys."""

    def __init__(self, estiva, family, directory, containers=(), settings=(), run=(), **definition):
        self.estiva, self.directory, self.count = estiva, directory, 0
        directory.mkdir()
        os.mkfifo(directory / "pipe")
        mounts = [{"sourceVolume": "told", "containerPath": "/told"}]
        main = shell(OBEY, stopTimeout=2, mountPoints=mounts, **dict(settings))
        volumes = [{"name": "told", "host": {"sourcePath": str(directory)}}]
        estiva.register(family, [main, *containers], volumes=volumes, **definition)
        [self.arn] = estiva.run(family, **dict(run))
        self.task = estiva.wait("RUNNING", self.arn)
        # Opened for both, lest it waits for the other end.
        self.pipe = os.open(directory / "pipe", os.O_RDWR)

    @property
    def id(self):
        return self.arn.rsplit("/", 1)[-1]

    def sh(self, script):
        """What a script writes."""
        return self.told(script, lambda number: None)

    def told(self, script, meanwhile):
        self.count += 1
        (self.directory / str(self.count)).write_text(script)
        os.write(self.pipe, b"%d\n" % self.count)
        meanwhile(self.count)
        done = self.directory / f"{self.count}.done"
        eventually(done.exists)
        return done.read_text(errors="replace")

    def environment(self):
        return dict(line.split("=", 1) for line in self.sh("env").splitlines() if "=" in line)

    def send(self, address, data):
        """What comes back on a connection over which `data` is sent; the other end must close it."""
        host, _, port = address.partition(":")
        pipe = self.directory / f"request{self.count + 1}"
        os.mkfifo(pipe)

        def feed(_):
            # Stays open for as long as the script runs: half a connection is none to some.
            self.feeding = os.open(pipe, os.O_RDWR)
            os.write(self.feeding, data)

        try:
            return self.told(f"nc {host} {port or 80} < /told/{pipe.name}", feed)
        finally:
            os.close(self.feeding)

    def request(self, url, method="GET", body=None, **headers):
        """The answer to one HTTP request."""
        address, _, path = url.removeprefix("http://").partition("/")
        data = json.dumps(body).encode() if isinstance(body, dict) else (body or b"")
        headers = {"Host": address, "Connection": "close", "Content-Length": str(len(data)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        raw = self.send(address, f"{method} /{path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        response = http.client.HTTPResponse(Connection(raw.encode()))
        response.begin()
        return Answer(response.status, response.read().decode())

    def end(self):
        os.close(self.pipe)
        return self.estiva.stop(self.arn)


class Connection:
    """What http.client reads an answer from."""

    def __init__(self, data):
        self.data = data

    def makefile(self, _mode):
        return io.BytesIO(self.data)
