"""Images and registries that attack the node which pulls from them."""

import concurrent.futures
import ctypes
import gzip
import hashlib
import json
import os
import socket
import subprocess
import tarfile
import threading
import uuid
from pathlib import Path

import hostile
import oci_image
import pytest
from conftest import APPLETS
from hostile import Canary, directory, entry, layer, link
from installation import Installation, container, eventually, shell
from registry import Registry

CLONE_NEWNET = 0x40000000
MIB = 1 << 20


@pytest.fixture
def registry():
    served = Registry()
    yield served
    served.close()


@pytest.fixture
def canary(tmp_path):
    return Canary(tmp_path / "canary")


@pytest.fixture(scope="session")
def busybox():
    return hostile.base(APPLETS)


def name_of():
    return f"image-{uuid.uuid4().hex[:8]}"


def run(here, definition, timeout=60.0):
    family = f"hostile-{uuid.uuid4().hex[:8]}"
    here.register(family, [definition])
    [arn] = here.run(family)
    return here.wait("STOPPED", arn, timeout=timeout)


def written(here, definition):
    """What a container writes, which ends well."""
    options = {"awslogs-group": "/images", "awslogs-stream-prefix": "t", "awslogs-create-group": "true", "mode": "blocking"}
    task = run(here, {**definition, "logConfiguration": {"logDriver": "awslogs", "options": options}})
    assert task["containers"][0].get("exitCode") == 0, task.get("stoppedReason")
    return here.messages("/images", f"t/main/{task['taskArn'].rsplit('/', 1)[-1]}")


def refused(here, image, **more):
    """The reason for which a task of the image never starts."""
    task = run(here, shell("exit 0", image=image), **more)
    assert task["stopCode"] == "TaskFailedToStart", task
    assert "exitCode" not in task["containers"][0]
    assert task["stoppedReason"].startswith("CannotPullContainerError: "), task["stoppedReason"]
    assert image in task["stoppedReason"]
    assert left_over(here) == []
    return task["stoppedReason"]


def left_over(here):
    return list((here.data / "node/images/tmp").iterdir())


# Archives that lead out.

HARD_LINK = tarfile.LNKTYPE
MARK = b"attacked"


def escapes(outside):
    """Layers by what they try; `outside` is a directory of the host's."""
    up = "../" * 30
    inside = str(outside)[1:]
    return {
        "a name that goes up": [entry(f"{up}{inside}/file", MARK)],
        "a name that goes down and up": [directory("a"), entry(f"a/{up}{inside}/new", MARK)],
        "an absolute name": [entry(f"{outside}/file", MARK)],
        "an absolute name with many slashes": [entry(f"////{outside}/new", MARK)],
        "a long name that goes up": [directory("x" * 90), directory("y" * 90), entry(f"{'x' * 90}/../{'y' * 90}/../{up}{inside}/file", MARK)],
        "a symbolic link, and a file through it": [link("out", outside), entry("out/file", MARK), entry("out/new", MARK)],
        "a relative link, and a file through it": [link("out", f"{up}{inside}"), entry("out/file", MARK)],
        "a link to a link": [link("a", "/"), link("b", f"a/{inside}"), entry("b/file", MARK), directory("b/below/new")],
        "a link that is made a directory of": [link("out", outside), directory("out", mode=0o777), entry("out/new", MARK)],
        "a link that is the file itself": [link("file", outside / "file"), entry("file", MARK)],
        "a link by way of /proc": [link("out", f"/proc/self/root{outside}"), entry("out/file", MARK)],
        "a hard link": [entry("mine", kind=HARD_LINK, target=outside / "file"), entry("mine", MARK)],
        "a hard link that goes up": [entry("mine", kind=HARD_LINK, target=f"{up}{inside}/file")],
        "a hard link through a link": [link("out", outside), entry("mine", kind=HARD_LINK, target="out/file"), entry("mine", MARK)],
        "a hard link to a link": [link("out", outside / "file"), entry("mine", kind=HARD_LINK, target="out"), entry("mine", MARK)],
        "a whiteout that goes up": [entry(f"{up}{inside}/.wh.file")],
        "a whiteout's own name": [directory("a"), entry("a/.wh..."), entry("a/.wh.."), entry(".wh../x")],
        "a whiteout through a link": [link("out", outside), entry("out/.wh.file"), entry("out/.wh.below")],
        "an opaque directory through a link": [link("out", outside), entry("out/.wh..wh..opq")],
        "a device through a link": [link("out", outside), entry("out/device", kind=b"4", devmajor=254, devminor=0)],
        "a link in place of a directory": [directory("a"), entry("a/x"), link("a", outside), entry("a/file", MARK)],
        "names from extended headers": [entry("harmless", MARK, pax_headers={"path": f"{up}{inside}/file"})],
        "targets from extended headers": [
            entry("out", kind=tarfile.SYMTYPE, target="harmless", pax_headers={"linkpath": str(outside)}),
            entry("out/file", MARK),
        ],
    }


