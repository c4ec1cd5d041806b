"""How a model is scored."""

from typing import Annotated, Literal

from pydantic import Field

from ftool.recipe.types import Block, Positive

METRIC_PATTERN = r"^(evaluate:.+|.+\.py:[A-Za-z_][A-Za-z0-9_]*)$"
NamedMetric = Literal[
    "accuracy", "f1_macro", "f1_micro", "f1_weighted", "precision_macro", "recall_macro", "loss"
]


class Eval(Block):
    """How a model is scored."""

    mode: Literal["auto", "rank", "generate", "loss"] = "auto"
    """`rank` compares labels' likelihoods, `generate` reads the answer, `loss` is perplexity."""
    metric: NamedMetric | Annotated[str, Field(pattern=METRIC_PATTERN)] = "f1_macro"
    """Chooses the best checkpoint, open answers by `loss`; also evaluate:NAME, file.py:function."""
    base: bool = True
    """Score the base model beside the tuned one."""
    base_examples: Positive | None = 300
    """At most that many examples for the base model, stratified by label; null takes all."""
    floor: bool = True
    """Score a majority and a TF-IDF classifier fitted on the train split."""
    confidence: bool = False
    """Rank on until the probability of the chosen label is certain to 0.01; takes longer."""
    max_new_tokens: Positive = 64
    """Longest generated answer, in tokens."""
    out_of_scope: str | None = None
    """The label of what no other label fits; how well it is told apart is reported."""
