"""The pipe through which a training program is allowed its steps; needs nothing but Python."""

import json
import os
import sys
from pathlib import Path
from typing import Any


class Channel:
    """Standard input allows steps, standard output reports them; other prints go to the log."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._is_ready = False

    def wait(self) -> None:
        """Return when the next step is allowed; end with the program that allows them."""
        if not self._is_ready:
            self._tell({"ready": True})
            self._is_ready = True
        if not sys.stdin.readline():
            os._exit(0)

    def report(self, seconds: float, **figures: Any) -> None:
        """Tell what a step took."""
        self._tell({"seconds": seconds, "memory_gib": peak_gib()} | figures)

    def _tell(self, figures: dict[str, Any]) -> None:
        self._out.write(json.dumps(figures) + "\n")
        self._out.flush()


def peak_gib() -> float:
    """Return the most memory that this process held so far (Linux's VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
