"""Chat templates from outside are tried once in a process of their own, which may not do much.

jinja2's sandbox keeps a template from objects and files, but not from looping or allocating
without end. `python -m ftool.model.tokens.template_probe` is that process; it needs jinja2 alone.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from ftool.errors import RecipeError

CPU_SECONDS = 2
WALL_SECONDS = 20.0
MEMORY_BYTES = 512 * 2**20
TEXT_CHARACTERS = 1_000_000
"""Bounds of a template: what the longest of the conversations below may take and give."""
FAULTS = {
    "time": f"it computes for more than {CPU_SECONDS} seconds",
    "memory": f"it needs more than {MEMORY_BYTES // 2**20} MiB of memory",
    "size": f"it makes more than {TEXT_CHARACTERS:,} characters of a short conversation",
    "sandbox": "it reaches for what its sandbox forbids",
}
"""What a template does -> the words for it."""
_KEPT = ("LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")
_ROLES = ("system", "user", "assistant", "user", "assistant", "user", "assistant")
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look it up.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
    },
}
_passed: set[str] = set()


def check_template(tokenizer: Any, shown: str, *, passed: Path) -> None:
    """Try the chat templates of a tokenizer; one that was tried before costs nothing.

    Args:
        tokenizer: with a template, several by name, or none.
        shown: how a message names the template.
        passed: the folder that remembers by their hash which ones are sound.

    Raises:
        RecipeError: a template loops, needs or makes too much, or reaches out of its sandbox.
    """
    found = tokenizer.chat_template
    templates = list(found.values()) if isinstance(found, dict) else [found] if found else []
    if not templates:
        return
    tokens = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    task = json.dumps([templates, tokens])
    digest = sha256(task.encode("utf-8", "surrogatepass")).hexdigest()
    if digest in _passed or (passed / digest).is_file():
        return
    if fault := _fault(task):
        raise RecipeError(
            f"{shown}: its chat template is refused, for {FAULTS[fault]}",
            hint="set model.chat_template to a template that you trust",
        )
    _passed.add(digest)
    with suppress(OSError):  # a cache that cannot be written only costs time
        passed.mkdir(parents=True, exist_ok=True)
        (passed / digest).touch()


def _fault(task: str) -> str:
    """Return what a process found wrong with templates, or nothing."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    command = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(
            command,
            input=task.encode("utf-8", "surrogatepass"),
            env=environment,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "time"
    if done.returncode == 0:
        return done.stdout.decode().strip()
    if done.returncode < 0:  # ended from outside: by its limits
        return "time"
    if b"MemoryError" in done.stderr:
        return "memory"
    raise RuntimeError(f"the chat template could not be tried: {done.stderr.decode()}")


def _limit_itself() -> None:
    if sys.platform == "win32":
        return
    import resource

    for kind, bound in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(kind, (bound, bound))


def template_environment() -> Any:
    """Return the sandbox in which transformers renders, without what only marks its output."""
    from datetime import datetime

    from jinja2 import TemplateError, ext, nodes, utils
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(ext.Extension):
        """The tag `generation`, which changes nothing."""

        tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class Namespace(utils.Namespace):
        """A namespace that keeps Python's own attributes out."""

        def __setitem__(self, name: Any, value: Any) -> None:
            if str(name).startswith("_"):
                raise SecurityError(f"{name} cannot be set")
            super().__setitem__(name, value)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, **settings: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **settings})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["namespace"] = Namespace
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    return environment


def _conversations() -> list[dict[str, Any]]:
    """Return what a template is tried with: the usual shapes, short and longer."""
    turns = [{"role": role, "content": f"The {role} says so. " * 40} for role in _ROLES]
    shapes = [turns, turns[1:], turns[:2], turns[1:2], turns[1:3]]
    return [
        {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt}
        for messages in shapes
        for tools in (None, [_TOOL])
        for prompt in (True, False)
    ]


def _try(templates: list[str], tokens: dict[str, str]) -> str:
    from jinja2.exceptions import SecurityError

    environment = template_environment()
    for template in templates:
        for conversation in _conversations():
            try:
                text = environment.from_string(template).render(**conversation, **tokens)
            except MemoryError:
                return "memory"
            except SecurityError:
                return "sandbox"
            except Exception:
                continue  # the template refuses such a conversation, and says so where it is used
            if len(text) > TEXT_CHARACTERS:
                return "size"
    return ""


if __name__ == "__main__":
    task = json.loads(sys.stdin.buffer.read().decode("utf-8", "surrogatepass"))
    _limit_itself()
    sys.stdout.write(_try(*task))
