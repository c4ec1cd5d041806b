"""Push full weights, then an adapter on them, and load both back by their Hub ids.

A process of its own, for the libraries read the Hub's address when they are imported. Prints what
the test asserts, as JSON.
"""

import json
import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from tiny_run import write_report, write_run
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftool.hub.push import push
from ftool.model.weights.adapter import load_run_model
from ftool.model.weights.load import load_base_model
from ftool.recipe.blocks.model import Model

BASE, ADAPTER = "tester/base", "tester/adapter"


def run_usage(repo: str) -> dict[str, Any]:
    """Execute the usage that a repository's card gives, and return its variables."""
    card = Path(hf_hub_download(repo, "README.md")).read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)\n```", card, re.DOTALL)
    assert found
    variables: dict[str, Any] = {}
    with redirect_stdout(StringIO()):
        exec(found[1], variables)
    return variables


def main(folder: Path) -> dict[str, Any]:
    """Push and load; tell what came back."""
    full = write_run(folder / "runs" / "full", base=folder / "start", method="full")
    push(full, repo=BASE)
    local = AutoModelForCausalLM.from_pretrained(full.model_path).state_dict()
    remote = AutoModelForCausalLM.from_pretrained(BASE).state_dict()
    loaded = load_base_model(Model(base=BASE), dtype=torch.float32)

    run = write_run(
        folder / "runs" / "adapter",
        base=full.model_path,
        name=BASE,
        revision=loaded.base.revision,
        hub="{license: mit}",
    )
    write_report(run)
    upload = push(run, repo=ADAPTER)
    usage = run_usage(ADAPTER)
    ours = load_run_model(run, dtype=torch.float32).model(**usage["inputs"]).logits
    return {
        "same_keys": local.keys() == remote.keys(),
        "bit_equal": all(torch.equal(local[name], remote[name]) for name in local),
        "same_tokens": AutoTokenizer.from_pretrained(BASE)("money back").input_ids
        == AutoTokenizer.from_pretrained(full.model_path)("money back").input_ids,
        "revision": loaded.base.revision,
        "adapter_files": [name for name, _ in upload.files],
        "adapter_equal": torch.equal(usage["model"](**usage["inputs"]).logits, ours),
        "base_differs": not torch.equal(loaded.model(**usage["inputs"]).logits, ours),
    }


if __name__ == "__main__":
    result = main(Path(sys.argv[1]))
    print(json.dumps(result))
