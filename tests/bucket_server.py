"""A server of Google Cloud Storage's API on this machine, with faults that the real one has.

    python tests/bucket_server.py PORT

The package gcp-storage-emulator does the work. Added here are what it lacks: requests in parallel,
an object's generation in answers and in preconditions, and faults.
"""

from collections.abc import Iterator
import contextlib
import functools
import http.server
import io
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
from typing import Any
import urllib.error
import urllib.parse
import urllib.request

BUCKET = "test"


def environment(url: str) -> dict[str, str]:
    """Return the environment variables with which gcsfs and TensorStore use a server."""
    return {"STORAGE_EMULATOR_HOST": url, "TENSORSTORE_GCS_HTTP_URL": url}


@contextlib.contextmanager
def process() -> Iterator[str]:
    """Run a server with an empty bucket in a process of its own; yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, url = subprocess.Popen([sys.executable, __file__, str(port)]), f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError):
                count_requests(url)
                break
            time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()


def inject(url: str, *, latency_s: float = 0.0, failing: float = 0.0, unreachable: bool = False) -> None:
    """Set the latency of each request, the share that is answered 503, or that none is answered."""
    faults = json.dumps({"latency_s": latency_s, "failing": failing, "unreachable": unreachable})
    urllib.request.urlopen(urllib.request.Request(f"{url}/faults", faults.encode(), method="PUT")).close()


def count_requests(url: str) -> int:
    """Return how many requests were answered."""
    with urllib.request.urlopen(f"{url}/requests") as answer:
        return json.load(answer)


def _serve(port: int) -> None:
    from gcp_storage_emulator import server
    from gcp_storage_emulator.exceptions import NotFound
    from gcp_storage_emulator.handlers import buckets
    from gcp_storage_emulator.storage import Storage

    class Handler(server.RequestHandler):
        protocol_version = "HTTP/1.1"
        faults: dict[str, Any] = {}
        answered, lock, random = 0, threading.Lock(), random.Random(0)
        generation = "0"  # of the object of the request

        def _answer(self, status, content):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _refuse(self, status):
            error = {"code": status, "message": "refused"}
            self._answer(status, json.dumps({"error": error}).encode())

        def _body(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _handle(self, method):
            if self.path == "/faults":
                type(self).faults = json.loads(self._body())
                return self._answer(200, b"{}")
            if self.path == "/requests":
                return self._answer(200, json.dumps(self.answered).encode())
            time.sleep(self.faults.get("latency_s", 0))
            if self.faults.get("unreachable"):
                self.close_connection = True
                return None
            with self.lock:
                type(self).answered += 1
                if self.random.random() < self.faults.get("failing", 0):
                    self._body()
                    return self._refuse(503)
                connection, body = self.rfile, self._body()
                query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                self.generation = self._find_generation(query, body)
                if query.get("ifGenerationMatch", self.generation) != self.generation:
                    return self._refuse(412)
                self.rfile = io.BytesIO(body)
                server.Router(self).handle(method)
                self.rfile, self.generation = connection, "0"
                return None

        def _find_generation(self, query, body):
            """Return the generation of the object that a request names, 0 if it does not exist."""
            bucket, _, name = urllib.parse.urlsplit(self.path).path.partition("/b/")[2].partition("/o")
            name = query.get("name", urllib.parse.unquote(name[1:]))
            if query.get("uploadType") == "multipart" and (found := re.search(rb'"name": ?"(.*?)"', body)):
                name = found[1].decode()
            try:
                return self.storage.get_file_obj(bucket, name)["generation"]
            except NotFound:
                return "0"

        def end_headers(self):
            """Name the object's generation, on which TensorStore makes its next write conditional."""
            if self.command == "GET" and self.generation != "0":
                self.send_header("x-goog-generation", self.generation)
            super().end_headers()

        do_GET = functools.partialmethod(_handle, "GET")
        do_POST = functools.partialmethod(_handle, "POST")
        do_PUT = functools.partialmethod(_handle, "PUT")
        do_PATCH = functools.partialmethod(_handle, "PATCH")
        do_DELETE = functools.partialmethod(_handle, "DELETE")

        def log_message(self, *_):
            pass

        def handle(self):
            with contextlib.suppress(ConnectionError):  # a client that was killed
                super().handle()

    storage = Storage(use_memory_fs=True)
    buckets.create_bucket(BUCKET, storage)
    handler = functools.partial(Handler, storage)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
