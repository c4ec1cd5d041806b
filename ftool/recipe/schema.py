"""Recipe: every block of settings, and what holds between blocks."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from ftool.recipe.blocks.data import Data
from ftool.recipe.blocks.eval import Eval
from ftool.recipe.blocks.hub import Hub
from ftool.recipe.blocks.model import Model
from ftool.recipe.blocks.train import Full, Train
from ftool.recipe.contradictions import all_read
from ftool.recipe.types import NUMBER, Block, Name


class Recipe(Block):
    """Every setting of every verb."""

    name: Name
    """Default name of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**32), NUMBER] = 17
    """Seeds the split, the order, the adapters and the dropout."""
    model: Model = Model()
    """The base model."""
    data: Annotated[Data, AfterValidator(all_read)]
    """The raw data."""
    train: Train = Train()
    """The fine-tuning."""
    eval: Eval = Eval()
    """The scoring."""
    hub: Hub = Hub()
    """The publishing."""

    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _train_no_quantized_weights(self) -> "Recipe":
        if self.model.quantization != "none" and isinstance(self.train.method, Full):
            raise ValueError("quantized weights cannot be trained; use train.method.kind=lora")
        return self

    @property
    def folder(self) -> Path:
        """The folder that source paths are relative to."""
        return self._folder

    @property
    def data_name(self) -> str:
        """The name of the prepared dataset."""
        return self.data.name or self.name
