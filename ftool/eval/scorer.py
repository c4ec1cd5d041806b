"""A model asked for predictions: by ranking labels, by generating, or by its loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ftool.artifacts import OnProgress, Prediction, ignore_progress
from ftool.errors import DataError, RecipeError, RunError
from ftool.eval.parse import parse_label
from ftool.example import EncodedExample, Example
from ftool.model.batch import WORTHWHILE_PREFIX, micro_batch, shared_prefix
from ftool.model.encode import Encoder, encode_examples
from ftool.model.forward import enable_shared_prefix, token_losses
from ftool.model.generate import generate_texts
from ftool.model.load import context_tokens
from ftool.model.rank import can_rank, rank_labels

BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model ready to be asked: the same one in training, in evaluation and for the base."""

    model: Any
    encoder: Encoder
    mode: str
    label_names: tuple[str, ...]
    max_new_tokens: int = 64

    def predict(
        self, examples: Sequence[Example], *, on_progress: OnProgress = ignore_progress
    ) -> list[Prediction]:
        """Make one prediction per example, in their order.

        Raises:
            DataError: an example is longer than the model's context.
        """
        self.model.eval()
        by_mode = {"rank": self._rank, "generate": self._generate, "loss": self._losses}
        return by_mode[self.mode](examples, on_progress)

    def _rank(self, examples: Sequence[Example], on_progress: OnProgress) -> list[Prediction]:
        labels = [self.encoder.completion(examples[0], name) for name in self.label_names]
        prompts = [self.encoder.prompt(example) for example in examples]
        self._refuse_long(examples, prompts, max(map(len, labels)))
        if not can_rank(self.model, max(prompts, key=len), labels[0]):
            raise RecipeError(
                "eval.mode: rank gives wrong likelihoods with this architecture",
                hint="use eval.mode=generate",
            )
        try:
            rankings = rank_labels(
                self.model,
                prompts,
                labels,
                batch_size=BATCH_SIZE,
                on_batch=lambda done: on_progress("ranking labels", done, len(examples)),
            )
        except ValueError as error:
            raise DataError(f"the labels cannot be told apart by their tokens ({error})") from error
        if any(ranking.label < 0 for ranking in rankings):
            raise RunError(
                "the model's likelihoods are not finite",
                hint="train again with a lower train.learning_rate",
            )
        return [
            Prediction(
                id=example.id,
                expected=example.label,
                predicted=self.label_names[ranking.label],
                output=self.label_names[ranking.label],
                log_probability=ranking.log_probability,
            )
            for example, ranking in zip(examples, rankings, strict=True)
        ]

    def _generate(self, examples: Sequence[Example], on_progress: OnProgress) -> list[Prediction]:
        prompts = [self.encoder.prompt(example) for example in examples]
        self._refuse_long(examples, prompts, self.max_new_tokens)
        outputs = generate_texts(
            self.model,
            self.encoder.tokenizer,
            prompts,
            end_id=self.encoder.end_of_turn_id,
            max_new_tokens=self.max_new_tokens,
            batch_size=BATCH_SIZE,
            on_batch=lambda done: on_progress("generating", done, len(examples)),
        )
        return [
            Prediction(example.id, example.label, parse_label(output, self.label_names), output)
            for example, output in zip(examples, outputs, strict=True)
        ]

    def _losses(self, examples: Sequence[Example], on_progress: OnProgress) -> list[Prediction]:
        losses = self.losses(examples, on_progress=on_progress)
        return [
            Prediction(example.id, None, None, "", loss=loss, learned_tokens=tokens)
            for example, (loss, tokens) in zip(examples, losses, strict=True)
        ]

    def _refuse_long(
        self, examples: Sequence[Example], prompts: Sequence[Sequence[int]], answer: int
    ) -> None:
        longest = context_tokens(self.model.config)
        for example, prompt in zip(examples, prompts, strict=True):
            if longest and len(prompt) + answer > longest:
                raise DataError(f"{example.id} is longer than the model's {longest} tokens")

    @torch.inference_mode()
    def losses(
        self, examples: Sequence[Example], *, on_progress: OnProgress = ignore_progress
    ) -> list[tuple[float, int]]:
        """Return the mean loss (nats per learned token) and learned tokens of every example."""
        self.model.eval()
        longest = context_tokens(self.model.config) or 2048
        rows: list[tuple[int, EncodedExample]] = []
        for index, example in enumerate(examples):
            encoded = encode_examples([example], self.encoder, max_length=longest)
            if encoded.overlong:
                raise DataError(f"{example.id} is longer than the model's {longest} tokens")
            rows += [(index, window) for window in encoded.examples]
        rows.sort(key=lambda row: len(row[1].input_ids))
        prefix = self._shared_prefix([window for _, window in rows])
        totals = [0.0] * len(examples)
        for start in range(0, len(rows), BATCH_SIZE):
            part = rows[start : start + BATCH_SIZE]
            windows = [window for _, window in part]
            batch = micro_batch(windows, prefix=prefix).to(self.model.device)
            losses = token_losses(self.model, batch).double().cpu()
            of_window = torch.split(losses, [window.learned_tokens for window in windows])
            for (index, _), own in zip(part, of_window, strict=True):
                totals[index] += own.sum().item()
            on_progress("computing the loss", start + len(part), len(rows))
        learned = [0] * len(examples)
        for index, window in rows:
            learned[index] += window.learned_tokens
        return [
            (total / tokens if tokens else 0.0, tokens)
            for total, tokens in zip(totals, learned, strict=True)
        ]

    def _shared_prefix(self, rows: Sequence[EncodedExample]) -> int:
        """Return how many first tokens a batch runs once; sorted rows, the longest last."""
        common = shared_prefix(rows) if len(rows) > 1 else 0
        if common < WORTHWHILE_PREFIX or not enable_shared_prefix(self.model, rows[-2:]):
            return 0
        return common


def choose_mode(wanted: str, label_names: Sequence[str], *, kind: str = "chat") -> str:
    """Resolve `auto`, and refuse what the data cannot give.

    Raises:
        RecipeError: labels are needed and there are none.
    """
    if kind == "text":
        label_names = ()
    if wanted == "auto":
        return "rank" if label_names else "loss"
    if wanted != "loss" and not label_names:
        raise RecipeError(f"eval.mode: {wanted} needs labels, and the data has none")
    return wanted
