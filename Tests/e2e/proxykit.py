"""An HTTP proxy as companies have them: it tunnels CONNECT, and passes other requests on."""

import contextlib
import select
import socket
import threading


class Proxy:
    """A proxy on loopback. requests: the first line of each request that it got. data: all that clients sent to it.

    credentials: the value that the header Proxy-Authorization must have, else it answers 407.
    """

    def __init__(self, credentials=None):
        self.requests, self.data = [], b""
        self.credentials = credentials
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        # A listener that is only closed would not wake who waits for it.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            self.data += head
            line, _, rest = head.partition(b"\r\n")
            self.requests.append(line.decode())
            method, target, version = line.split(b" ")
            if self.credentials and f"Proxy-Authorization: {self.credentials}".encode() not in head:
                client.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if method == b"CONNECT":
                host, _, port = target.decode().rpartition(":")
                with socket.create_connection((host, int(port))) as server:
                    client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                    self.pass_on(client, server)
                return
            host, _, path = target.removeprefix(b"http://").partition(b"/")
            name, _, port = host.decode().partition(":")
            with socket.create_connection((name, int(port or 80))) as server:
                # One request a connection: the next may be for another server.
                kept = [field for field in rest.split(b"\r\n") if not field.lower().startswith(b"connection:")]
                kept.insert(0, b"Connection: close")
                server.sendall(b" ".join([method, b"/" + path, version]) + b"\r\n" + b"\r\n".join(kept))
                self.pass_on(client, server)

    def pass_on(self, client, server):
        other = {client: server, server: client}
        while True:
            for side in select.select(list(other), [], [], 60)[0]:
                data = side.recv(65536)
                if side is client:
                    self.data += data
                if not data:
                    return
                other[side].sendall(data)