ESCAPES = list(escapes(Path("/")))


@pytest.mark.parametrize("attempt", ESCAPES)
def test_a_layer_stays_inside(estiva, registry, canary, busybox, attempt):
    name = name_of()
    hostile.serve(registry, name, [busybox, oci_image.pack(layer(*escapes(canary.directory)[attempt]))])
    task = run(estiva, shell("exit 0", image=f"{registry.host}/{name}"))
    canary.assert_untouched()
    if task["stopCode"] == "TaskFailedToStart":
        assert task["stoppedReason"].startswith("CannotPullContainerError: "), task["stoppedReason"]
    else:
        assert task["containers"][0]["exitCode"] == 0
    assert left_over(estiva) == []


@pytest.mark.parametrize("attempt", ESCAPES)
def test_a_file_that_is_imported_stays_inside(estiva, canary, tmp_path, attempt):
    """The archive around an image, and a root file system, are archives of a stranger's as well."""
    (tmp_path / "root.tar").write_bytes(layer(*escapes(canary.directory)[attempt]))
    name = name_of()
    done = estiva.estiva("image", "import", str(tmp_path / "root.tar"), "--name", name, check=False)
    canary.assert_untouched()
    assert done.returncode == 0 or "cannot unpack" in done.stderr, done.stderr
    assert left_over(estiva) == []


def test_an_archive_around_an_image_leads_nowhere(estiva, canary, tmp_path):
    """The files that make the image up are links."""
    for target in (canary.file, "/proc/self/environ", "/dev/zero"):
        file = tmp_path / "layout.tar"
        file.write_bytes(layer(entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), link("index.json", target)))
        done = estiva.estiva("image", "import", str(file), check=False)
        assert done.returncode == 1
        assert Canary.SECRET not in done.stdout + done.stderr
    canary.assert_untouched()


def test_a_later_layer_cannot_use_the_links_of_an_earlier_one(estiva, registry, canary, busybox):
    name = name_of()
    links = oci_image.pack(layer(link("out", canary.directory), link("etc2", "/etc")))
    files = oci_image.pack(layer(entry("out/file", MARK), entry("out/new", MARK), entry("out/.wh.below"), entry("etc2/passwd", MARK)))
    hostile.serve(registry, name, [busybox, links, files])
    before = Path("/etc/passwd").read_bytes()
    assert written(estiva, shell("cat /out/file", image=f"{registry.host}/{name}")) == [MARK.decode()]
    canary.assert_untouched()
    assert Path("/etc/passwd").read_bytes() == before


# What readers of archives have got wrong.


def header(name, size, kind=b"0", **more):
    info, _ = entry(name, kind=kind, **more)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padded(content):
    return content + bytes(-len(content) % 512)


def extended(**records):
    """A PAX header with records that the library would not write."""
    text = b""
    for key, value in records.items():
        record = f" {key}={value}\n".encode()
        length = len(record) + len(str(len(record)))
        length = len(record) + len(str(length))
        text += str(length).encode() + record
    return header("PaxHeader", len(text), b"x") + padded(text)


END = bytes(1024)
SMUGGLED = header("probe/smuggled", 0)


