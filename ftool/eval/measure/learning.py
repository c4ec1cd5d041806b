"""What steps.jsonl tells of a run: its curves, and whether it learned too little or too much."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

WINDOW = 20
"""Steps whose losses are averaged to compare the loss of training with that of validation."""
RISE = 0.02
"""A validation loss that is that share above its best has risen."""
CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class Learning:
    """The curves of a run and what they say.

    `training` and `validation` are points (step, nats per learned token), `metric` those of the
    metric that chose the best step. `gap` is the validation loss minus that of training, at the
    end.
    """

    verdict: str
    sentence: str
    training: tuple[tuple[int, float], ...]
    validation: tuple[tuple[int, float], ...]
    metric_name: str | None
    metric: tuple[tuple[int, float], ...]
    gap: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the block of metrics.json."""
        return asdict(self)


def read_curves(steps: Sequence[Mapping[str, Any]]) -> Learning | None:
    """Judge the curves of a run; None where no step was logged.

    The losses of training are those of examples it then learned from, so they are averaged over
    the steps before each validation.

    Args:
        steps: the lines of steps.jsonl.
    """
    losses = [(step["step"], step["loss"]) for step in steps if isfinite(step["loss"])]
    if not losses:
        return None
    validated = [step for step in steps if step.get("validation")]
    scores = [(step["step"], step["validation"]["metrics"]) for step in validated]
    validation = [(step, values["loss"]) for step, values in scores]
    names = sorted({name for _, values in scores for name in values} - {"loss"})
    before = [_mean_before(losses, step) for step, _ in validation]
    verdict, sentence = _judge(validation, before)
    return Learning(
        verdict=verdict,
        sentence=sentence,
        training=tuple(_thinned(losses)),
        validation=tuple(validation),
        metric_name=names[0] if names else None,
        metric=tuple((step, values[names[0]]) for step, values in scores) if names else (),
        gap=validation[-1][1] - before[-1] if validation else None,
    )


def _judge(validation: Sequence[tuple[int, float]], training: Sequence[float]) -> tuple[str, str]:
    """Return the verdict in two words and in a sentence."""
    if len(validation) < 2:
        return "unknown", "too few validations to tell over-fitting"
    best = min(range(len(validation)), key=lambda place: validation[place][1])
    (best_step, lowest), (last_step, last) = validation[best], validation[-1]
    losses = f"validation loss {lowest:.3f} at step {best_step}, {last:.3f} at step {last_step}"
    if last > lowest * (1 + RISE) and training[-1] < training[best]:
        change = f"{losses}, while training fell {training[best]:.3f} to {training[-1]:.3f}"
        return "over-fitting", f"over-fitting from step {best_step}: {change}"
    step, before = validation[-2]
    if best == len(validation) - 1 and last < before * (1 - RISE):
        fell = f"validation loss {before:.3f} at step {step}, {last:.3f} at step {last_step}"
        return "still learning", f"still learning at the end ({fell}): more epochs may help"
    return "no over-fitting", f"no over-fitting: {losses}"


def _mean_before(losses: Sequence[tuple[int, float]], step: int) -> float:
    near = [loss for place, loss in losses if step - WINDOW < place <= step]
    return sum(near) / len(near) if near else losses[-1][1]


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Average neighbouring points where there are more than a picture can show."""
    size = -(-len(points) // CURVE_POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts]
