"""The HTTP side of the loopback Hub: requests, replies, refusals, and a server on 127.0.0.1."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """An HTTP request; `args` are the named parts of the route that matched."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    args: Mapping[str, str] = field(default_factory=dict)

    @property
    def anonymous(self) -> bool:
        """Whether the caller sent no token."""
        return "authorization" not in self.headers

    @property
    def repository(self) -> tuple[str, str]:
        """The (type, id) of the repository that the route names."""
        folder = self.args.get("kind") or self.args.get("prefix") or "models"
        return folder.rstrip("/").removesuffix("s"), self.args["repo"]

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An HTTP response; a `Content-Length` among the headers wins over the length of the body."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(
        cls, data: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Self:
        """Return a response with `data` as JSON."""
        kind = {"Content-Type": "application/json"}
        return cls(json.dumps(data).encode(), status, {**kind, **(headers or {})})


class Refusal(Exception):
    """An error response; the client chooses its exception by the status and the `code`."""

    def __init__(
        self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Give the reason in the headers and in the body, as the Hub does."""
        super().__init__(message)
        line = " ".join(message.split()).encode("ascii", "replace").decode()
        errors = {"X-Error-Code": code, "X-Error-Message": line, **(headers or {})}
        self.reply = Reply.json({"error": message}, status, errors)


class Server(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1 that lets one function answer everything."""

    # Clients open several connections at once, and repeat one that was dropped only after a second.
    request_queue_size = 64

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        """Take a port; `answer` is called from a thread per connection."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the Hub keeps its own list of requests."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = b"".join(self._body(headers))
        reply = self.server.answer(
            Request(self.command, url.path, parse_qs(url.query), headers, body)
        )
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _body(self, headers: Mapping[str, str]) -> Iterator[bytes]:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            yield self.rfile.read(int(headers.get("content-length", 0)))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    do_GET = do_HEAD = do_POST = do_PUT = _serve