def readings():
    """Archives that readers disagree about."""
    return {
        # CVE-2025-62518: the size in the extended header counts, or what is in the file is taken for entries.
        "the header's size is 0": extended(size=len(SMUGGLED)) + header("probe/file", 0) + SMUGGLED + header("probe/last", 0) + END,
        # CVE-2026-33055: the other way round.
        "the header's size is larger": extended(size=0) + header("probe/file", 512) + SMUGGLED + header("probe/last", 0) + END,
        "an archive in a file": header("probe/file", len(SMUGGLED) + 1024) + SMUGGLED + END + header("probe/last", 0) + END,
        "a link with contents": header("probe/link", 512, b"2", target="file") + SMUGGLED + header("probe/last", 0) + END,
        "a long name in an extended header": extended(path="probe/long") + header("probe/short", 0) + header("probe/last", 0) + END,
        "what follows the end": header("probe/last", 0) + END + SMUGGLED + END,
        "one empty block": header("probe/first", 0) + bytes(512) + header("probe/last", 0) + END,
    }


def test_a_directory_with_contents_is_refused(estiva, registry, busybox):
    """GNU tar takes the contents for entries, others pass them over: two would see two images."""
    archive = header("probe/dir", 512, b"5") + SMUGGLED + header("probe/last", 0) + END
    name = name_of()
    hostile.serve(registry, name, [busybox, oci_image.pack(archive)])
    assert "a directory has contents" in refused(estiva, f"{registry.host}/{name}")


@pytest.mark.parametrize("reading", list(readings()))
def test_an_archive_is_read_as_gnu_tar_reads_it(estiva, registry, busybox, tmp_path, reading):
    archive = readings()[reading]
    (tmp_path / "layer.tar").write_bytes(archive)
    known = subprocess.run(["tar", "-tf", tmp_path / "layer.tar"], capture_output=True, text=True)
    expected = {line.rstrip("/") for line in known.stdout.splitlines()}
    name = name_of()
    probe = oci_image.pack(layer(directory("probe")))
    hostile.serve(registry, name, [busybox, probe, oci_image.pack(archive)])
    task = run(estiva, shell("exit 0", image=f"{registry.host}/{name}"))
    if task["stopCode"] == "TaskFailedToStart":
        # Not to take what is ambiguous is fine too.
        assert task["stoppedReason"].startswith("CannotPullContainerError: "), task["stoppedReason"]
        return
    lines = written(estiva, shell("find /probe", image=f"{registry.host}/{name}"))
    assert {line[1:] for line in lines} - {"probe"} == expected


def test_a_directory_does_not_change_what_a_link_of_its_name_leads_to(estiva, registry, canary, busybox):
    """CVE-2026-33056: the mode of what the link leads to is set."""
    name = name_of()
    entries = [link("out", canary.directory), directory("out", mode=0o777), link("f", canary.file), directory("f", mode=0o4777)]
    hostile.serve(registry, name, [busybox, oci_image.pack(layer(*entries))])
    lines = written(estiva, shell("stat -c '%a %F' /out /f", image=f"{registry.host}/{name}"))
    canary.assert_untouched()
    assert lines == ["777 directory", "4777 directory"]


# Bombs.


