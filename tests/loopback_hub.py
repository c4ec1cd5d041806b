"""A Hugging Face Hub on the loopback interface, for tests with the real client and the real hf_xet.

It serves the routes the client calls and refuses what the real Hub refuses: wrong tokens, unknown
repositories, malformed cards, contents that do not match their SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import parse_qs, unquote

from loopback_http import Refusal, Reply, Request, Server
from loopback_rules import GIT_ATTRIBUTES, belongs_in_lfs, card_errors, has_metadata
from loopback_storage import LargeFiles, StoredFile

USER = "tester"


@dataclass(frozen=True)
class Commit:
    """A commit with the complete tree it leaves behind."""

    id: str
    message: str
    files: Mapping[str, StoredFile]


@dataclass
class Repository:
    """A repository with one branch, `main`; its first commit holds only `.gitattributes`."""

    private: bool
    commits: list[Commit]

    @property
    def files(self) -> Mapping[str, StoredFile]:
        """The files of the newest commit."""
        return self.commits[-1].files


class LoopbackHub:
    """A Hub on 127.0.0.1 for tests; use as a context manager.

    Attributes:
        url: The endpoint, `http://127.0.0.1:PORT`.
        token: The only token the Hub accepts.
        role: What `whoami` says the token may do; with "read" every change is refused.
        requests: "METHOD path" of every request, in order.
        repos: The repositories by (type, id).
    """

    def __init__(self, folder: Path, *, token: str = "hf_loopback") -> None:
        """Take a free port; large files, and what clients cache, go below `folder`."""
        self.token = token
        self.role = "write"
        self.requests: list[str] = []
        self.repos: dict[tuple[str, str], Repository] = {}
        self._home = folder / "hf_home"
        self._large = LargeFiles(folder)
        self._failures: list[tuple[str, int]] = []
        self._lock = threading.Lock()
        self._server = Server(self._answer)
        poll = {"poll_interval": 0.05}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=poll, daemon=True)
        self.url = self._server.url

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to serve and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail_next(self, pattern: str, status: int, times: int = 1) -> None:
        """Answer the next `times` requests whose path contains `pattern` with `status`."""
        self._failures += [(pattern, status)] * times

    def content(self, repo_id: str, path: str) -> bytes:
        """Return the bytes of one file of a model repository, wherever they are stored."""
        return self._read(self.repos["model", repo_id].files[path])

    def environment(self) -> dict[str, str]:
        """Return a complete environment for a subprocess that shall know no other Hub."""
        foreign = re.compile(r"HF_.*|HUGGING.*|TRANSFORMERS_OFFLINE|.*_PROXY", re.IGNORECASE)
        inherited = {k: v for k, v in os.environ.items() if not foreign.fullmatch(k)}
        own = {"HF_ENDPOINT": self.url, "HF_TOKEN": self.token, "HF_HOME": str(self._home)}
        return inherited | own | {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def _answer(self, request: Request) -> Reply:
        path = unquote(request.path)
        with self._lock:
            self.requests.append(f"{request.method} {path}")
            try:
                if failure := next((it for it in self._failures if it[0] in path), None):
                    self._failures.remove(failure)
                    raise Refusal(failure[1], "The test asked for this failure")
                return self._route(request)
            except Refusal as refusal:
                return refusal.reply

    def _route(self, request: Request) -> Reply:
        bearer = f"Bearer {self.token}"
        if request.headers.get("authorization", bearer) != bearer:
            raise Refusal(401, "Invalid credentials in Authorization header")
        for methods, pattern, handler in ROUTES:
            match = pattern.fullmatch(request.path)
            if match and request.method in methods.split():
                args = {name: unquote(value or "") for name, value in match.groupdict().items()}
                return handler(self, replace(request, args=args))
        raise Refusal(404, f"The loopback Hub has no route {request.method} {request.path}")

    def _require_login(self, request: Request, *, write: bool = False) -> None:
        if request.anonymous:
            raise Refusal(401, "Invalid username or password.")
        if write and self.role != "write":
            raise Refusal(403, "The role of the token is not write")

    def _repository(self, request: Request, *, write: bool = False) -> Repository:
        repository = self.repos.get(request.repository)
        if repository is None or (request.anonymous and (write or repository.private)):
            raise Refusal(401 if request.anonymous else 404, "Repository not found", "RepoNotFound")
        if write:
            self._require_login(request, write=True)
        return repository

    def _commit_at(self, request: Request, *, write: bool = False) -> Commit:
        """Return the commit that the route's revision names; only `main` can be written to."""
        commits = self._repository(request, write=write).commits
        known = {} if write else {commit.id: commit for commit in commits}
        known["main"] = commits[-1]
        revision = request.args.get("revision", "main")
        if revision not in known:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return known[revision]

    def _read(self, file: StoredFile) -> bytes:
        return self._large.read(file.sha256, self.environment()) if file.sha256 else file.blob

    def _entries(self, commit: Commit) -> dict[str, dict[str, Any]]:
        """Return the folders and files of a commit by path, the way the Hub lists them."""
        folders = {str(parent) for path in commit.files for parent in PurePosixPath(path).parents}
        entries: dict[str, dict[str, Any]] = {
            path: {"type": "directory", "path": path, "size": 0, "oid": commit.id}
            for path in sorted(folders - {"."})
        }
        xet = self._large.xet()
        for path, file in sorted(commit.files.items()):
            entries[path] = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
            if file.sha256:
                lfs = {"oid": file.sha256, "sha256": file.sha256, "size": file.size}
                entries[path]["lfs"] = lfs | {"pointerSize": len(file.blob)}
            if file.sha256 in xet:
                entries[path]["xetHash"] = xet[file.sha256].hash
        return entries

    def _whoami(self, request: Request) -> Reply:
        self._require_login(request)
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.role}}
        return Reply.json({"type": "user", "name": USER, "orgs": [], "auth": auth})

    def _validate_card(self, request: Request) -> Reply:
        card = request.json()["content"]
        errors = [{"message": error} for error in card_errors(card)]
        missing = [{"message": "empty or missing yaml metadata in repo card"}]
        warnings = [] if has_metadata(card) else missing
        return Reply.json({"errors": errors, "warnings": warnings}, 400 if errors else 200)

    def _create(self, request: Request) -> Reply:
        self._require_login(request, write=True)
        wanted = request.json()
        kind = wanted.get("type", "model")
        repo_id = f"{wanted.get('organization') or USER}/{wanted['name']}"
        url = f"{self.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
        if (kind, repo_id) in self.repos:
            return Reply.json({"error": f"You already created this {kind} repo", "url": url}, 409)
        files = {".gitattributes": StoredFile.regular(GIT_ATTRIBUTES.encode())}
        first = Commit(hashlib.sha1(url.encode()).hexdigest(), "initial commit", files)
        self.repos[kind, repo_id] = Repository(wanted.get("visibility") == "private", [first])
        return Reply.json({"url": url, "name": repo_id})

    def _info(self, request: Request) -> Reply:
        commit = self._commit_at(request)
        files = {path: e for path, e in self._entries(commit).items() if e["type"] == "file"}
        siblings = [
            {"rfilename": path} | ({"blobId": e["oid"], **e} if "blobs" in request.query else {})
            for path, e in files.items()
        ]
        private = self._repository(request).private
        about = {"_id": commit.id, "id": request.args["repo"], "sha": commit.id, "tags": []}
        return Reply.json(about | {"private": private, "siblings": siblings})

    def _tree(self, request: Request) -> Reply:
        entries = self._entries(self._commit_at(request))
        folder = request.args.get("path", "")
        prefix = f"{folder}/" if folder else ""
        below = {path.removeprefix(prefix): path for path in entries if path.startswith(prefix)}
        if folder and not below:
            raise Refusal(404, f"{folder} does not exist", "EntryNotFound")
        if request.query.get("recursive") != ["true"]:
            below = {rest: path for rest, path in below.items() if "/" not in rest}
        return Reply.json([entries[path] for path in below.values()])

    def _paths_info(self, request: Request) -> Reply:
        entries = self._entries(self._commit_at(request))
        paths = parse_qs(request.body.decode()).get("paths", [])
        return Reply.json([entries[path] for path in paths if path in entries])

    def _preupload(self, request: Request) -> Reply:
        commit = self._commit_at(request, write=True)
        answers = []
        for file in request.json()["files"]:
            large = belongs_in_lfs(file["path"], file["size"], base64.b64decode(file["sample"]))
            mode = {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            stored = commit.files.get(file["path"])
            answers.append({"path": file["path"], "oid": stored and stored.etag, **mode})
        return Reply.json({"files": answers, "commitOid": commit.id})

    def _xet_token(self, request: Request) -> Reply:
        self._repository(request, write=request.args["access"] == "write")
        url, expiry = self._large.cas_url, int(time.time()) + 3600
        # The Rust half of the client reads the body, the Python half the headers.
        names = ("X-Xet-Cas-Url", "X-Xet-Access-Token", "X-Xet-Token-Expiration")
        headers = dict(zip(names, (url, "xet", str(expiry)), strict=True))
        return Reply.json({"casUrl": url, "accessToken": "xet", "exp": expiry}, headers=headers)

    def _lfs_batch(self, request: Request) -> Reply:
        self._repository(request, write=True)
        objects = [{"oid": it["oid"], "size": it["size"]} for it in request.json()["objects"]]
        for item in objects:
            if self._large.size(item["oid"]) is None:
                item["actions"] = {"upload": {"href": f"{self.url}/lfs/{item['oid']}"}}
        return Reply.json({"transfer": "basic", "objects": objects})

    def _lfs_upload(self, request: Request) -> Reply:
        try:
            self._large.write(request.args["oid"], request.body)
        except ValueError as error:
            raise Refusal(400, str(error)) from error
        return Reply()

    def _commit(self, request: Request) -> Reply:
        parent = self._commit_at(request, write=True)
        files, message = dict(parent.files), ""
        for line in request.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "header":
                    message = value["summary"]
                    if value.get("parentCommit", parent.id) != parent.id:
                        raise Refusal(412, "A commit has happened since. Please refresh.")
                case "file":
                    files[value["path"]] = self._regular_file(value)
                case "lfsFile":
                    files[value["path"]] = self._large_file(value)
                case "deletedFile" | "deletedFolder":
                    gone = re.compile(re.escape(value["path"].rstrip("/")) + "(/.*)?")
                    files = {path: it for path, it in files.items() if not gone.fullmatch(path)}
                case key:
                    raise Refusal(400, f"Unknown operation {key}")
        oid = hashlib.sha1(request.body + parent.id.encode()).hexdigest()
        self._repository(request).commits.append(Commit(oid, message, files))
        url = f"{self.url}/{request.args['repo']}/commit/{oid}"
        return Reply.json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    def _regular_file(self, value: Mapping[str, str]) -> StoredFile:
        path, content = value["path"], base64.b64decode(value["content"], validate=True)
        errors = card_errors(content.decode(errors="replace")) if path == "README.md" else []
        if belongs_in_lfs(path, len(content), content[:512]):
            errors.append(f"{path} is too large or binary, please store it with LFS or xet")
        if errors:
            raise Refusal(400, "Your push was rejected: " + "; ".join(errors))
        return StoredFile.regular(content)

    def _large_file(self, value: Mapping[str, Any]) -> StoredFile:
        size = self._large.size(value["oid"])
        if size is None or size != value.get("size", size):
            reason = "LFS pointer pointed to a file that does not exist"
            raise Refusal(400, f"{reason}: {value['path']}")
        return StoredFile.large(value["oid"], size)

    def _resolve(self, request: Request) -> Reply:
        commit = self._commit_at(request)
        headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
        file = commit.files.get(request.args["path"])
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", headers)
        headers["ETag"] = f'"{file.etag}"'
        if file.sha256:
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
            if xet := self._large.xet().get(file.sha256):
                kind, repo = request.repository
                route = f"{self.url}/api/{kind}s/{repo}/xet-read-token/{commit.id}"
                headers |= {"X-Xet-Hash": xet.hash, "X-Xet-Refresh-Route": route}
        if request.method == "HEAD":
            return Reply(headers=headers | {"Content-Length": str(file.size)})
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None:
            return Reply(self._read(file), headers=headers)
        start, last = int(wanted[1]), min(int(wanted[2] or file.size), file.size - 1)
        headers["Content-Range"] = f"bytes {start}-{last}/{file.size}"
        return Reply(self._read(file)[start : last + 1], 206, headers)


def _pattern(template: str) -> re.Pattern[str]:
    """Return a route as a pattern: `{name}` is one segment of a path unless listed here."""
    parts = {
        "kind": "models|datasets|spaces",
        "prefix": "(?:datasets/|spaces/)?",
        "repo": "[^/]+/[^/]+",
        "path": ".+",
    }
    pieces = re.split(r"{(\w+)}", template)
    names = [f"(?P<{name}>{parts.get(name, '[^/]+')})" for name in pieces[1::2]]
    fixed = [re.escape(piece) for piece in pieces[::2]]
    return re.compile("".join(a + b for a, b in zip(fixed, [*names, ""], strict=True)))


ROUTES: tuple[tuple[str, re.Pattern[str], Callable[[LoopbackHub, Request], Reply]], ...] = tuple(
    (methods, _pattern(template), handler)
    for methods, template, handler in (
        ("GET", "/api/whoami-v2", LoopbackHub._whoami),
        ("POST", "/api/validate-yaml", LoopbackHub._validate_card),
        ("POST", "/api/repos/create", LoopbackHub._create),
        ("GET", "/api/{kind}/{repo}", LoopbackHub._info),
        ("GET", "/api/{kind}/{repo}/revision/{revision}", LoopbackHub._info),
        ("GET", "/api/{kind}/{repo}/tree/{revision}", LoopbackHub._tree),
        ("GET", "/api/{kind}/{repo}/tree/{revision}/{path}", LoopbackHub._tree),
        ("POST", "/api/{kind}/{repo}/paths-info/{revision}", LoopbackHub._paths_info),
        ("POST", "/api/{kind}/{repo}/preupload/{revision}", LoopbackHub._preupload),
        ("GET", "/api/{kind}/{repo}/xet-{access}-token/{revision}", LoopbackHub._xet_token),
        ("POST", "/api/{kind}/{repo}/commit/{revision}", LoopbackHub._commit),
        ("POST", "/{prefix}{repo}.git/info/lfs/objects/batch", LoopbackHub._lfs_batch),
        ("PUT", "/lfs/{oid}", LoopbackHub._lfs_upload),
        ("GET HEAD", "/{prefix}{repo}/resolve/{revision}/{path}", LoopbackHub._resolve),
    )
)
