#!/usr/bin/env python3
"""Makes an OCI image layout (a tar) from files, without any registry or container engine.

    oci_image.py hello.tar hello:latest --file target/hello:/hello --entrypoint /hello
"""

import argparse
import gzip
import hashlib
import io
import json
import platform
import stat
import tarfile
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

ACCOUNTS = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def add(archive, name, data, mode=0o644, kind=tarfile.REGTYPE, target="", owner=(0, 0)):
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type, info.linkname = len(data), mode, kind, target
    info.uid, info.gid = owner
    archive.addfile(info, io.BytesIO(data))


def layer_tar(files, links, entries=()):
    """One layer: the files with their executable bits, symbolic links, and the directories above them.

    `entries` are further files, (path, content, mode, (uid, gid)); a directory's content is None.
    """
    out = io.BytesIO()
    made = set()
    with tarfile.open(fileobj=out, mode="w") as archive:

        def parents(path):
            for parent in reversed(Path(path).parents):
                name = str(parent).strip("/")
                if name not in ("", ".") and name not in made:
                    made.add(name)
                    add(archive, name, b"", 0o1777 if name == "tmp" else 0o755, tarfile.DIRTYPE)

        parents("tmp/x")
        parents("etc/x")
        given = {path.strip("/") for path, *_ in entries}
        for name, content in ACCOUNTS.items():
            if name not in given:
                add(archive, name, content)
        for source, destination in files:
            destination = destination.strip("/")
            parents(destination)
            mode = stat.S_IMODE(Path(source).stat().st_mode)
            add(archive, destination, Path(source).read_bytes(), mode)
        for name, target in links:
            parents(name.strip("/"))
            add(archive, name.strip("/"), b"", 0o777, tarfile.SYMTYPE, target)
        for path, content, mode, owner in entries:
            path = path.strip("/")
            parents(path)
            made.add(path)
            kind = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            add(archive, path, content or b"", mode, kind, owner=owner)
    return out.getvalue()


def write_image(out, name, files, links=(), entries=(), **config):
    """Writes an image of one layer to `out`; `config` is the image's config, such as Entrypoint, Cmd, Env."""
    write_layout(out, name, [pack(layer_tar(files, links, entries))], **config)


def pack(layer):
    """A layer as images have it: the digest of its tar, and the tar compressed."""
    return digest(layer), gzip.compress(layer, compresslevel=1, mtime=0)


def documents(layers, **config):
    """The manifest and the configuration of an image of packed layers."""
    config.setdefault("Env", ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
    image_config = json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _ in layers]},
        }
    ).encode()
    return manifest(image_config, [blob for _, blob in layers]), image_config


def manifest(image_config, blobs):
    """The manifest over a configuration and compressed layers."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, image_config),
            "layers": [descriptor(LAYER, blob) for blob in blobs],
        }
    ).encode()


def write_layout(out, name, layers, **config):
    """Writes an image of packed layers to `out`."""
    document, image_config = documents(layers, **config)
    annotations = {"org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [descriptor(MANIFEST, document, annotations=annotations)]}
    with tarfile.open(out, "w") as archive:
        add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(archive, "index.json", json.dumps(index).encode())
        for blob in (image_config, document, *(blob for _, blob in layers)):
            add(archive, "blobs/sha256/" + digest(blob).partition(":")[2], blob)


def main():
    pair = lambda text: tuple(text.split(":", 1))  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("--file", action="append", type=pair, default=[], metavar="SOURCE:PATH")
    parser.add_argument("--link", action="append", type=pair, default=[], metavar="PATH:TARGET")
    parser.add_argument("--entrypoint", nargs="+", default=[])
    parser.add_argument("--cmd", nargs="+", default=[])
    arguments = parser.parse_args()
    config = {"Entrypoint": arguments.entrypoint, "Cmd": arguments.cmd}
    write_image(arguments.out, arguments.name, arguments.file, arguments.link, **config)


if __name__ == "__main__":
    main()
