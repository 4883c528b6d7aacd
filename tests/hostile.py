"""Images as nobody should make them, and a tree of the host's that none of them may touch."""

import io
import os
import shutil
import stat
import tarfile

import oci_image


class Canary:
    """A tree on the host, beside everything that is an installation's."""

    SECRET = "only the host may read this"

    def __init__(self, directory):
        self.directory = directory
        self.file = directory / "file"
        (directory / "below").mkdir(parents=True)
        for path in (self.file, directory / "ptmx", directory / "below" / "file"):
            path.write_text(self.SECRET)
        self.before = self.look()

    def look(self):
        """Everything that a change to the tree would change."""
        seen = {}
        for path in [self.directory, *sorted(self.directory.rglob("*"))]:
            found = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(found.st_mode) else os.readlink(path) if path.is_symlink() else None
            seen[str(path)] = (found.st_ino, oct(found.st_mode), found.st_uid, found.st_gid, found.st_nlink, found.st_mtime_ns, content)
        return seen

    def assert_untouched(self):
        now = self.look()
        changed = sorted(path for path in {*now, *self.before} if now.get(path) != self.before.get(path))
        assert not changed, changed


def entry(name, content=b"", kind=tarfile.REGTYPE, target="", mode=0o644, **more):
    """An entry of a layer; `more` are fields of the header, such as devmajor, size, pax_headers."""
    info = tarfile.TarInfo(str(name))
    info.size, info.mode, info.type, info.linkname = len(content), mode, kind, str(target)
    for field, value in more.items():
        setattr(info, field, value)
    return info, content


def directory(name, mode=0o755):
    return entry(name, kind=tarfile.DIRTYPE, mode=mode)


def link(name, target):
    return entry(name, kind=tarfile.SYMTYPE, target=target)


def layer(*entries):
    """A layer's tar, as written: nothing is cleaned."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def base(applets):
    """A packed layer with busybox."""
    links = [(f"/bin/{applet}", "busybox") for applet in applets]
    return oci_image.pack(oci_image.layer_tar([(shutil.which("busybox"), "/bin/busybox")], links))


def serve(registry, name, layers, tag="latest", image_config=None, **config):
    """Puts an image of packed layers into a registry; gives its manifest's digest."""
    manifest, own_config = oci_image.documents(layers, **config)
    if image_config is not None:
        manifest, own_config = oci_image.manifest(image_config, [blob for _, blob in layers]), image_config
    for blob in (manifest, own_config, *(blob for _, blob in layers)):
        registry.blobs[oci_image.digest(blob)] = blob
    registry.tags[f"{name}:{tag}"] = oci_image.digest(manifest)
    return oci_image.digest(manifest)
