"""A small server that behaves like the deployed service of the Filesystems API, quirks included, and fails on demand.

    with DeployedServer() as server:
        filesystem = server.create_filesystem("data")
        server.content(filesystem).write("hello", b"hello")
        server.faults.add("list", faultplan.status(503))

It shares no code with tetherfs-server. Its quirks: a listing of what is no directory is 200 with two empty lists;
listings are in no order and show files being uploaded under a staging name; a directory answers `init`, with a
meaningless size; an upload of 0 bytes is answered 500, and leaves its staging name; DELETE takes a whole tree.
"""

import random
import re
import string
import threading
import uuid
import zlib

from contents import MemoryContent
from deployedhttp import Handler, Listener, Refusal
from faultplan import FaultPlan, Gauge
from serverkit import LoggedRequest

class DeployedServer:
    """The server, on a loopback port, in threads of this process.

    Beware: what holds Python's global lock while it waits for the mount (a page fault in an mmap, starting a program
    that lies on the mount) waits for ever, since the answer needs that lock too: do such things in another process.

    staging_is_id: whether the 20 characters of a staging name are the upload's id.
    early: spell `upload_id`, as the early version did. refuses_empty: answer 500 to uploads of 0 bytes.
    """

    api_key = "0123456789abcdef-the-key-of-the-test-server"
    user_id = str(uuid.UUID(int=1))

    def __init__(self, staging_is_id=True, early=False, refuses_empty=True):
        self.staging_is_id, self.early, self.refuses_empty = staging_is_id, early, refuses_empty
        self.headers = {"Authorization": self.api_key}
        self.tls = None
        self.faults = FaultPlan()
        self.gauge = Gauge()
        self.lock = threading.RLock()
        self.filesystems = {}
        self.contents = {}
        self.uploads = {}
        # Names that listings show beside the true ones, by filesystem and directory: {"files": […]}.
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
        return {
            kind: sorted(found, key=lambda name: zlib.crc32(repr(name).encode())) for kind, found in names.items()
        }

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
