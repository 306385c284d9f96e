"""nginx in front of a server: TLS and HTTP/2 as many deployments have them.

    with Nginx(server, certificate) as proxy:
        with Mount(proxy, filesystem, "--ca-file", certificate[0]) as mount:
            ...
    assert {entry.protocol for entry in proxy.entries()} == {"HTTP/2.0"}
"""

import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from serverkit import poll

# One answered request; requests with the same `connection` came over one connection.
Proxied = collections.namedtuple("Proxied", "connection protocol method target")

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    log_format proxied '$connection $server_protocol $request_method $request_uri';
    access_log {folder}/access.log proxied;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    keepalive_requests 100000;
    upstream service {{
        server {upstream};
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port} ssl{http2};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        {clients}
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""


class Nginx:
    """A proxy with TLS before `server`. certificate: a (certificate file, key file) pair. http2: whether it speaks it.
    clients: a file of the authorities that the certificate of every client must come from.

    It has what a Mount needs of a server.
    """

    def __init__(self, server, certificate, http2=True, clients=None):
        self.program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not self.program:
            pytest.fail("nginx is missing: scripts/packages.sh test installs it")
        self.server, self.api_key = server, server.api_key
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-nginx-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}/v1"
        self.process = None
        self.frozen = set()
        # Its workers are another user where root starts it, and write into the folder.
        self.folder.chmod(0o755)
        (self.folder / "nginx.conf").write_text(CONFIGURATION.format(
            folder=self.folder, port=self.port, upstream=re.search(r"//([^/]+)", server.url)[1],
            certificate=certificate[0], key=certificate[1], http2=" http2" if http2 else "",
            clients=f"ssl_client_certificate {clients}; ssl_verify_client on;" if clients else "",
        ))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Starts it and waits until it takes connections."""
        with open(self.folder / "stderr.log", "ab") as stderr:
            self.process = subprocess.Popen(
                [self.program, "-p", self.folder, "-c", self.folder / "nginx.conf"],
                stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
            )
        poll(self.is_listening, what="listening nginx")

    def is_listening(self):
        assert self.process.poll() is None, (self.folder / "stderr.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        except ConnectionRefusedError:
            return False

    def stop(self):
        """Ends it at once, with all connections."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.signal(self.frozen, signal.SIGKILL)
            self.frozen = set()
            self.process.wait(30)
            self.process = None

    def freeze_connections(self):
        """Lets all open connections stand still, acknowledged by TCP alone; new ones are served by another worker."""
        self.frozen = self.workers()
        self.signal(self.frozen, signal.SIGSTOP)
        self.process.send_signal(signal.SIGHUP)
        poll(lambda: self.workers() - self.frozen, what="another worker")

    def workers(self):
        master = self.process.pid
        return {int(pid) for pid in pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()}

    @staticmethod
    def signal(workers, number):
        for pid in workers:
            os.kill(pid, number)

    def entries(self, pattern=""):
        """The answered requests so far whose target has a match of the pattern."""
        log = self.folder / "access.log"
        lines = log.read_text().splitlines() if log.exists() else []
        entries = [Proxied(*line.split(" ", 3)) for line in lines]
        return [entry for entry in entries if re.search(pattern, entry.target)]
