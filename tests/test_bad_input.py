"""Hostile and broken input: a clear error each time, and the platform goes on."""

import http.client
import io
import json
import subprocess
import sys
import tarfile

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from botocore.exceptions import ClientError
from installation import ROOT, Installation, container

sys.path.insert(0, str(ROOT / "tools"))
import oci_image  # noqa: E402


def still_works(estiva):
    assert "default" in estiva.ecs.list_clusters()["clusterArns"][0]


def post(estiva, body, target="AmazonEC2ContainerServiceV20141113.ListClusters", length=None):
    keys = json.loads((estiva.data / "credentials.json").read_text())["owner"]
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    request = botocore.awsrequest.AWSRequest("POST", estiva.endpoint + "/", data=body, headers=headers)
    credentials = botocore.credentials.Credentials(keys["access_key_id"], keys["secret_access_key"])
    botocore.auth.SigV4Auth(credentials, "ecs", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", estiva.port, timeout=30)
    prepared = request.prepare()
    connection.putrequest("POST", "/", skip_accept_encoding=True)
    for name, value in prepared.headers.items():
        if name.lower() != "content-length":
            connection.putheader(name, value)
    connection.putheader("Content-Length", str(length or len(body)))
    connection.endheaders()
    try:
        connection.send(body)
    except (BrokenPipeError, ConnectionResetError):
        pass
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"maxResults": "many"}', b"\xff\xfe", b"[" * 100_000])
def test_malformed_json(estiva, body):
    status, text = post(estiva, body)
    assert status == 400 and "__type" in text, text
    still_works(estiva)


def test_a_body_of_100_mb(estiva):
    status, text = post(estiva, b"x" * 100_000_000)
    assert status == 413, text
    still_works(estiva)


def test_an_unknown_operation_and_a_wrong_signature(estiva):
    status, text = post(estiva, b"{}", "AmazonEC2ContainerServiceV20141113.Nonsense")
    assert status == 400 and "UnknownOperationException" in text
    stranger = estiva.client("ecs")
    stranger._request_signer._credentials.secret_key = "wrong"
    with pytest.raises(ClientError) as error:
        stranger.list_clusters()
    assert error.value.response["Error"]["Code"] in ("InvalidSignatureException", "SignatureDoesNotMatch")
    still_works(estiva)


def layout(tmp_path, entries, diff_id=None, digest=None):
    """An OCI layout whose one layer has these tar entries."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for info, data in entries:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    layer = layer.getvalue()
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id or oci_image.digest(layer)]}}
    config = json.dumps(config).encode()
    described = oci_image.descriptor(oci_image.LAYER, layer)
    manifest = json.dumps({"schemaVersion": 2, "config": oci_image.descriptor(oci_image.CONFIG, config), "layers": [described]}).encode()
    index = {"schemaVersion": 2, "manifests": [oci_image.descriptor(oci_image.MANIFEST, manifest)]}
    file = tmp_path / "image.tar"
    with tarfile.open(file, "w") as archive:
        oci_image.add(archive, "oci-layout", b"{}")
        oci_image.add(archive, "index.json", json.dumps(index).encode())
        for blob in (config, manifest):
            oci_image.add(archive, "blobs/sha256/" + oci_image.digest(blob)[7:], blob)
        oci_image.add(archive, "blobs/sha256/" + (digest or oci_image.digest(layer))[7:], layer if digest is None else layer + b"x")
    return file


def entry(name, kind=tarfile.REGTYPE, target="", data=b""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, data


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../escaped", data=b"x")],
        [entry("a/../../escaped", data=b"x")],
        [entry("out", tarfile.SYMTYPE, "../../../../../../tmp"), entry("out/escaped", data=b"x")],
        [entry("hard", tarfile.LNKTYPE, "../../../etc/passwd")],
        [entry("../.wh.passwd")],
    ],
    ids=["dots", "dots-inside", "symlink", "hardlink", "whiteout"],
)
def test_a_layer_that_leads_out_of_its_root(estiva, tmp_path, entries):
    refused = estiva.estiva("image", "import", str(layout(tmp_path, entries)), "--name", "hostile", check=False)
    assert refused.returncode == 1
    assert "out of the image's root" in refused.stderr, refused.stderr
    assert not list(tmp_path.parent.glob("**/escaped"))
    still_works(estiva)


def test_a_link_to_an_absolute_path_stays_inside(estiva, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    entries = [entry("link", tarfile.SYMTYPE, str(outside)), entry("link/file", data=b"x")]
    estiva.estiva("image", "import", str(layout(tmp_path, entries)), "--name", "inward", check=False)
    assert list(outside.iterdir()) == []


def test_wrong_digests(estiva, tmp_path):
    wrong = "sha256:" + "0" * 64
    by_content = layout(tmp_path, [entry("a", data=b"x")], diff_id=wrong)
    refused = estiva.estiva("image", "import", str(by_content), "--name", "wrong", check=False)
    assert refused.returncode == 1 and "wrong digest" in refused.stderr
    plain = layout(tmp_path, [entry("a", data=b"x")])
    with tarfile.open(plain) as archive:
        [layer] = [it.name for it in archive if it.size == 10240]
    by_blob = layout(tmp_path, [entry("a", data=b"x")], digest="sha256:" + layer.rsplit("/", 1)[-1])
    refused = estiva.estiva("image", "import", str(by_blob), "--name", "wrong", check=False)
    assert refused.returncode == 1 and "wrong digest" in refused.stderr
    names = [it["reference"] for it in json.loads(estiva.estiva("image", "list", "--json").stdout)]
    assert not any("wrong" in name for name in names)


def test_what_is_no_image(estiva, tmp_path):
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"this is no archive" * 100)
    refused = estiva.estiva("image", "import", str(nonsense), "--name", "x", check=False)
    assert refused.returncode == 1 and "neither" in refused.stderr
    refused = estiva.estiva("image", "import", str(tmp_path / "absent"), "--name", "x", check=False)
    assert refused.returncode == 1 and "absent" in refused.stderr
    refused = estiva.estiva("image", "remove", "absent", check=False)
    assert refused.returncode == 1 and "there is no image" in refused.stderr


def test_a_full_disk(tmp_path, image_files):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True)
    try:
        here = Installation(disk / "data")
        here.estiva("image", "import", str(image_files["busybox"]))
        here.up()
        try:
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            refused = here.estiva("image", "import", str(image_files["hello"]), check=False)
            assert refused.returncode == 1 and "No space left" in refused.stderr
            with pytest.raises(ClientError):
                here.register("x" * 200, [container(command=["x" * 60_000])])
            here.ecs.list_clusters()
            filler.unlink()
            here.register("after", [container(command=["true"])])
            assert here.run_to_end("after")["containers"][0]["exitCode"] == 0
        finally:
            here.down()
    finally:
        subprocess.run(["umount", disk], check=True)
