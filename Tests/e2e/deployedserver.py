"""A small server that behaves like the deployed service of the Filesystems API, quirks included, and fails on demand.

    with DeployedServer() as server:
        filesystem = server.create_filesystem("data")
        server.content(filesystem).write("hello", b"hello")
        server.faults.add("list", faultplan.status(503))

It shares no code with tetherfs-server. Its quirks: a listing of what is no directory is 200 with two empty lists;
listings are in no order and show files being uploaded under a staging name; a directory answers `init`, with a
meaningless size; an upload of 0 bytes is answered 500, and leaves its staging name; DELETE takes a whole tree.
"""

import http.server
import json
import os
import random
import re
import socket
import string
import struct
import threading
import urllib.parse
import uuid
import zlib

from contents import MemoryContent
from faultplan import FaultPlan, Gauge
from serverkit import LoggedRequest

KEY = "0123456789abcdef-the-key-of-the-test-server"


class Refusal(Exception):
    """An answer that is not 200."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class DeployedServer:
    """The server, on a loopback port, in threads of this process.

    Beware: what holds Python's global lock while it waits for the mount (a page fault in an mmap, starting a program
    that lies on the mount) waits for ever, since the answer needs that lock too: do such things in another process.

    staging_is_id: whether the 20 characters of a staging name are the upload's id.
    early: spell `upload_id`, as the early version did. refuses_empty: answer 500 to uploads of 0 bytes.
    """

    user_id = str(uuid.UUID(int=1))

    def __init__(self, staging_is_id=True, early=False, refuses_empty=True):
        self.staging_is_id, self.early, self.refuses_empty = staging_is_id, early, refuses_empty
        self.api_key = KEY
        self.headers = {"Authorization": KEY}
        self.tls = None
        self.faults = FaultPlan()
        self.gauge = Gauge()
        self.lock = threading.RLock()
        self.filesystems = {}
        self.contents = {}
        self.uploads = {}
        # Names that listings show beside the true ones: {(filesystem, directory): {"files": […], "directories": […]}}.
        self.extra_names = {}
        self.log = []
        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.listener.service = self
        self.url = f"http://127.0.0.1:{self.listener.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.listener.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.faults.clear()
        self.listener.shutdown()
        self.listener.server_close()
        self.thread.join()

    def create_filesystem(self, name):
        """Creates a filesystem and returns its id."""
        with self.lock:
            identifier = str(uuid.uuid4())
            self.filesystems[identifier] = name
            self.contents[identifier] = MemoryContent()
            return identifier

    def content(self, filesystem):
        """What a filesystem holds, staging files included."""
        return self.contents[filesystem]

    def requests_log(self, start=0):
        """Every answered request so far, or those after the first `start` ones; status 0 for no answer."""
        with self.lock:
            return self.log[start:]

    def record(self, exchange, status, count):
        path, _, query = exchange.target.partition("?")
        with self.lock:
            self.log.append(
                LoggedRequest(exchange.method, path, query, status, count, exchange.headers.get("Content-Range", "-"))
            )

    # The calls: each returns the body of a 200.

    def call_filesystems(self, exchange):
        if exchange.method == "GET":
            pairs = self.filesystems.items()
            return [{"filesystem_id": identifier, "filesystem_name": name} for identifier, name in pairs]
        name = exchange.json.get("filesystem_name")
        if not isinstance(name, str):
            raise Refusal(400, "no name")
        if name in self.filesystems.values():
            raise Refusal(409, "it exists")
        return {"filesystem_id": self.create_filesystem(name), "filesystem_name": name}

    def call_remove(self, exchange):
        del self.filesystems[exchange.filesystem]
        del self.contents[exchange.filesystem]

    def call_share(self, exchange):
        try:
            uuid.UUID(exchange.json["grantee"])
        except (KeyError, TypeError, ValueError):
            raise Refusal(400, "no grantee") from None

    def call_list(self, exchange):
        node = exchange.content.find(exchange.path)
        names = {"directories": [], "files": []}
        for name, child in (node.items() if isinstance(node, dict) else ()):
            names["directories" if isinstance(child, dict) else "files"].append(name)
        for kind, more in self.extra_names.get((exchange.filesystem, exchange.path), {}).items():
            names[kind] += more
        # In no order, but in the same each time.
        return {kind: sorted(found, key=lambda name: zlib.crc32(repr(name).encode())) for kind, found in names.items()}

    def call_mkdir(self, exchange):
        parent, name = exchange.content.parent(exchange.path)
        if parent is None:
            raise Refusal(400, "no such parent")
        if not name or name in parent:
            raise Refusal(409, "it exists")
        parent[name] = {}

    def call_delete(self, exchange):
        parent, name = exchange.content.parent(exchange.path)
        if parent is None or name not in parent:
            raise Refusal(400, "neither a file nor a directory")
        del parent[name]

    def call_size(self, exchange):
        node = exchange.content.find(exchange.path)
        if node is None:
            raise Refusal(404, "no such file")
        size = 4096 if isinstance(node, dict) else len(node)
        return {"size": size, "download_id": str(uuid.uuid4())}

    def call_read(self, exchange):
        bounds = re.fullmatch(r"(\d+)-(\d+)", exchange.headers.get("Content-Range", ""))
        if not bounds:
            raise Refusal(400, "no range")
        node = exchange.content.find(exchange.path)
        if node is None:
            raise Refusal(404, "no such file")
        if isinstance(node, dict):
            raise Refusal(500, "a directory")
        return bytes(node[int(bounds[1]):int(bounds[2])])

    def call_begin(self, exchange):
        size = exchange.json.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise Refusal(400, "no size")
        parent, name = exchange.content.parent(exchange.path)
        if parent is None or not name:
            raise Refusal(400, "no such parent")
        suffix = "".join(random.choices(string.ascii_letters + string.digits, k=20))
        upload = suffix if self.staging_is_id else str(uuid.uuid4())
        staging = f"{exchange.path}.{suffix}"
        parent[f"{name}.{suffix}"] = bytearray()
        self.uploads[upload] = staging
        if size == 0 and self.refuses_empty:
            raise Refusal(500, "internal server error")
        return {"upload_id" if self.early else "uploadId": upload}

    def staged(self, exchange, upload):
        """The staging file of an upload: its directory, its name and its bytes."""
        staging = self.uploads.get(upload)
        if staging is None or not staging.startswith(exchange.path + "."):
            raise Refusal(404, "no such upload")
        parent, name = exchange.content.parent(staging)
        if parent is None or name not in parent:
            raise Refusal(404, "no such upload")
        return parent, name, parent[name]

    def call_put(self, exchange):
        bounds = re.fullmatch(r"\[([^\]]+)\]:(\d+)-(\d+)", exchange.headers.get("Content-Range", ""))
        if not bounds:
            raise Refusal(400, "malformed range")
        start, end = int(bounds[2]), int(bounds[3])
        if end - start != len(exchange.body):
            raise Refusal(402, "the length does not match")
        data = self.staged(exchange, bounds[1])[2]
        if len(data) < start:
            data.extend(bytes(start - len(data)))
        data[start:end] = exchange.body

    def call_complete(self, exchange):
        upload = exchange.json.get("upload_id" if self.early else "uploadId")
        parent, name, data = self.staged(exchange, upload)
        final = exchange.content.parent(exchange.path)[1]
        if isinstance(parent.get(final), dict):
            raise Refusal(500, "a directory")
        parent[final] = data
        del parent[name]
        del self.uploads[upload]

    def call_abandon(self, exchange):
        """Documented, its effect is not: here it has none, so that the staging name stays."""


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection: reads requests and has each answered as the fault plan says."""

    protocol_version = "HTTP/1.1"

    def exchange(self):
        Exchange(self).run()

    do_GET = do_POST = do_PUT = do_DELETE = exchange

    def log_message(self, *_):
        """Standard error stays the tests' own."""


