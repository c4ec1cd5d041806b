"""`make` finds an interpreter that works, or says what to install."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
SHELL = "#!/bin/sh\n"
SOUND = f'{SHELL}exec "{sys.executable}" "$@"\n'
OLD = f"{SHELL}exit 1\n"  # of the question whether it is 3.11
BROKEN = f'{SHELL}echo "pyenv: $0: command not found" >&2\nexit 127\n'
BARE = f'{SHELL}case "$2" in *ensurepip*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'

pytestmark = pytest.mark.skipif(MAKE is None, reason="there is no make")


def python(folder: Path, *words: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """Ask which interpreter is taken where these programs are all that PATH has."""
    for name, content in programs.items():
        program = folder / name.replace("_", ".")
        program.write_text(content)
        program.chmod(0o755)
    return subprocess.run(
        [str(MAKE), "--silent", "--no-print-directory", "-C", str(ROOT), "python", *words],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        ({"python3_12": SOUND}, "python3.12"),
        ({"python3_13": SOUND}, "python3.13"),
        ({"python3": SOUND}, "python3"),
        ({"python": SOUND}, "python"),
        ({"python3_11": SOUND, "python3_12": SOUND}, "python3.11"),
        ({"python3_11": BROKEN, "python3_12": BROKEN, "python3": SOUND}, "python3"),
        ({"python3": OLD, "python": SOUND}, "python"),
        ({"python3_11": BARE, "python3": SOUND}, "python3"),
    ],
)
def test_the_first_that_works_is_taken(
    tmp_path: Path, programs: dict[str, str], found: str
) -> None:
    asked = python(tmp_path, **programs)
    assert (asked.returncode, asked.stdout.strip(), asked.stderr) == (0, found, "")


def test_a_named_one_wins(tmp_path: Path) -> None:
    asked = python(tmp_path, "PYTHON=python3.12", python3_11=SOUND, python3_12=SOUND)
    assert asked.stdout.strip() == "python3.12"
    asked = python(tmp_path, f"PYTHON={sys.executable}")
    assert asked.stdout.strip() == sys.executable


def test_a_named_one_that_does_not_work_is_not_replaced(tmp_path: Path) -> None:
    asked = python(tmp_path, "PYTHON=python3.12", python3_11=SOUND, python3_12=OLD)
    assert asked.returncode != 0 and "python3.12" in asked.stderr and asked.stdout == ""


@pytest.mark.parametrize("programs", [{}, {"python3": OLD}, {"python3": BROKEN}])
def test_without_one_it_says_what_to_install(tmp_path: Path, programs: dict[str, str]) -> None:
    asked = python(tmp_path, **programs)
    said = asked.stderr.splitlines()
    assert asked.returncode != 0 and asked.stdout == "" and "command not found" not in said[0]
    assert said[0].startswith("error: no Python 3.11 or newer")
    assert "install python3 python3-venv" in said[0] and "PYTHON=" in said[0]


def test_without_the_venv_module_its_package_is_named(tmp_path: Path) -> None:
    asked = python(tmp_path, python3=BARE)
    version = "python{}.{}".format(*sys.version_info)
    assert asked.returncode != 0 and f"apt-get install {version}-venv" in asked.stderr