@pytest.fixture
def cramped(tmp_path, image_files):
    """Makes installations whose node has a small file system of its own."""
    made = []

    def make(options):
        here = Installation(tmp_path / f"cramped{len(made)}")
        node = here.data / "node"
        node.mkdir(parents=True, mode=0o700)
        os.chmod(here.data, 0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", node], check=True)
        made.append(here)
        here.estiva("image", "import", str(image_files["busybox"]))
        here.up()
        return here

    yield make
    for here in made:
        here.down()
        subprocess.run(["umount", here.data / "node"], check=True)


def member(content):
    return gzip.compress(content, mtime=0)


def bombs():
    """Small layers, compressed, that unpack to far more."""
    large = 100 << 30
    number = lambda value: b"\x80" + value.to_bytes(11, "big")  # noqa: E731
    # GNU's form of a file with holes: one piece at its very end.
    sparse = bytearray(header("sparse", 512, b"S"))
    sparse[257:265] = b"ustar  \0"
    sparse[345:] = bytes(41) + number(large - 512) + number(512) + bytes(73) + number(large) + bytes(17)
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    return {
        "8 GiB in 8 MiB": member(header("zeros", (8 << 30) - 1)) + member(bytes(16 * MIB)) * 512,
        "100 GiB of nothing": member(bytes(sparse) + bytes(512)),
        "100,000 files": member(b"".join(header(f"{number:07}", 0) for number in range(100_000))),
    }


@pytest.mark.parametrize("kind", ["8 GiB in 8 MiB", "100 GiB of nothing", "100,000 files"])
def test_a_bomb_stops_where_the_disk_ends_and_harms_nobody(cramped, registry, busybox, kind):
    here = cramped("size=64m,nr_inodes=20000")
    # The digest of what it unpacks to is never come to.
    hostile.serve(registry, "bomb", [busybox, ("sha256:" + hashlib.sha256(kind.encode()).hexdigest(), bombs()[kind])])
    here.register("steady", [container(command=["sleep", "1000"], stopTimeout=2)])
    [steady] = here.run("steady")
    before = here.wait("RUNNING", steady)
    agent = here.processes("agent")
    reason = refused(here, f"{registry.host}/bomb")
    assert "space" in reason.lower()
    after = here.wait("RUNNING", steady)
    assert after["containers"][0]["runtimeId"] == before["containers"][0]["runtimeId"]
    # What it had taken is free again, and the node goes on.
    found = os.statvfs(here.data / "node")
    assert found.f_bavail * found.f_frsize > 40 * MIB and found.f_favail > 15_000
    assert run(here, shell("echo x > /x"))["containers"][0]["exitCode"] == 0
    assert here.processes("agent") == agent
    here.stop(steady)


def test_more_entries_than_any_image_has_are_refused(estiva, registry, busybox):
    """2,097,152 entries in some hundred KiB, none of which takes room on the disk."""
    headers = member(header(".wh..wh.none", 0) * 65_536)
    hostile.serve(registry, "entries", [busybox, ("sha256:" + "e" * 64, headers * 32)])
    assert "2000000 entries" in refused(estiva, f"{registry.host}/entries", timeout=120)


def test_a_document_without_end_is_refused(estiva, registry, busybox):
    large = json.dumps({"rootfs": {"diff_ids": []}, "x": "x" * (5 * MIB)}).encode()
    hostile.serve(registry, "config", [busybox], image_config=large)
    assert "too large" in refused(estiva, f"{registry.host}/config")
    digest = hostile.serve(registry, "manifest", [busybox])
    registry.blobs[digest] = registry.blobs[digest][:-1] + b" " * (5 * MIB) + b"}"
    assert "too large" in refused(estiva, f"{registry.host}/manifest")
    deep = b'{"rootfs":{"diff_ids":[]},"config":' + b'{"Env":' * 500_000 + b"}" * 500_001
    hostile.serve(registry, "deep", [busybox], image_config=deep)
    assert "malformed" in refused(estiva, f"{registry.host}/deep")


# Content that is not what its name says.


def test_what_does_not_have_its_digest_never_starts(estiva, registry, busybox):
    own = oci_image.pack(layer(entry("own", uuid.uuid4().bytes)))
    digest = hostile.serve(registry, "app", [busybox, own])
    image = f"{registry.host}/app"
    manifest = json.loads(registry.blobs[digest])
    config, blob = manifest["config"]["digest"], manifest["layers"][1]["digest"]
    honest = dict(registry.blobs)

    def changed(name, content):
        registry.blobs = {**honest, name: content}

    changed(blob, honest[blob][:-1] + bytes([honest[blob][-1] ^ 1]))
    assert "wrong digest" in refused(estiva, image)
    changed(blob, honest[blob][:-10])
    assert "ended too early" in refused(estiva, image)
    changed(blob, honest[blob] + b"x")
    assert "more or less" in refused(estiva, image)
    changed(config, honest[config].replace(b"busybox", b"xxxxxxx").replace(b"PATH", b"HTAP"))
    assert "wrong digest" in refused(estiva, image)
    changed(digest, honest[digest].replace(b"schemaVersion", b"schemaversion"))
    assert "wrong digest" in refused(estiva, f"{image}@{digest}")
    # A blob that has its digest, of a layer that does not have the one which the configuration names.
    other = oci_image.pack(layer(entry("own", b"another")))
    registry.blobs = dict(honest)
    hostile.serve(registry, "swapped", [busybox, (own[0], other[1])])
    assert "wrong digest" in refused(estiva, f"{registry.host}/swapped")
    # Nothing of all that is in the way of the honest one.
    registry.blobs = honest
    assert run(estiva, shell("exit 0", image=image))["containers"][0]["imageDigest"] == digest


class Moving(Registry):
    """Moves a tag as soon as somebody has asked what it stands for."""

    moves = None

    def answer(self, request):
        super().answer(request)
        if self.moves and "/manifests/latest" in request.path:
            self.tags["app:latest"], self.moves = self.moves, None


def test_a_tag_that_moves_in_mid_pull_gives_one_image_or_the_other(estiva, busybox):
    registry = Moving()
    try:
        digests = {}
        for name in ("one", "other"):
            own = oci_image.pack(layer(entry("name", name.encode())))
            digests[name] = hostile.serve(registry, "app", [busybox, own], Env=["PATH=/bin", f"NAME={name}"])
        registry.tags["app:latest"] = digests["one"]
        registry.moves = digests["other"]
        definition = shell("cat /name; echo; echo $NAME", image=f"{registry.host}/app")
        assert written(estiva, definition) == ["one", "one"]
        assert written(estiva, definition) == ["other", "other"]
    finally:
        registry.close()


def test_one_images_content_is_never_anothers(estiva, registry, busybox):
    """The same name and tag elsewhere, and an image that gives out a foreign layer as one that another has."""
    elsewhere = Registry()
    try:
        mine = oci_image.pack(layer(entry("name", b"mine")))
        theirs = oci_image.pack(layer(entry("name", b"theirs")))
        mark = oci_image.pack(layer(entry("mark", uuid.uuid4().bytes)))
        hostile.serve(elsewhere, "library/app", [busybox, theirs], tag="v1")
        hostile.serve(registry, "library/app", [busybox, mine], tag="v1")
        show = lambda image: written(estiva, shell("cat /name; echo", image=image))  # noqa: E731
        for _ in range(2):
            assert show(f"{elsewhere.host}/library/app:v1") == ["theirs"]
            assert show(f"{registry.host}/library/app:v1") == ["mine"]
        # A layer that nobody has yet, poisoned before its image comes.
        hostile.serve(elsewhere, "poison", [busybox, (mark[0], theirs[1])])
        refused(estiva, f"{elsewhere.host}/poison")
        hostile.serve(registry, "marked", [busybox, mine, mark])
        assert show(f"{registry.host}/marked") == ["mine"]
        # Names of this node's own are not a registry's to give.
        for name in ("busybox", "docker.io/library/busybox", "library/busybox"):
            hostile.serve(elsewhere, name, [busybox, theirs])
            show(f"{elsewhere.host}/{name}")
        assert run(estiva, shell("[ ! -e /name ]"))["containers"][0]["exitCode"] == 0
    finally:
        elsewhere.close()


# Configurations.


def test_a_hostile_configuration_is_an_error_with_a_name(estiva, registry, busybox):
    diff_id, agent = busybox[0], estiva.processes("agent")
    layers = {"type": "layers", "diff_ids": [diff_id]}
    with_config = lambda **config: {"rootfs": layers, "config": config}  # noqa: E731
    never = [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"rootfs":null}',
        b"\xff\xfe",
        {"rootfs": {"diff_ids": [diff_id, diff_id]}},
        {"rootfs": {"diff_ids": []}},
        {"rootfs": {"diff_ids": ["sha256:../../../../etc"]}},
        {"rootfs": {"diff_ids": ["../" * 10 + "etc/passwd"]}},
        {"rootfs": {"diff_ids": ["sha256:" + "G" * 64]}},
        {"rootfs": layers, "config": "text"},
        with_config(Env="PATH"),
        with_config(Env=[None]),
        with_config(Env=["A" * 200_000 + "=x"]),
        with_config(Env=["A=" + "x" * 1_000_000]),
        with_config(Env=[f"A{number}=" + "x" * 50_000 for number in range(60)]),
        with_config(Env=["A=\0B"]),
        with_config(Env=[""]),
        with_config(Env=["=x"]),
        with_config(Entrypoint=["/bin/\0sh"]),
        with_config(Entrypoint=[""]),
        with_config(Entrypoint={"a": 1}),
        with_config(Entrypoint=["x" * 5000]),
        with_config(User="nobody-there"),
        with_config(User="0:nobody-there"),
        with_config(User="99999999999"),
        with_config(User="-1"),
        with_config(StopSignal="SIGNOTHING"),
        with_config(StopSignal="999999999999"),
        with_config(WorkingDir="/bin/busybox/x"),
        with_config(WorkingDir="/a\0b"),
        with_config(WorkingDir="/" + "x" * 5000),
        with_config(WorkingDir="/../../../../../../tmp"),
    ]
    for number, document in enumerate(never):
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        name = f"config{number}"
        hostile.serve(registry, name, [busybox], image_config=content)
        task = run(estiva, container(image=f"{registry.host}/{name}", command=["true"]))
        assert task["stopCode"] == "TaskFailedToStart", (content[:200], task)
        kinds = ("CannotPullContainerError: ", "CannotCreateContainerError: ", "CannotStartContainerError: ")
        assert task["stoppedReason"].startswith(kinds), (content[:200], task["stoppedReason"])
        assert len(task["stoppedReason"]) < 10_000
    assert estiva.processes("agent") == agent
    assert left_over(estiva) == []


