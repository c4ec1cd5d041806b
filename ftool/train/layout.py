"""What the steps of an epoch run: tokens given and run, padding, the largest micro-batch."""

from collections.abc import Sequence
from dataclasses import dataclass

from ftool.example import EncodedExample
from ftool.model.compute.prefix import make_tree
from ftool.train.order import divided, global_batch
from ftool.train.plan import Plan

COUNTED_STEPS = 200
"""Steps of an epoch that are looked at, at about a millisecond each; their order is random."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Tokens of the first epoch as its micro-batches run them."""

    steps: int  # looked at, among them that of the longest example
    given: int  # tokens of the examples
    prompt: int  # those of them that are not learned
    run: int  # tokens that the model runs, padding included
    padding: int
    largest: tuple[EncodedExample, ...]  # the micro-batch that runs the most tokens

    @property
    def saved_ratio(self) -> float:
        """The share of the prompt tokens that rows do not run again."""
        return (self.given - self.run + self.padding) / max(1, self.prompt)

    @property
    def padding_ratio(self) -> float:
        """The share of the tokens run that are padding."""
        return self.padding / self.run


def lay_out(examples: Sequence[EncodedExample], plan: Plan, *, size: int, seed: int) -> Layout:
    """Look at the micro-batches of an epoch; the first steps stand for a long one.

    Args:
        examples: of the train split.
        plan: bounds of a micro-batch, and whether it is a row.
        size: examples per step.
        seed: the recipe's.
    """
    given = prompt = run = padding = 0
    largest: tuple[int, Sequence[EncodedExample]] = (0, ())
    first = range(min(plan.steps_per_epoch, COUNTED_STEPS))
    steps = sorted({*first, _longest(examples, size, seed)})
    for step in steps:
        batch = global_batch(len(examples), size, seed=seed, step=step)
        for part in divided(batch, examples, plan):
            tokens, unused = run_tokens(part, shared=plan.shared_prefix)
            given += sum(len(example.input_ids) for example in part)
            prompt += sum(len(example.input_ids) - example.learned_tokens for example in part)
            run += tokens
            padding += unused
            largest = max(largest, (tokens, part), key=lambda found: found[0])
    return Layout(len(steps), given, prompt, run, padding, tuple(largest[1]))


def _longest(examples: Sequence[EncodedExample], size: int, seed: int) -> int:
    """Return the step of the first epoch that learns the longest example."""
    longest = max(range(len(examples)), key=lambda index: len(examples[index].input_ids))
    everything = global_batch(len(examples), len(examples), seed=seed, step=0)
    return everything.index(longest) // size


def run_tokens(part: Sequence[EncodedExample], *, shared: bool) -> tuple[int, int]:
    """Return the tokens that a micro-batch runs, and how many of them are padding."""
    if shared:
        return sum(end - first for _, first, end in make_tree(part)[0]), 0
    lengths = [len(example.input_ids) for example in part]
    return max(lengths) * len(part), max(lengths) * len(part) - sum(lengths)
