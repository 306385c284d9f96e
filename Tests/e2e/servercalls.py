"""The API's calls by name, for tests: nothing is checked or retried, every answer is handed back."""

import http.client
import os
import ssl
import urllib.parse

import requests


def pattern(count, start=0):
    """Bytes that repeat with period 251, a prime, so that a misplaced block never compares equal."""
    period = bytes(range(251))
    return (period * ((start % 251 + count) // 251 + 1))[start % 251:start % 251 + count]


class Calls:
    """The calls on one filesystem of a Server, with one user's key."""

    def __init__(self, server, filesystem, api_key=None):
        self.server = server
        self.filesystem = filesystem
        self.session = requests.Session()
        self.session.headers["Authorization"] = api_key or server.api_key

    def call(self, method, path, **options):
        url = f"{self.server.url}/filesystems/{self.filesystem}{path}"
        # With each request: an environment variable (REQUESTS_CA_BUNDLE) goes before what a session says.
        verify = str(self.server.tls[0]) if self.server.tls else True
        return self.session.request(method, url, timeout=60, verify=verify, **options)

    def list(self, path=""):
        return self.call("GET", "/list/" + path)

    def mkdir(self, path):
        return self.call("POST", "/mkdir/" + path)

    def delete(self, path):
        return self.call("DELETE", "/files/" + path)

    def info(self, path):
        return self.call("GET", "/files/" + path, params={"init": "true"})

    def read(self, path, content_range):
        return self.call("GET", "/files/" + path, headers={"Content-Range": content_range})

    def begin(self, path, size):
        return self.call("POST", "/files/" + path, json={"size": size})

    def put(self, path, upload, start, end, data):
        return self.call("PUT", "/files/" + path, headers={"Content-Range": f"[{upload}]:{start}-{end}"}, data=data)

    def finish(self, path, upload, complete=True):
        return self.call("POST", "/files/" + path, json={"uploadId": upload, "complete": complete})

    def started(self, path, size):
        """Begins an upload that must be taken, and returns its id."""
        answer = self.begin(path, size)
        assert answer.status_code == 200, answer.text
        return answer.json()["uploadId"]

    def write(self, path, data):
        """Uploads a whole file in one part."""
        upload = self.started(path, len(data))
        assert self.put(path, upload, 0, len(data), data).status_code == 200
        answer = self.finish(path, upload)
        assert answer.status_code == 200, answer.text

    def content(self, path):
        """A whole file's bytes."""
        size = self.info(path).json()["size"]
        answer = self.read(path, f"0-{size}")
        assert answer.status_code == 200, answer.text
        return answer.content


def staging(server, calls):
    """What a tetherfs-server has of uploads under way to a filesystem."""
    return sorted(os.listdir(server.tree(calls.filesystem).parent / "staging"))


def header(server, calls, upload, start, end, *lines):
    """The head of a PUT to the file `f`, for requests that break off."""
    head = [
        f"PUT /v1/filesystems/{calls.filesystem}/files/f HTTP/1.1", "Host: x", f"Authorization: {server.api_key}",
        f"Content-Range: [{upload}]:{start}-{end}", *lines, "", "",
    ]
    return "\r\n".join(head).encode()


def raw(server, method, target, headers=(), body=b""):
    """Sends a request whose target is not touched by any client library; returns status and body."""
    address = urllib.parse.urlsplit(server.url)
    if address.scheme == "https":
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(address.netloc, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(address.netloc, timeout=30)
    connection.connect()
    lines = [f"{method} ".encode() + target + b" HTTP/1.1", b"Host: " + address.netloc.encode()]
    lines += [f"{name}: {value}".encode() for name, value in dict(headers).items()]
    if body or method in ("POST", "PUT"):
        lines.append(b"Content-Length: %d" % len(body))
    connection.sock.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
    response = http.client.HTTPResponse(connection.sock, method=method)
    response.begin()
    content = response.read()
    connection.close()
    return response.status, content