def test_a_strange_configuration_does_no_harm(estiva, registry, busybox, canary):
    up = "../" * 30
    for config in (
        {"Volumes": {"": {}, "/": {}, f"{up}{canary.directory}": {}, "/proc": {}}},
        {"Volumes": None, "Env": None, "Cmd": None, "ExposedPorts": None},
        {"ExposedPorts": {"": {}, "99999999/tcp": {}, "x": {}, "-1/udp": {}, "22": {}}},
        {"Labels": {"": "x" * 100_000}, "OnBuild": ["RUN false"], "Healthcheck": {"Test": ["CMD", "reboot"]}},
        {"WorkingDir": "."},
        {"Env": ["NO", "NO=1", "NO=2", "LD_PRELOAD=/x", "BASH_ENV=/x", "PATH=/bin"]},
        {"StopSignal": "SIGKILL", "Shell": ["/nothing"], "ArgsEscaped": True, "Domainname": "x" * 500},
    ):
        name = name_of()
        hostile.serve(registry, name, [busybox], **config)
        task = run(estiva, container(image=f"{registry.host}/{name}", command=["/bin/true"]))
        assert task["containers"][0].get("exitCode") == 0, (config, task["stoppedReason"])
        canary.assert_untouched()


# Where a registry sends those who ask.


