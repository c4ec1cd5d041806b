import json
import os
import re
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest

from ftool.errors import RunError
from ftool.lock import locked

HOLDER = (
    "import sys; from pathlib import Path; from ftool.lock import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


def test_a_folder_is_held_by_one_process_which_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        owner = f"process {holder.pid} on {re.escape(gethostname())} since 20"
        with pytest.raises(RunError, match=f"another ftool process works in {folder}: {owner}"):
            locked(folder).__enter__()
        holder.kill()
        holder.wait()
    with locked(folder):
        assert json.loads((folder / ".owner.json").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", None])
def test_an_owner_without_a_name_holds_all_the_same(tmp_path: Path, text: str | None) -> None:
    with locked(tmp_path):
        (tmp_path / ".owner.json").unlink()
        if text is not None:
            (tmp_path / ".owner.json").write_text(text)
        with pytest.raises(RunError, match=rf"works in {tmp_path}$"):
            locked(tmp_path).__enter__()


def test_a_folder_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
