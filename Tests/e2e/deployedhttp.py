"""HTTP as the test server speaks it: reads requests, has them answered as the fault plan says, and keeps the log."""

import http.server
import json
import os
import select
import socket
import struct
import sys
import urllib.parse


class Refusal(Exception):
    """An answer that is not 200."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A connection that breaks off, as that of a driver that is killed, is no failure of the tests'."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


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
        self.length = int(self.headers.get("Content-Length") or 0)
        self.body = b""
        self.filesystem, self.path, self.call, self.json = None, "", "unknown", {}
        self.was_acted = False
        self.was_logged = False
        # What a request is for is in its body, except for a part's.
        if self.method != "PUT":
            self.receive()
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
            if not getattr(fault, "is_within_request", False):
                self.receive()
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

    def receive(self, count=None):
        """Takes the request's body, all of it or its first bytes."""
        count = self.length if count is None else count
        self.body += self.handler.rfile.read(max(0, count - len(self.body)))

    def act(self):
        """Does what is asked; returns the true status and body."""
        with self.server.lock:
            try:
                if self.headers.get("Authorization", "").removeprefix("Bearer ") != self.server.api_key:
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
        self.more(self.wire(status, data, headers, length))

    def wire(self, status, data, headers=(), length=None):
        """An answer as it goes over the wire."""
        lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(data) if length is None else length}"]
        lines += [f"{name}: {value}" for name, value in dict(headers).items()]
        return "\r\n".join(lines + ["", ""]).encode() + data

    def send_raw(self, status, wire):
        """Sends the first bytes of an answer, or what is to pass for one."""
        self._record(status, 0)
        self.more(wire)

    def more(self, data):
        """Sends what was held back."""
        self.handler.wfile.write(data)

    def wait(self):
        """Waits until the plan is cleared."""
        self.released.wait()

    @property
    def is_given_up(self):
        """Whether the asker has ended the connection."""
        connection = self.handler.connection
        try:
            return select.select([connection], [], [], 0)[0] != [] and connection.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True

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
