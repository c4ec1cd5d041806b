"""Scoring during training: the loss and `eval.metric` on a fixed sample of validation examples."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import xxhash

from ftool.artifacts import OnNote, OnProgress, Prediction, PreparedDataset
from ftool.errors import DivergedError
from ftool.eval.measure.own_metric import Metric, make_metric
from ftool.eval.measure.statistics import stratified_sample
from ftool.eval.predict.predictions import predict_resumably
from ftool.eval.predict.scorer import Scorer, choose_mode
from ftool.example import Example
from ftool.model.tokens.encode import OVERLONG, Encoder, encode_examples
from ftool.recipe.schema import Recipe

KEPT_AFTER = 3.0
"""Seconds from which on it pays to keep what is found; less is made again."""


@dataclass(frozen=True, slots=True)
class Validator:
    """What is scored and by which metric, with the same scorer as `ftool eval`.

    What takes long is kept in `folder` a batch at a time, so that a process that ends in the middle
    loses little; nothing is kept where that is None.
    """

    examples: Sequence[Example]
    encoder: Encoder
    mode: str
    label_names: tuple[str, ...]
    metric: str
    compute: Metric | None
    max_new_tokens: int
    on_progress: OnProgress
    folder: Path | None = None

    def score(self, model: Any, *, step: int, source: str = "training") -> dict[str, float]:
        """Return `loss` (nats per learned token) and the metric.

        Args:
            model: after a step.
            step: that was made last, counted from 1.
            source: of the weights, whose findings are kept apart.

        Raises:
            DivergedError: the loss is not finite.
        """
        scorer = Scorer(model, self.encoder, self.mode, self.label_names, self.max_new_tokens)
        ask = self._asker(model, source)
        rows = ask(replace(scorer, mode="loss"))
        learned = sum(row.learned_tokens for row in rows)
        scores = {"loss": sum((row.loss or 0.0) * row.learned_tokens for row in rows) / learned}
        if not math.isfinite(scores["loss"]):
            raise DivergedError(step, f"the validation loss is {scores['loss']}")
        if self.compute:
            predictions = ask(scorer)
            scores[self.metric] = self.compute(
                [str(prediction.expected) for prediction in predictions],
                [prediction.predicted for prediction in predictions],
            )
        model.train()
        return scores

    def _asker(self, model: Any, source: str) -> Callable[[Scorer], list[Prediction]]:
        """Return what asks a scorer of the model, in this mode and that."""
        if self.folder is None:
            return lambda scorer: scorer.predict(self.examples, on_progress=self.on_progress)
        kept, inputs = self.folder / source, {"weights": _digest(model)}
        return lambda scorer: predict_resumably(
            scorer,
            self.examples,
            file=kept / f"{scorer.mode}.jsonl",
            inputs=inputs,
            after_seconds=KEPT_AFTER,
            on_progress=self.on_progress,
        )

    def goodness(self, scores: dict[str, float]) -> float:
        """Return the metric so that more is better."""
        return -scores["loss"] if self.metric == "loss" else scores[self.metric]


def _digest(model: Any) -> str:
    """Return the xxh3 of everything that is learned."""
    digest = xxhash.xxh3_128()
    for name, value in model.named_parameters():
        if value.requires_grad:
            digest.update(name.encode())
            digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def make_validator(
    recipe: Recipe,
    dataset: PreparedDataset,
    encoder: Encoder,
    *,
    max_length: int,
    folder: Path | None = None,
    on_progress: OnProgress,
    on_note: OnNote,
) -> Validator | None:
    """Choose the validation examples once; None where nothing is validated.

    Args:
        recipe: every setting.
        dataset: with the validation split.
        encoder: of the model.
        max_length: longest example in tokens.
        folder: for what is found, see `Validator`.
        on_progress: told how many examples are scored.
        on_note: told what is not validated, and why.

    Raises:
        RecipeError: the mode needs labels and there are none, or the metric cannot be computed.
    """
    if recipe.train.validation is None:
        return None
    if not dataset.count("validation"):
        on_note("no validation: the dataset has no validation split, so the last step is kept")
        return None
    mode = choose_mode(recipe.eval.mode, dataset.label_names, kind=dataset.kind)
    every = dataset.examples("validation")
    encoded = encode_examples(every, encoder, max_length=max_length)
    if encoded.overlong:
        on_note(f"{len(encoded.overlong)} validation examples exceed {max_length} tokens: not used")
    others = Counter(one.code for one in encoded.left_out if one.code != OVERLONG)
    for code, number in others.items():
        on_note(f"{number} validation examples are not used: {code}")
    unfit = {one.owner for one in encoded.left_out}
    fitting = [example for place, example in enumerate(every) if place not in unfit]
    if not fitting:
        on_note("no validation: none of its examples fits, so the last step is kept")
        return None
    labels = dataset.label_names
    metric = recipe.eval.metric if labels and mode != "loss" else "loss"
    compute = None if metric == "loss" else make_metric(metric, labels, folder=recipe.folder)
    chosen = stratified_sample(
        [example.id for example in fitting],
        [example.label for example in fitting],
        recipe.train.validation.examples,
        seed=recipe.seed,
    )
    return Validator(
        examples=[fitting[index] for index in chosen],
        encoder=encoder,
        mode=mode,
        label_names=dataset.label_names,
        metric=metric,
        compute=compute,
        max_new_tokens=recipe.eval.max_new_tokens,
        on_progress=on_progress,
        folder=folder,
    )