def test_what_authorizes_goes_to_the_registry_alone(estiva, registry, busybox):
    stranger = Registry()
    try:
        registry.token_service = True
        hostile.serve(registry, "app", [busybox, oci_image.pack(layer(entry("own", uuid.uuid4().bytes)))])
        stranger.blobs = registry.blobs
        registry.redirect_to = f"http://{stranger.host}"
        assert run(estiva, shell("exit 0", image=f"{registry.host}/app"))["containers"][0]["exitCode"] == 0
        assert "Bearer a-token" in registry.authorizations
        assert stranger.requests and set(stranger.authorizations) == {None}
        # A stranger that asks for a name gets none, whoever it says is to give one.
        hostile.serve(registry, "again", [busybox, oci_image.pack(layer(entry("own", uuid.uuid4().bytes)))])
        stranger.requests.clear()
        stranger.token_service, stranger.realm = True, f"http://{registry.host}/token"
        tokens = [path for path in registry.requests if path.startswith("/token")]
        assert "401" in refused(estiva, f"{registry.host}/again")
        assert set(stranger.authorizations) == {None} and not [it for it in stranger.requests if it.startswith("/token")]
        now = [path for path in registry.requests if path.startswith("/token")]
        assert len(now) == len(tokens) + 1, "the registry's own, and none for the stranger"
    finally:
        stranger.close()


