"""Libraries that keep off the terminal: it belongs to the console."""

import os
import warnings

QUIET = {
    "DATASETS_VERBOSITY": "error",
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # asks a service of the Hub to convert pickles
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
FOREIGN = ("accelerate", "datasets", "evaluate", "huggingface_hub", "peft", "torch", "transformers")


def quiet_libraries() -> None:
    """Leave the terminal to the console: no foreign progress bars, advice or warnings.

    Set before the libraries are imported, for they read their environment only then; a variable
    that the user has set stays. Warnings of ftool itself are untouched.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module=rf"({'|'.join(FOREIGN)})(\.|$)")
