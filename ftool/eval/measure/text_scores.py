"""Open answers beside their references: exact match, words, ROUGE-L, chrF, BLEU, JSON."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from ftool.metrics import Estimate, loss_estimate, wilson

DRAWS, SEED = 1000, 17
"""Bootstrap resamples of chrF and BLEU, and what seeds them."""

# Scripts that put no spaces between words have a word per character.
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")


class _Words:
    """What rouge-score asks for in place of its own words, which are ASCII only."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text, in small letters, without punctuation."""
        return _words(text)


def text_scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, Estimate]:
    """Score answers beside their references, with 95 % intervals.

    `exact_match`, `token_f1`, `rouge_l` and the JSON scores are between 0 and 1; `chrf` and `bleu`
    are of the whole set and between 0 and 100, as the field writes them. JSON is scored where
    every reference is a JSON object.

    Source:
        token F1: Rajpurkar et al. (2016), SQuAD, section 6.1; ROUGE-L: Lin (2004); chrF: Popovic
        (2015); BLEU: Papineni et al. (2002) as sacrebleu computes it, Post (2018).

    Raises:
        ValueError: no answers, or not as many references.
    """
    if not outputs or len(outputs) != len(references):
        raise ValueError(f"{len(outputs)} answers and {len(references)} references")
    pairs = list(zip(outputs, references, strict=True))
    equal = sum(output.strip() == reference.strip() for output, reference in pairs)
    return {
        "exact_match": wilson(equal, len(pairs)),
        "token_f1": _mean([token_f1(output, reference) for output, reference in pairs]),
        "rouge_l": _mean(_rouge_l(pairs)),
        **_of_the_whole_set(outputs, references),
        **_json_scores(outputs, references),
    }


def score_names(references: Sequence[str]) -> list[str]:
    """Return the names of the scores that answers beside these references get."""
    names = ["exact_match", "token_f1", "rouge_l", "chrf", "bleu"]
    found = [_fields(reference) for reference in references]
    if any(fields is None for fields in found):
        return names
    keys = sorted({key for fields in found for key in fields or ()})
    return [*names, "json_valid", *(["json_f1"] if keys else []), *map(_name_of_key, keys)]


def _name_of_key(key: str) -> str:
    return f"json_f1[{key}]"


def token_f1(output: str, reference: str) -> float:
    """Return the F1 of the words of an answer, counted as often as they stand there."""
    ours, theirs = Counter(_words(output)), Counter(_words(reference))
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _rouge_l(pairs: Sequence[tuple[str, str]]) -> list[float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    return [scorer.score(reference, output)["rougeL"].fmeasure for output, reference in pairs]


def _of_the_whole_set(outputs: Sequence[str], references: Sequence[str]) -> dict[str, Estimate]:
    """Score a set at once: its counts are summed, so resamples sum them anew."""
    import numpy as np
    from sacrebleu.metrics import BLEU, CHRF

    dice = np.random.default_rng(SEED)
    draws = dice.multinomial(len(outputs), [1 / len(outputs)] * len(outputs), size=DRAWS)
    found = {}
    for name, metric in {"chrf": CHRF(), "bleu": BLEU()}.items():
        value = metric.corpus_score(outputs, [references]).score
        counts = np.array(metric._extract_corpus_statistics(outputs, [references]))
        sums = (draws @ counts).tolist()
        drawn = [metric._compute_score_from_stats(one).score for one in sums]
        low, high = np.quantile(drawn, [0.025, 0.975])
        found[name] = Estimate(float(value), min(value, float(low)), max(value, float(high)))
    return found


def _mean(values: Sequence[float]) -> Estimate:
    return loss_estimate(values, [1] * len(values))


def _json_scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, Estimate]:
    """Score the fields of JSON objects; an answer that is none has no fields."""
    wanted = [_fields(reference) for reference in references]
    expected = [fields for fields in wanted if fields is not None]
    if len(expected) != len(references):
        return {}
    read = [_fields(output) for output in outputs]
    given: list[Mapping[str, str]] = [fields or {} for fields in read]
    valid = sum(fields is not None for fields in read)
    scores = {"json_valid": wilson(valid, len(outputs))}
    keys = sorted({key for fields in expected for key in fields})
    every = {*keys, *(key for fields in given for key in fields)}
    if every:
        scores["json_f1"] = _f1(given, expected, every)
    return scores | {_name_of_key(key): _f1(given, expected, {key}) for key in keys}


def _f1(
    given: Sequence[Mapping[str, str]],
    expected: Sequence[Mapping[str, str]],
    chosen: Set[str],
) -> Estimate:
    """Return the F1 of the fields with one of some keys: 2 right / (given + expected)."""
    shares, weights = [], []
    for ours, theirs in zip(given, expected, strict=True):
        right = sum(key in ours and ours[key] == theirs.get(key) for key in chosen & ours.keys())
        weight = len(chosen & ours.keys()) + len(chosen & theirs.keys())
        shares.append(2 * right / weight if weight else 0.0)
        weights.append(weight)
    return loss_estimate(shares, weights)


def _fields(text: str) -> dict[str, str] | None:
    """Return the values of a JSON object, each written in one way; None for anything else."""
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        value: Any = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return {key: json.dumps(inner, sort_keys=True) for key, inner in value.items()}
