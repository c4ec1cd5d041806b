"""Metrics of open answers and of tokens, and the report that they make."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftool.artifacts import Prediction
from ftool.errors import DataError
from ftool.eval.measure.text_scores import text_scores
from ftool.eval.report import Comparison, Report
from ftool.metrics import Estimate, loss_estimate


def answer_report(
    predictions: Sequence[Prediction], *, subject: str, split: str, inputs: Mapping[str, Any]
) -> Report:
    """Report how near generated answers are to what the examples say.

    Raises:
        DataError: there are no examples, or one has no answer.
    """
    metrics = answer_metrics(predictions)
    return Report(subject, split, "generate", len(predictions), metrics, dict(inputs))


def answer_comparison(name: str, predictions: Sequence[Prediction]) -> Comparison:
    """Score the answers of the base model.

    Raises:
        DataError: there are no examples, or one has no answer.
    """
    return Comparison(name, answer_metrics(predictions), len(predictions))


def answer_metrics(predictions: Sequence[Prediction]) -> dict[str, Estimate]:
    """Return the text scores of generated answers.

    Raises:
        DataError: there are no examples, or one has no answer.
    """
    references = [row.expected for row in predictions if row.expected is not None]
    if not predictions or len(references) != len(predictions):
        missing = next((f": {row.id} has none" for row in predictions if row.expected is None), "")
        raise DataError(f"open answers are scored beside those of the examples{missing}")
    return text_scores([row.output for row in predictions], references)


def token_metrics(predictions: Sequence[Prediction]) -> dict[str, Estimate]:
    """Return the share of learned tokens that the model put first, and its bits per byte.

    Every token is predicted from the right ones before it, so this is no accuracy of answers.
    Bits per byte compare models whatever their tokenizers.

    Source:
        Gao et al. (2020), The Pile, section 3.1: bits per byte.
    """
    learned = [row for row in predictions if row.learned_tokens and row.loss is not None]
    shares = [row.correct_tokens / row.learned_tokens for row in learned]
    found = {"token_accuracy": loss_estimate(shares, [row.learned_tokens for row in learned])}
    texts = [row for row in learned if row.learned_bytes]
    if texts:
        bits = [(row.loss or 0.0) * row.learned_tokens / math.log(2) for row in texts]
        rates = [own / row.learned_bytes for own, row in zip(bits, texts, strict=True)]
        found["bits_per_byte"] = loss_estimate(rates, [row.learned_bytes for row in texts])
    return found
