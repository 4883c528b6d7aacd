"""Fixtures: images made from static binaries, and an installation that most tests share."""

import shutil
import subprocess
import sys

import pytest

from installation import ROOT, Installation
from services import Service

sys.path.insert(0, str(ROOT / "tools"))
from oci_image import write_image  # noqa: E402

APPLETS = [
    "cat", "chmod", "date", "dd", "df", "echo", "env", "fallocate", "find", "grep", "head", "hostname", "id", "ip", "kill",
    "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv", "nc", "nsenter", "ps", "pwd", "readlink", "rm", "seq",
    "sh", "sleep", "stat", "stty", "tail", "timeout", "touch", "tr", "true", "tty", "unshare", "wc", "wget", "yes",
]
ACCOUNTS = [
    ("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\nskipper:x:1500:1600:skipper:/home/skipper:/bin/sh\n", 0o644, (0, 0)),
    ("/etc/group", b"root:x:0:\nharbour:x:1600:\npilots:x:1700:other,skipper\ncooks:x:1800:other\n", 0o644, (0, 0)),
]
# What the image has where it declares a volume.
CARGO = [
    ("/srv/cargo", None, 0o2750, (1500, 1600)),
    ("/srv/cargo/manifest", b"40 barrels\n", 0o640, (1500, 1700)),
    ("/srv/cargo/hold", None, 0o1777, (0, 1600)),
    ("/srv/cargo/hold/barrel", b"salt\n", 0o4755, (0, 0)),
]


@pytest.fixture(scope="session")
def image_files(tmp_path_factory):
    """OCI layouts by name: busybox, and the sample."""
    directory = tmp_path_factory.mktemp("images")
    write_busybox(directory / "busybox.tar", "busybox", Cmd=["sh"])
    hello = build_hello()
    write_image(directory / "hello.tar", "hello", [(hello, "/hello")], Entrypoint=["/hello"])
    return {"busybox": directory / "busybox.tar", "hello": directory / "hello.tar"}


def write_busybox(out, name, **more):
    links = [(f"/bin/{applet}", "busybox") for applet in APPLETS]
    write_image(out, name, [(shutil.which("busybox"), "/bin/busybox")], links, **more)


def build_hello():
    target = subprocess.run([ROOT / "tools/build-hello"], check=True, capture_output=True, text=True)
    return target.stdout.strip()


@pytest.fixture
def new_installation(tmp_path, image_files):
    """Makes installations that are up and have the images; takes each down afterwards."""
    made = []

    def make(*arguments):
        here = Installation(tmp_path / f"estiva{len(made)}")
        made.append(here)
        for file in image_files.values():
            here.estiva("image", "import", str(file))
        here.up(*arguments)
        return here

    yield make
    for here in made:
        here.down()


@pytest.fixture(scope="session")
def estiva(tmp_path_factory, image_files):
    """The installation that tests share which leave it as they found it."""
    here = Installation(tmp_path_factory.mktemp("estiva") / "data")
    for file in image_files.values():
        here.estiva("image", "import", str(file))
    here.up()
    yield here
    here.down()


@pytest.fixture(autouse=True)
def as_it_was(request):
    """Stops what a test left running in the shared installation, so that one that fails does so alone."""
    if "estiva" not in request.fixturenames:
        yield
        return
    estiva = request.getfixturevalue("estiva")
    before = set(estiva.running_tasks())
    yield
    for arn in set(estiva.running_tasks()) - before:
        estiva.stop(arn)


@pytest.fixture(scope="session")
def furnished(estiva, tmp_path_factory):
    """An image of the shared installation that has accounts, an entry point, and a volume with content and owners."""
    file = tmp_path_factory.mktemp("images") / "furnished.tar"
    config = {"Entrypoint": ["/bin/echo", "from the image:"], "Cmd": ["nothing"], "Volumes": {"/srv/cargo": {}}}
    write_busybox(file, "furnished", entries=ACCOUNTS + CARGO, **config)
    estiva.estiva("image", "import", str(file))
    return "furnished"


@pytest.fixture
def new_service(estiva):
    """Makes services in the shared installation, as `Service` has it; deletes each afterwards."""
    made = []

    def make(*arguments, **more):
        made.append(Service(estiva, *arguments, **more))
        return made[-1]

    yield make
    for service in made:
        if service.show()["status"] != "INACTIVE":
            service.delete()
