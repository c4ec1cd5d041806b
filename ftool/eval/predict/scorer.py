"""A model asked for predictions: by ranking labels, by generating, or by its loss."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ftool.artifacts import (
    OnNote,
    OnProgress,
    Prediction,
    ignore_note,
    ignore_progress,
)
from ftool.errors import DataError, RecipeError, RunError
from ftool.eval.predict.losses import loss_batches
from ftool.eval.predict.parse import read_label, without_reasoning
from ftool.example import Example
from ftool.model.answers.generate import generated_batches
from ftool.model.answers.rank import METHODS, ranked_batches, ranking_method
from ftool.model.answers.search import Ranking
from ftool.model.tokens.encode import Encoder, LeftOut
from ftool.model.tokens.template import UnwritableError
from ftool.model.weights.load import context_tokens, refuse_beyond_embeddings
from ftool.wording import listed

IDS_SHOWN = 3

SLOWER = {
    METHODS[1]: "its attention or layers cannot share a row",
    METHODS[2]: "neither a shared row nor its cache gives the likelihoods of plain rows",
}
"""Why a model's labels are ranked by a slower method."""

Predictions = dict[int, Prediction]
"""Predictions by the place of their example."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model ready to be asked: the same one in training, in evaluation and for the base."""

    model: Any
    encoder: Encoder
    mode: str
    label_names: tuple[str, ...]
    max_new_tokens: int = 64
    certain: bool = False

    def predict(
        self, examples: Sequence[Example], *, on_progress: OnProgress = ignore_progress
    ) -> list[Prediction]:
        """Make one prediction per example, in their order.

        Raises:
            DataError: an example is longer than the model's context.
        """
        found: Predictions = {}
        for batch in self.batches(examples, on_progress=on_progress):
            found.update(batch)
        return [found[place] for place in range(len(examples))]

    def batches(
        self,
        examples: Sequence[Example],
        *,
        known: Set[int] = frozenset(),
        on_progress: OnProgress = ignore_progress,
        on_note: OnNote = ignore_note,
    ) -> Iterator[Predictions]:
        """Make the predictions a batch at a time, in an order that saves work.

        Args:
            examples: all of them, in any order.
            known: places of those that have predictions already; batches are divided as if there
                were none, so that the others get the same numbers to the last bit.
            on_progress: told how many there are, the known ones included.
            on_note: told what slows it down.

        Raises:
            DataError: an example is longer than the model's context.
        """
        self.model.eval()
        if len(known) == len(examples):
            return
        stage, make = {
            "rank": ("ranking labels", self._rank),
            "generate": ("generating", self._generate),
            "loss": ("computing the loss", self._losses),
        }[self.mode]
        done = len(known)
        for batch in make(examples, known, on_note):
            done += len(batch.keys() - known)
            on_progress(stage, done, len(examples))
            yield batch

    def left_out(self, examples: Sequence[Example]) -> list[LeftOut]:
        """Return the conversations that the chat template does not write, and why.

        Training leaves them out, too; to score one is refused.
        """
        found = list[LeftOut]()
        for index, example in enumerate(examples):
            try:
                if example.text is None and self.mode == "loss":
                    self.encoder.chat(example)
                elif example.text is None:
                    self.encoder.prompt(example)
            except UnwritableError as error:
                found.append(LeftOut.of(error, example, index))
        return found

    def ranking_method(self, examples: Sequence[Example]) -> str:
        """Return how the labels of examples are ranked: one of METHODS, as was found out.

        Raises:
            DataError: an example is longer than the model's context.
        """
        labels = self._labels(examples)
        prompts = self._prompts(examples, max(map(len, labels)))
        return ranking_method(self.model, prompts, labels)

    def _rank(
        self, examples: Sequence[Example], known: Set[int], on_note: OnNote
    ) -> Iterator[Predictions]:
        labels = self._labels(examples)
        prompts = self._prompts(examples, max(map(len, labels)))
        try:
            method = ranking_method(self.model, prompts, labels)
            if method in SLOWER:
                on_note(f"labels are ranked by {method}, which is slow: {SLOWER[method]}")
            for batch in ranked_batches(
                self.model, prompts, labels, method=method, certain=self.certain, known=known
            ):
                yield {
                    place: self._ranked(examples[place], ranking)
                    for place, ranking in batch.items()
                }
        except ValueError as error:
            raise DataError(f"the labels cannot be told apart by their tokens ({error})") from error

    def _labels(self, examples: Sequence[Example]) -> list[list[int]]:
        """Encode every label as an answer to the first example behind which one can be written.

        They begin alike behind all prompts.
        """
        for example in examples:
            try:
                labels = [self.encoder.completion(example, name) for name in self.label_names]
            except UnwritableError:
                if example is examples[-1]:
                    raise
            else:
                break
        refuse_beyond_embeddings(self.model, self.encoder.tokenizer, labels)
        return labels

    def _ranked(self, example: Example, ranking: Ranking) -> Prediction:
        if ranking.label < 0:
            raise RunError(
                "the model's likelihoods are not finite",
                hint="train again with a lower train.learning_rate",
            )
        label = self.label_names[ranking.label]
        return Prediction(
            id=example.id,
            expected=example.label,
            predicted=label,
            output=label,
            log_probability=ranking.log_probability,
            probability=sum(ranking.probability_bounds) / 2,
            probability_bounds=ranking.probability_bounds,
            off_label=sum(ranking.off_label_bounds) / 2,
            greedy=None if ranking.greedy < 0 else self.label_names[ranking.greedy],
        )

    def _generate(
        self, examples: Sequence[Example], known: Set[int], _: OnNote
    ) -> Iterator[Predictions]:
        for batch in generated_batches(
            self.model,
            self.encoder.tokenizer,
            self._prompts(examples, self.max_new_tokens),
            end_id=self.encoder.end_of_turn_id,
            max_new_tokens=self.max_new_tokens,
            known=known,
            lead=self.encoder.lead(),
        ):
            yield {
                place: self._answered(examples[place], output) for place, output in batch.items()
            }

    def _losses(
        self, examples: Sequence[Example], known: Set[int], _: OnNote
    ) -> Iterator[Predictions]:
        return loss_batches(self.model, self.encoder, examples, known=known)

    def _answered(self, example: Example, output: str) -> Prediction:
        answer = without_reasoning(output)
        if not self.label_names:
            return Prediction(example.id, example.completion, answer, output)
        label, step = read_label(answer, self.label_names)
        return Prediction(example.id, example.label, label, output, parsed_by=step)

    def _prompts(self, examples: Sequence[Example], answer: int) -> list[list[int]]:
        """Encode the prompts; `answer` more tokens have to fit."""
        prompts = [self.encoder.prompt(example) for example in examples]
        refuse_beyond_embeddings(self.model, self.encoder.tokenizer, prompts)
        longest = context_tokens(self.model.config)
        ids = [
            example.id
            for example, prompt in zip(examples, prompts, strict=True)
            if longest and len(prompt) + answer > longest
        ]
        if ids:
            raise DataError(
                f"{listed(ids, IDS_SHOWN)}: with {answer} tokens for the answer longer than the"
                f" model's {longest}",
                hint="lower eval.max_new_tokens"
                if self.mode == "generate"
                else "shorten these rows, or take a base with a longer context",
            )
        return prompts


def choose_mode(wanted: str, label_names: Sequence[str], *, kind: str = "chat") -> str:
    """Resolve `auto`, and refuse what the data cannot give.

    Raises:
        RecipeError: labels are needed and there are none; a text has no answer to generate.
    """
    if kind == "text":
        label_names = ()
    if wanted == "auto":
        return "rank" if label_names else "loss"
    if wanted == "rank" and not label_names:
        raise RecipeError("eval.mode: rank needs labels, and the data has none")
    if wanted == "generate" and kind == "text":
        raise RecipeError("eval.mode: generate needs conversations, and the data has texts")
    return wanted
