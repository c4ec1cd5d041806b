"""lm-evaluation-harness as a program that is stepped from outside; runs in its own environment.

    python eval_peer.py labels|loss|intervals FOLDER

The folder holds job.json; peer.jsonl is written. The time of a step is that of the harness's
`loglikelihood` alone: it makes its requests outside of it.
"""

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from train_channel import Channel

BATCH_SIZES = (1, 8, 32)
BATCH_TOKENS = 5000
"""Tokens up to which a batch size is tried: it holds their logits over the whole vocabulary."""
TRIED = 32
"""Requests that each batch size is tried with."""
DRAWS, SCALE = 1000, 10
"""Draws that the harness makes; ten times as many would take ten times as long."""


class Timed(HFLM):  # type: ignore[misc]
    """The harness's model; its likelihoods are timed, and the best batch size is found first."""

    def __init__(self, path: str) -> None:
        super().__init__(pretrained=path, dtype="float32", device="cpu", batch_size=1)
        self.seconds = 0.0
        self.is_tuned = False

    def loglikelihood(self, requests: Any, **_: Any) -> Any:
        """Compute and time."""
        if not self.is_tuned:
            self._tune(requests)
        started = time.perf_counter()
        found = super().loglikelihood(requests, disable_tqdm=True)
        self.seconds += time.perf_counter() - started
        return found

    def _encode_pair(self, context: str, continuation: str) -> Any:
        """Leave the line break before an answer with the prompt, as in training.

        The harness scores it with the answer: all labels alike, but every loss more.
        """
        return self.tok_encode(context), self.tok_encode(continuation)

    def _tune(self, requests: Any) -> None:
        longest = max(len(self.tok_encode("".join(request.args))) for request in requests)
        took = {}
        for size in BATCH_SIZES:
            if size > 1 and size * longest > BATCH_TOKENS:
                break
            self.batch_size_per_gpu = size
            started = time.perf_counter()
            super().loglikelihood(requests[:TRIED], disable_tqdm=True)
            took[size] = time.perf_counter() - started
        self.batch_size_per_gpu = min(took, key=took.__getitem__)
        self.is_tuned = True
        print("batch sizes", took, flush=True)


def task_of(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the rows and return the harness's task for them."""
    end = "<|im_end|>" if job["ended"] else ""
    lines = []
    for text, answer in job["rows"]:
        row: dict[str, Any] = {"text": text, "answer": f"{answer}{end}"}
        if job["labels"]:
            choices = [f"{label}{end}" for label in job["labels"]]
            row |= {"choices": choices, "label": job["labels"].index(answer)}
        lines.append(json.dumps(row) + "\n")
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    task = {
        "task": "rows",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "doc_to_text": "{{text}}",
        "target_delimiter": "",
    }
    if job["labels"]:
        metric = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
        return task | {
            "output_type": "multiple_choice",
            "doc_to_target": "label",
            "doc_to_choice": "choices",
            "metric_list": [metric],
        }
    metric = {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}
    return task | {
        "output_type": "loglikelihood",
        "doc_to_target": "{{answer}}",
        "metric_list": [metric],
    }


def likelihoods(job: dict[str, Any], folder: Path, channel: Channel) -> None:
    """Evaluate a part of the rows at every turn."""
    model, task = Timed(job["model"]), task_of(job, folder)
    with (folder / "peer.jsonl").open("w", encoding="utf-8") as out:
        for start, end in job["parts"]["lm_eval"]:
            channel.wait()
            model.seconds = 0.0
            results = simple_evaluate(
                model=model,
                tasks=[task],
                samples={"rows": list(range(start, end))},
                bootstrap_iters=0,
                system_instruction=job["system"],
                apply_chat_template=True,
            )
            rows = sorted(results["samples"]["rows"], key=lambda row: row["doc_id"])
            out.write(json.dumps([start, [_found(row, job) for row in rows]]) + "\n")
            out.flush()
            channel.report(model.seconds, examples=end - start)
    channel.wait()


def _found(row: dict[str, Any], job: dict[str, Any]) -> Any:
    """Return the label that the harness chose and its lead, or the answer's log-likelihood."""
    scores = [float(response[0]) for response in row["filtered_resps"]]
    if not job["labels"]:
        return scores[0]
    (second, _), (first, best) = sorted((score, place) for place, score in enumerate(scores))[-2:]
    return job["labels"][best], first - second


def intervals(job: dict[str, Any], folder: Path, channel: Channel) -> None:
    """Bootstrap the macro F1, which the harness would do for every metric anew."""
    del folder
    from lm_eval.api.metrics import bootstrap_stderr
    from sklearn.metrics import f1_score

    os.environ["DISABLE_MULTIPROC"] = "1"
    dice, labels = random.Random(1), job["labels"]
    expected = [answer for _, answer in job["rows"]]
    pairs = [(label, label if dice.random() < 0.9 else dice.choice(labels)) for label in expected]

    def macro(some: Any) -> float:
        golds, guesses = zip(*some, strict=True)
        return float(f1_score(golds, guesses, labels=labels, average="macro", zero_division=0))

    for start, end in job["parts"]["lm_eval"]:
        channel.wait()
        started = time.perf_counter()
        bootstrap_stderr(macro, pairs, iters=DRAWS)
        channel.report(SCALE * (time.perf_counter() - started), examples=end - start)
    channel.wait()


def main() -> None:
    """Run one program on a folder."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    channel = Channel()
    name, folder = sys.argv[1], Path(sys.argv[2])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    program = intervals if name == "intervals" else likelihoods
    program(job, folder, channel)


if __name__ == "__main__":
    main()
