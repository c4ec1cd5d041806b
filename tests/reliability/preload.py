"""What a forked training needs, imported once: the server's only work."""

import os

os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    TRANSFORMERS_VERBOSITY="error",
)

import accelerate  # noqa: F401
import peft  # noqa: F401
import sklearn.metrics  # noqa: F401
import torch
from reliability import harness  # noqa: F401
from transformers.models.llama import modeling_llama  # noqa: F401

import ftool.eval.run
import ftool.train.run  # noqa: F401

torch.set_num_threads(1)