class Exchange:
    """One request on its way to its answer: what faults work with."""

    def __init__(self, handler):
        self.handler = handler
        self.server = handler.server.service
        self.method, self.target, self.headers = handler.command, handler.path, handler.headers
        self.body = handler.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.filesystem, self.path, self.call, self.json = None, "", "unknown", {}
        self.was_acted = False
        self.was_logged = False
        self._classify()

    def _classify(self):
        raw, _, query = self.target.partition("?")
        parts = raw.removeprefix("/v1/").split("/", 3)
        self.filesystem = parts[1] if len(parts) > 1 else None
        # Non-UTF-8 bytes stay what they are, as in os.fsdecode.
        if len(parts) > 3:
            self.path = urllib.parse.unquote(parts[3], errors="surrogateescape").strip("/")
        if self.method in ("POST", "DELETE"):
            try:
                self.json = json.loads(self.body or b"{}")
            except ValueError:
                self.json = {}
        branch = parts[2] if len(parts) > 2 else "remove" if self.filesystem else "filesystems"
        self.call = branch
        if branch == "files":
            isInit = "init" in urllib.parse.parse_qs(query, keep_blank_values=True)
            isDone = str(self.json.get("complete", "")).lower() == "true"
            self.call = {
                "GET": "size" if isInit else "read", "PUT": "put", "DELETE": "delete",
                "POST": "begin" if "complete" not in self.json else "complete" if isDone else "abandon",
            }[self.method]

    def run(self):
        fault, self.released = self.server.faults.take(self.call, self.path)
        self.server.gauge.add(self.call, 1)
        try:
            if fault:
                fault(self)
            else:
                self.answer()
        except OSError:
            # The other side went away.
            self.handler.close_connection = True
        finally:
            self.server.gauge.add(self.call, -1)

    # What a fault can do.

    @property
    def content(self):
        return self.server.contents[self.filesystem]

    def act(self):
        """Does what is asked; returns the true status and body."""
        with self.server.lock:
            try:
                if self.headers.get("Authorization", "").removeprefix("Bearer ") != KEY:
                    raise Refusal(401, "who are you?")
                if self.filesystem and self.filesystem not in self.server.filesystems:
                    raise Refusal(404, "no such filesystem")
                if ".." in self.path.split("/"):
                    raise Refusal(403, "outside the filesystem")
                call = getattr(self.server, "call_" + self.call, None)
                if call is None:
                    raise Refusal(404, "no such call")
                answer = call(self)
            except Refusal as refusal:
                return refusal.status, refusal.text.encode() + b"\n"
        if answer is None:
            return 200, b""
        return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def answer(self):
        """Does what is asked and says how it went."""
        self.send(*self.act())

    def send(self, status, data, headers=(), length=None):
        """Sends an answer; with a `length` other than the body's it lies about it."""
        self._record(status, len(data))
        lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(data) if length is None else length}"]
        lines += [f"{name}: {value}" for name, value in dict(headers).items()]
        self.handler.wfile.write("\r\n".join(lines + ["", ""]).encode() + data)

    def more(self, data):
        """Sends what was held back of a body."""
        self.handler.wfile.write(data)

    def wait(self):
        """Waits until the plan is cleared."""
        self.released.wait()

    def end(self):
        """Ends the connection in good order."""
        self.handler.close_connection = True

    def reset(self):
        """Breaks the connection off."""
        self._record(0, 0)
        connection = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())
        self.handler.close_connection = True

    def _record(self, status, count):
        # Before the answer leaves: whoever has seen it finds it in the log.
        if not self.was_logged:
            self.was_logged = True
            self.server.record(self, status, count)
