"""Every test is offline: the libraries are told so before they load, and sockets refuse."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ[name] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.pop("HF_TOKEN", None)

# A busy machine is no failure; the speed is the benchmarks' to hold.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

LOOPBACK = {"127.0.0.1", "::1", "localhost", ""}


def _refuse_strangers(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and name not in LOOPBACK:
        raise RuntimeError(f"a test wanted to reach {name}; tests are offline")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            _refuse_strangers(address[0])
        connect(self, address)

    def guarded_resolve(host: Any, *rest: Any, **named: Any) -> Any:
        _refuse_strangers(host)
        return resolve(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
    yield