LINK_LOCAL = "169.254.169.254"


class Listener:
    """Counts who connects to an address, and says nothing."""

    def __init__(self, address, port):
        self.connections = 0
        self.socket = socket.create_server((address, port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


def links_local():
    """How a registry sends somebody to a link-local address: redirects of a blob, realms, and a layer's own URL."""
    https = f"https://{LINK_LOCAL}"
    return {
        "a redirect": {"redirect_to": f"http://{LINK_LOCAL}"},
        "a redirect with TLS": {"redirect_to": https},
        "a redirect to a port": {"redirect_to": f"https://{LINK_LOCAL}:80"},
        "a redirect with a user": {"redirect_to": f"http://127.0.0.1@{LINK_LOCAL}"},
        "a redirect to an IPv4 address in IPv6": {"redirect_to": f"https://[::ffff:{LINK_LOCAL}]"},
        "a redirect to a number": {"redirect_to": "http://2852039166"},
        "a realm": {"token_service": True, "realm": f"http://{LINK_LOCAL}/latest/meta-data"},
        "a realm with TLS": {"token_service": True, "realm": f"{https}/latest/meta-data"},
        "a realm with a user": {"token_service": True, "realm": f"http://127.0.0.1@{LINK_LOCAL}/latest"},
        "a foreign layer": {"urls": [f"http://{LINK_LOCAL}/layer", f"{https}/layer"]},
    }


@pytest.fixture(scope="module")
def isolated(tmp_path_factory, image_files):
    """An installation and listeners in a network namespace, and a thread inside of it to work in."""
    pool = concurrent.futures.ThreadPoolExecutor(1)

    def start():
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "address", "add", f"{LINK_LOCAL}/32", "dev", "lo"], check=True)
        here = Installation(tmp_path_factory.mktemp("isolated") / "data")
        here.estiva("image", "import", str(image_files["busybox"]))
        here.up()
        return here, [Listener(LINK_LOCAL, port) for port in (80, 443)]

    here, listeners = pool.submit(start).result()
    yield lambda work: pool.submit(work, here, listeners).result()
    pool.submit(here.down).result()
    for listener in listeners:
        listener.socket.close()
    pool.shutdown()


@pytest.mark.parametrize("way", list(links_local()))
def test_nobody_is_sent_to_a_link_local_address(isolated, busybox, way):
    """There the clouds give out a machine's credentials."""

    def attempt(here, listeners):
        registry = Registry()
        try:
            own = oci_image.pack(layer(entry("own", uuid.uuid4().bytes)))
            digest = hostile.serve(registry, "app", [busybox, own])
            settings = dict(links_local()[way])
            urls = settings.pop("urls", None)
            if urls:
                manifest = json.loads(registry.blobs[digest])
                manifest["layers"][1]["urls"] = urls
                del registry.blobs[manifest["layers"][1]["digest"]]
                content = json.dumps(manifest).encode()
                registry.blobs[oci_image.digest(content)] = content
                registry.tags["app:latest"] = oci_image.digest(content)
            for name, value in settings.items():
                setattr(registry, name, value)
            return refused(here, f"{registry.host}/app"), sum(listener.connections for listener in listeners)
        finally:
            registry.close()

    before = isolated(lambda here, listeners: sum(listener.connections for listener in listeners))
    reason, connections = isolated(attempt)
    assert connections == before, reason


def test_the_link_local_address_of_these_tests_can_be_reached(isolated):
    """Or the test above proves nothing."""

    def connect(here, listeners):
        before = listeners[0].connections
        with socket.create_connection((LINK_LOCAL, 80), timeout=5):
            pass
        return eventually(lambda: listeners[0].connections == before + 1)

    assert isolated(connect)
