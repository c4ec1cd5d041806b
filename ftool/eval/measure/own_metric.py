"""The metric that a recipe names: one of labels, one of evaluate, or a function in a file."""

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ftool.errors import RecipeError, did_you_mean
from ftool.metrics import LABEL_METRICS, metric_value

Metric = Callable[[Sequence[str], Sequence[str | None]], float]
"""Takes what was expected and what was predicted (None where nothing could be read)."""

PREFIX = "evaluate:"


def make_metric(name: str, label_names: Sequence[str], *, folder: Path) -> Metric:
    """Return a metric by its name, found and tried before anything is computed with it.

    `evaluate:NAME` is loaded by evaluate (`evaluate:NAME:KEY` takes one of several values of it)
    and gets unread answers as empty texts. `file.py:function` is called with `predictions` (None
    where nothing could be read) and `references`, and returns a number. More is better.

    Args:
        name: `eval.metric` of a recipe.
        label_names: the declared labels; a metric of labels needs them.
        folder: that files are relative to.

    Raises:
        RecipeError: there is no such metric, or it gives no number for right answers.
    """
    if name in LABEL_METRICS:
        return lambda expected, predicted: metric_value(name, expected, predicted, label_names)
    compute = _of_evaluate(name) if name.startswith(PREFIX) else _of_file(name, folder)

    def metric(expected: Sequence[str], predicted: Sequence[str | None]) -> float:
        try:
            with redirect_stdout(sys.stderr):  # standard output is the report's
                value = float(compute(predicted, expected))
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise RecipeError(f"eval.metric: {name} failed ({reason})") from error
        if not math.isfinite(value):
            raise RecipeError(f"eval.metric: {name} is {value}")
        return value

    right = list(label_names[:2]) or ["a right answer", "another one"]
    metric(right, right)
    return metric


def _of_evaluate(name: str) -> Callable[[Sequence[str | None], Sequence[str]], Any]:
    from ftool.eval.measure.metric import load_metric

    of_name, _, key = name.removeprefix(PREFIX).partition(":")
    loaded = load_metric(of_name)

    def compute(predicted: Sequence[str | None], expected: Sequence[str]) -> Any:
        texts = [text or "" for text in predicted]
        found = loaded.compute(predictions=texts, references=list(expected))
        wanted = key or (of_name.rpartition("/")[2] if len(found) > 1 else next(iter(found)))
        if wanted not in found:
            raise ValueError(f"it has {', '.join(found)}; write {PREFIX}{of_name}:KEY")
        return found[wanted]

    return compute


def _of_file(name: str, folder: Path) -> Callable[[Sequence[str | None], Sequence[str]], Any]:
    file, _, function = name.rpartition(":")
    path = folder / file
    specification = spec_from_file_location("ftool_own_metric", path) if path.is_file() else None
    if specification is None or specification.loader is None:
        raise RecipeError(f"eval.metric: there is no file {path}")
    module = module_from_spec(specification)
    try:
        with redirect_stdout(sys.stderr):
            specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise RecipeError(f"eval.metric: {path} cannot be run ({reason})") from error
    there = [key for key, value in vars(module).items() if callable(value)]
    if function not in there:
        near = did_you_mean(function, there)
        raise RecipeError(f"eval.metric: {path} has no function `{function}`{near}")
    found = getattr(module, function)
    return lambda predicted, expected: found(predictions=list(predicted), references=list(expected))
