"""A small OCI registry on loopback that can be told to misbehave."""

import base64
import http.server
import json
import re
import tarfile
import threading


class Registry:
    """Serves the images of OCI layouts under /v2/; `requests` are the paths asked for, in order, `authorizations` what
    came with them."""

    def __init__(self):
        self.blobs = {}
        self.tags = {}
        self.requests = []
        self.authorizations = []
        self.password = None
        self.token_service = False
        self.realm = None
        self.cut_once = set()
        self.corrupt = set()
        self.stalling = set()
        self.go_on = threading.Event()
        self.redirect_to = None
        self.closed = False
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                registry.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    def add(self, layout, name, tag="latest"):
        """Takes the image of an OCI layout's tar; gives its manifest's digest."""
        with tarfile.open(layout) as archive:
            index = json.loads(archive.extractfile("index.json").read())
            for member in archive:
                if member.name.startswith("blobs/"):
                    self.blobs["sha256:" + member.name.rsplit("/", 1)[-1]] = archive.extractfile(member).read()
        digest = index["manifests"][0]["digest"]
        self.tags[f"{name}:{tag}"] = digest
        return digest

    def layers(self, digest):
        return [layer["digest"] for layer in json.loads(self.blobs[digest])["layers"]]

    def close(self):
        self.closed = True
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        if self.closed:
            request.close_connection = True
            return None
        self.requests.append(request.path)
        self.authorizations.append(request.headers.get("Authorization"))
        if request.path.startswith("/token"):
            return self.send(request, 200, json.dumps({"token": "a-token"}).encode())
        if self.token_service and request.headers.get("Authorization") != "Bearer a-token":
            realm = self.realm or f"http://{self.host}/token"
            challenge = f'Bearer realm="{realm}",service="test"'
            return self.send(request, 401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', {"WWW-Authenticate": challenge})
        if self.password and request.headers.get("Authorization") != "Basic " + base64.b64encode(self.password).decode():
            return self.send(request, 401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', {"WWW-Authenticate": "Basic"})
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", request.path)
        if not match:
            return self.send(request, 404, b"")
        name, kind, reference = match.groups()
        if kind == "blobs" and self.redirect_to:
            return self.send(request, 307, b"", {"Location": self.redirect_to + request.path})
        digest = self.tags.get(f"{name}:{reference}", reference)
        content = self.blobs.get(digest)
        if content is None:
            return self.send(request, 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        if digest in self.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return self.send_content(request, digest, content)

    def send_content(self, request, digest, content):
        first = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(first.group(1)) if first else 0
        status = 206 if first else 200
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) - start))
        if first:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        if digest in self.cut_once:
            self.cut_once.remove(digest)
            request.wfile.write(content[start : start + len(content) // 2])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(2)
            return
        if digest in self.stalling:
            request.wfile.write(content[start : start + len(content) // 2])
            request.wfile.flush()
            self.go_on.wait(120)
            start += len(content) // 2
        request.wfile.write(content[start:])

    @staticmethod
    def send(request, status, content, headers=None):
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
