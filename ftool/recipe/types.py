"""What settings are made of: blocks, numbers with bounds, names, spans of training."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_serializer,
)


def _take_no_switch(value: Any) -> Any:
    """Refuse true and false where a number is meant; Python takes them for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not a switch")
    return value


NUMBER = BeforeValidator(_take_no_switch)
Ratio = Annotated[float, Field(ge=0, le=1), NUMBER]
Positive = Annotated[int, Field(gt=0), NUMBER]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]


class Block(BaseModel):
    """A frozen group of settings that knows all its keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Span(Block):
    """A stretch of training: `0.25 epochs` or `200 steps`."""

    amount: Annotated[float, Field(gt=0, le=1e9), NUMBER]
    unit: Literal["epochs", "steps"]

    def steps(self, steps_per_epoch: int) -> int:
        """Return the span in optimizer steps, at least one."""
        return max(1, round(self.amount * (steps_per_epoch if self.unit == "epochs" else 1)))

    @model_serializer
    def __str__(self) -> str:
        """Write the span the way a recipe does."""
        return f"{str(self.amount).removesuffix('.0')} {self.unit}"


def _read_span(value: Any) -> Any:
    words = value.split() if isinstance(value, str) else []
    units = {"epoch": "epochs", "epochs": "epochs", "step": "steps", "steps": "steps"}
    if len(words) == 2 and words[1] in units:
        try:
            return {"amount": float(words[0]), "unit": units[words[1]]}
        except ValueError:
            pass
    if isinstance(value, Span | dict):
        return value
    raise ValueError("write a span as `0.25 epochs` or `200 steps`")


RecipeSpan = Annotated[
    Span,
    BeforeValidator(_read_span),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9.e+-]+ (epochs?|steps?)$"}),
]
