"""Images from a registry."""

import uuid

import pytest
from installation import container, eventually, shell
from registry import Registry


@pytest.fixture
def registry():
    served = Registry()
    yield served
    served.close()


def run(estiva, image):
    family = f"pull-{uuid.uuid4().hex[:8]}"
    estiva.register(family, [shell("exit 0", image=image)])
    return estiva.run_to_end(family)


def pulled(estiva, image):
    task = run(estiva, image)
    assert task["containers"][0].get("exitCode") == 0, task.get("stoppedReason")
    return task["containers"][0]["imageDigest"]


def refused(estiva, image):
    task = run(estiva, image)
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError: "), task["stoppedReason"]
    return task["stoppedReason"]


def test_a_tag_and_a_digest(estiva, registry, image_files):
    digest = registry.add(image_files["busybox"], "team/app", "v1")
    assert pulled(estiva, f"{registry.host}/team/app:v1") == digest
    assert pulled(estiva, f"{registry.host}/team/app@{digest}") == digest
    assert f"/v2/team/app/manifests/{digest}" not in registry.requests, "a digest that is there needs no registry"


def test_a_tag_that_moved_is_pulled_anew(estiva, registry, image_files, tmp_path):
    import oci_image

    first = registry.add(image_files["busybox"], "moving")
    assert pulled(estiva, f"{registry.host}/moving") == first
    busybox = tmp_path / "other"
    busybox.write_text("another layer")
    oci_image.write_image(tmp_path / "other.tar", "x", [("/bin/busybox", "/bin/sh"), (busybox, "/other")], Cmd=["sh"])
    second = registry.add(tmp_path / "other.tar", "moving")
    assert second != first
    assert pulled(estiva, f"{registry.host}/moving") == second


def test_what_is_there_serves_while_the_registry_is_away(estiva, image_files):
    served = Registry()
    digest = served.add(image_files["busybox"], "cached")
    assert pulled(estiva, f"{served.host}/cached") == digest
    served.close()
    assert pulled(estiva, f"{served.host}/cached") == digest
    assert f"cannot reach http://{served.host}" in refused(estiva, f"{served.host}/never-seen")


def test_a_token_service(estiva, registry, image_files):
    registry.token_service = True
    digest = registry.add(image_files["busybox"], "guarded")
    assert pulled(estiva, f"{registry.host}/guarded") == digest
    assert any(path.startswith("/token?service=test&scope=repository%3Aguarded%3Apull") for path in registry.requests)


def test_a_broken_connection_is_resumed(estiva, registry, image_files, tmp_path):
    import oci_image

    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 20_000)
    oci_image.write_image(tmp_path / "big.tar", "x", [("/bin/busybox", "/bin/sh"), (big, "/big")], Cmd=["sh"])
    digest = registry.add(tmp_path / "big.tar", "big")
    [layer] = registry.layers(digest)
    registry.cut_once.add(layer)
    assert pulled(estiva, f"{registry.host}/big") == digest
    assert registry.requests.count(f"/v2/big/blobs/{layer}") == 2


def test_refusals_say_why(estiva, registry, image_files, tmp_path):
    import oci_image

    own = tmp_path / "own"
    own.write_text(uuid.uuid4().hex)
    oci_image.write_image(tmp_path / "own.tar", "x", [(own, "/own")])
    assert "MANIFEST_UNKNOWN" in refused(estiva, f"{registry.host}/absent")
    digest = registry.add(tmp_path / "own.tar", "broken")
    registry.corrupt.update(registry.layers(digest))
    assert "wrong digest" in refused(estiva, f"{registry.host}/broken")
    registry.corrupt.clear()
    registry.redirect_to = "ftp://example.invalid"
    assert "neither http nor https" in refused(estiva, f"{registry.host}/broken")
    registry.redirect_to = "http://192.0.2.1"
    assert "without TLS" in refused(estiva, f"{registry.host}/broken")
    registry.redirect_to = None
    registry.password = b"user:secret"
    assert "access denied (401)" in refused(estiva, f"{registry.host}/broken")
    registry.password = None
    assert refused(estiva, f"{registry.host}/UPPER").count("invalid image reference") == 1
    leftovers = list((estiva.data / "node/images/tmp").iterdir())
    assert leftovers == []


def test_an_image_in_use_stays(estiva, registry, image_files):
    registry.add(image_files["busybox"], "used")
    image = f"{registry.host}/used:latest"
    estiva.register("used", [shell("sleep 1000", image=image, stopTimeout=2)])
    [arn] = estiva.run("used")
    estiva.wait("RUNNING", arn)
    # The layers are those of another image too: it is the name that counts.
    listed = [it["reference"] for it in estiva.images()]
    assert image in listed
    estiva.stop(arn)
    estiva.estiva("image", "remove", image)
    assert image not in [it["reference"] for it in estiva.images()]


def test_removal_frees_what_nothing_else_needs(new_installation, tmp_path):
    import oci_image

    here = new_installation()
    own = tmp_path / "own"
    own.write_bytes(b"x" * 300_000)
    oci_image.write_image(tmp_path / "own.tar", "own", [("/bin/busybox", "/bin/sh"), (own, "/own")], Cmd=["sh"])
    here.estiva("image", "import", str(tmp_path / "own.tar"))
    here.register("own", [container(image="own", command=["sh", "-c", "sleep 1000"], stopTimeout=2)])
    [arn] = here.run("own")
    here.wait("RUNNING", arn)
    in_use = here.estiva("image", "remove", "own", check=False)
    assert in_use.returncode == 1 and "in use by " + arn.rsplit("/", 1)[-1] in in_use.stderr
    here.stop(arn)
    removed = here.estiva("image", "remove", "own")
    assert "freed" in removed.stdout and " 0 B freed" not in removed.stdout
    assert [it["reference"] for it in here.images()] == ["busybox:latest", "hello:latest"]


def test_a_registry_that_hangs_holds_nobody_else_up(new_installation, registry, image_files):
    here = new_installation()
    digest = registry.add(image_files["hello"], "stalled")
    registry.add(image_files["busybox"], "flowing")
    registry.stalling.update(registry.layers(digest))
    # Nothing of the image is on this node: what is imported would serve.
    for image in here.images():
        here.estiva("image", "remove", image["reference"])
    here.register("stalled", [container(image=f"{registry.host}/stalled")])
    here.register("flowing", [shell("exit 3", image=f"{registry.host}/flowing")])
    [waits, gives_up] = here.run("stalled", count=2)
    eventually(lambda: any("/blobs/" in path for path in registry.requests))
    assert here.run_to_end("flowing")["containers"][0]["exitCode"] == 3
    # One that is told to stop does not wait for the layer.
    stopped = here.stop(gives_up)
    assert stopped["stopCode"] == "UserInitiated" and "startedAt" not in stopped
    assert here.task(waits)["lastStatus"] == "PENDING"
    registry.go_on.set()
    here.wait("RUNNING", waits)
    here.stop(waits)
    assert not list((here.data / "node/images/tmp").iterdir())
