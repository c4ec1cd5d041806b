"""The base model to start from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ftool.recipe.types import Block

Scalar = bool | int | float | str | None
SETTING_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
SettingName = Annotated[str, Field(pattern=SETTING_PATTERN)]


class Model(Block):
    """The base model to start from."""

    base: str = "smollm2-135m-instruct"
    """Hub id, local folder, fully tuned run, or the embedded `smollm2-135m-instruct`."""
    revision: str | None = None
    """Commit, branch or tag of the base model on the Hub."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation; `auto` is float32 on a CPU, bfloat16 where a GPU has it."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """Attention implementation; `auto` is PyTorch's own (sdpa), flash needs a GPU."""
    quantization: Literal["none", "4bit", "8bit"] = "none"
    """Hold the frozen base in 4 (NF4) or 8 bits; needs a GPU and `ftool[quantization]`."""
    chat_template: Path | None = None
    """A Jinja file that replaces the chat template of the base model's tokenizer."""
    template_settings: dict[SettingName, Scalar | list[Scalar]] = {}
    """What the chat template reads besides messages and tools, as `{enable_thinking: false}`."""
