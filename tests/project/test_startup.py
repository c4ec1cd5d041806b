"""Help is quick: no verb loads a heavy library before it has work to do."""

import subprocess
import sys

import pytest

VERBS = ("", "prepare", "show", "train", "eval", "compare", "push-to-hub")
CPU_SECONDS = 0.4
HEAVY = (
    *("torch", "transformers", "datasets", "peft", "accelerate", "evaluate", "sklearn", "pandas"),
    *("numpy", "pyarrow", "huggingface_hub", "rich", "ruamel", "ftfy", "jinja2"),
)
PROGRAM = f"""
import resource, sys
from ftool.__main__ import run
code = run([word for word in sys.argv[1:] if word])
used = resource.getrusage(resource.RUSAGE_SELF)
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print(code, used.ru_utime + used.ru_stime, *loaded, file=sys.stderr)
"""


def measure(*words: str) -> tuple[int, float, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    code, seconds, *loaded = done.stderr.split()
    return int(code), float(seconds), loaded


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_quick_and_loads_nothing_heavy(verb: str) -> None:
    # The best of three: another process on the machine may slow one down.
    runs = [measure(verb, "--help") for _ in range(3)]
    assert [code for code, _, _ in runs] == [0, 0, 0]
    assert [loaded for _, _, loaded in runs] == [[], [], []]
    assert min(seconds for _, seconds, _ in runs) < CPU_SECONDS


def test_a_mistake_in_the_usage_is_told_without_heavy_libraries() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "train", "support"],
        capture_output=True,
        text=True,
        check=True,
    )
    code, _, *loaded = done.stderr.splitlines()[-1].split()
    assert code == "2"
    assert set(loaded) <= {"rich"}


def test_importing_the_package_loads_no_other_module_of_it() -> None:
    program = "import sys, ftool; print([m for m in sys.modules if m.startswith('ftool.')])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
