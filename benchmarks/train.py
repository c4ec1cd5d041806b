"""Training steps of ftool beside TRL and the plain Trainer: same examples, same losses.

    python benchmarks/train.py [--quick] [--only CASE] [--json FILE] [--data FOLDER_OF_BANKING77]

Every program runs in a process of its own. They take their steps in turn, one at a time on the
same two cores, so that other load on the machine meets all of them.
"""

import argparse
import json
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from rivals import OTHER_REQUIREMENTS, Unfit, installed
from train_data import BATCH, DATA, LEARNING_RATE, make_recipe, messages, write_rows
from train_others import OTHERS, run_other
from train_turns import Program, take_turns

from ftool.artifacts import PreparedDataset
from ftool.model.tokens.encode import encode_examples, make_encoder
from ftool.model.weights.adapter import attach_adapter
from ftool.model.weights.embedded import embedded_model_path
from ftool.model.weights.load import load_base_model, load_tokenizer
from ftool.prepare.run import prepare
from ftool.recipe.blocks.model import Model
from ftool.recipe.blocks.train import Lora
from ftool.recipe.schema import Recipe
from ftool.train.order import global_batch

Results = dict[str, dict[str, dict[str, Any]]]
Options = argparse.Namespace

METHODS = {"shared_150": "lora", "shared_450": "lora", "no_prefix": "lora", "full_150": "full"}
"""Cases of training and what is trained."""
QUICK = ("shared_150", "no_prefix")
EXAMPLES = 1024
"""Conversations of a case; the steps learn batches of them, in ftool's order."""
COUNTS = (1_000, 4_000, 10_000)
"""Conversations of `rows`."""
STEPS, QUICK_STEPS = 6, 3
"""Timed steps, after one that warms up."""
SAME_LOSS = 1e-3
"""Relative difference of losses from which on two programs did not learn the same."""
TRAINER_BATCH = {"shared_450": 4}
"""Micro-batches of the Trainer: 16 padded rows of 500 tokens take more than 21 GiB."""
CONTEXT = 8192
WHO = ("ours", "peer")
MEMORY = ("ours_memory_gib", "peer_memory_gib")
PEERS = ("trl", "trainer")
OTHER_REQUIREMENTS["trl"] = (
    *("torch==2.13.0", "transformers==5.23.0", "accelerate==1.15.0", "peft==0.21.2"),
    *("datasets==5.2.0", "trl==1.16.0"),
)


def training(case: str, options: Options) -> dict[str, dict[str, Any]]:
    """Step ftool and every peer in turn through the same batches."""
    steps = 1 + options.steps
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_job(case, folder, options, steps)
        ours = _our_program("ours", folder)
        peers = [_peer(name, name, folder) for name in options.peer or PEERS]
        take_turns([ours, *peers], steps)
    _refuse_unfit(case, ours)
    return {peer.name: compared(ours, peer) for peer in peers}


def others(case: str, options: Options) -> dict[str, dict[str, Any]]:
    """Run programs that nobody can step, each right after as many steps of ours."""
    steps = 1 + options.steps
    found = {}
    for name in OTHERS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            job = write_job(case, folder, options, steps)
            ours = _our_program("ours", folder)
            take_turns([ours], steps)
            _refuse_unfit(case, ours)
            try:
                took = run_other(name, folder, job)
            except Unfit as why:
                found[name] = entry(_rates(ours)[0], reason=str(why))
                continue
        found[name] = _beside(ours, took)
    return found


def _beside(ours: Program, took: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return both speeds; the losses are shown, but not every program keeps our order."""
    rate, timed = _rates(ours)[0], took[1:]
    peer_rate = BATCH * len(timed) / sum(seconds for seconds, _ in timed)
    losses = [step.loss for step in ours.steps]
    return entry(
        rate,
        peer_rate,
        ratio=rate / peer_rate,
        loss_difference=_difference(losses, [loss for _, loss in took]),
        ours_memory_gib=ours.steps[-1].memory_gib,
        ours_losses=losses,
        peer_losses=[loss for _, loss in took],
    )


def _difference(ours: Sequence[float], peer: Sequence[float]) -> float:
    """Return the largest relative difference of two programs' losses at the same step."""
    return max(abs(one - other) / abs(other) for one, other in zip(ours, peer, strict=True))


def encoding(case: str, options: Options) -> dict[str, dict[str, Any]]:
    """Tokenize all conversations once with ftool and with TRL's preparation of data sets."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_job(case, folder, options, 0, examples=None)
        ours, peer = _our_program(case, folder), _peer("trl", case, folder)
        take_turns([ours, peer], 1)
    _refuse_unfit(case, ours)
    rate = ours.steps[0].examples / ours.steps[0].seconds
    if peer.unfit:
        return {"trl": entry(rate, reason=peer.unfit)}
    peer_rate = peer.steps[0].examples / peer.steps[0].seconds
    memory = [one.steps[0].memory_gib for one in (ours, peer)]
    figures = dict(zip(MEMORY, memory, strict=True))
    return {"trl": entry(rate, peer_rate, ratio=rate / peer_rate, **figures)}


def growing(case: str, options: Options) -> dict[str, dict[str, Any]]:
    """Take the same steps out of more and more conversations: a step must not cost more."""
    found = {}
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as place:
            folder, steps = Path(place), 1 + options.steps
            write_job(case, folder, options, steps, examples=count)
            ours = _our_program("ours", folder)
            take_turns([ours], steps)
        _refuse_unfit(case, ours)
        first = ours.steps[0].seconds
        memory = ours.steps[-1].memory_gib
        found[f"{count} rows"] = entry(
            _rates(ours)[0], until_first_step=first, ours_memory_gib=memory
        )
    return found


def write_job(
    case: str, folder: Path, options: Options, steps: int, examples: int | None = EXAMPLES
) -> dict[str, Any]:
    """Prepare a case's conversations with ftool, and write what the peers start from.

    Those are the global batches in ftool's order and its fresh adapter.
    """
    rows = folder / "rows.jsonl"
    write_rows(rows, DATA[case](options.messages[:examples]))
    method = METHODS.get(case, "lora")
    recipe = make_recipe(rows, method=method, steps=steps)
    dataset = prepare(recipe, output=folder / "data")
    job: dict[str, Any] = {
        "base": str(embedded_model_path()),
        "adapter": _fresh_adapter(recipe, folder / "adapter") if steps else None,
        "method": method,
        "steps": steps,
        "batch": BATCH,
        "trainer_batch": TRAINER_BATCH.get(case, BATCH),
        "learning_rate": LEARNING_RATE[method],
    }
    if steps:
        job |= _batches(recipe, dataset, steps)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return job


def _batches(recipe: Recipe, dataset: PreparedDataset, steps: int) -> dict[str, Any]:
    """Return the rows of the steps in order, as token ids and as the texts of their messages."""
    chats = list(dataset.examples("train"))
    encoder = make_encoder(load_tokenizer(recipe.model))
    encoded = encode_examples(chats, encoder, max_length=CONTEXT).examples
    order = [
        index
        for step in range(steps)
        for index in global_batch(len(encoded), BATCH, seed=recipe.seed, step=step)
    ]
    rows = [{"input_ids": encoded[one].input_ids, "labels": encoded[one].labels} for one in order]
    texts = [[message.content for message in chats[one].messages] for one in order]
    return {"rows": rows, "texts": texts}


def _fresh_adapter(recipe: Recipe, folder: Path) -> str | None:
    """Save the adapter that ftool starts with, where it trains one."""
    if not isinstance(recipe.train.method, Lora):
        return None
    base = load_base_model(Model(), dtype=torch.float32).model
    attach_adapter(base, recipe.train.method, seed=recipe.seed).save_pretrained(folder)
    return str(folder)


def _our_program(program: str, folder: Path) -> Program:
    file = Path(__file__).with_name("train_ours.py")
    return Program("ours", [sys.executable, str(file), program, str(folder)], folder)


def _peer(name: str, program: str, folder: Path) -> Program:
    file = Path(__file__).with_name("train_peer.py")
    try:
        python = installed(name) if name in OTHER_REQUIREMENTS else sys.executable
    except Unfit as why:
        return Program(name, [], folder, unfit=str(why))
    return Program(name, [str(python), str(file), program, str(folder)], folder)


def _refuse_unfit(case: str, ours: Program) -> None:
    if ours.unfit:
        raise SystemExit(f"{case}: ftool {ours.unfit}")


def entry(ours: float, peer: float | None = None, reason: str = "", **more: Any) -> dict[str, Any]:
    """Return both figures in examples per second and what belongs to them."""
    figures = {"ours": ours, "peer": peer, "ratio": None} | more
    return figures | ({"reason": reason} if reason else {})


def compared(ours: Program, peer: Program) -> dict[str, Any]:
    """Return ours beside a peer; a peer whose losses are others does not count."""
    rate, tokens = _rates(ours)
    if peer.unfit:
        return entry(rate, reason=peer.unfit)
    peer_rate, peer_tokens = _rates(peer)
    pairs = list(zip(ours.steps, peer.steps, strict=True))
    losses = [[step.loss for step in one.steps] for one in (ours, peer)]
    difference = _difference(*losses)
    same = difference <= SAME_LOSS and all(one.tokens == other.tokens for one, other in pairs)
    return entry(
        rate,
        peer_rate,
        reason="" if same else "does not count: it learned something else",
        ratio=statistics.median(other.seconds / one.seconds for one, other in pairs[1:]),
        loss_difference=difference,
        ours_memory_gib=ours.steps[-1].memory_gib,
        peer_memory_gib=peer.steps[-1].memory_gib,
        ours_tokens=tokens,
        peer_tokens=peer_tokens,
        ours_losses=losses[0],
        peer_losses=losses[1],
    )


def _rates(program: Program) -> tuple[float, float]:
    """Return examples and real tokens per second of the timed steps."""
    timed = program.steps[1:]
    seconds = sum(step.seconds for step in timed)
    return BATCH * len(timed) / seconds, sum(step.tokens for step in timed) / seconds


COLUMNS = ("ours", "peer", "ratio", "ours_tokens", "peer_tokens", *MEMORY)


def show(results: Results) -> None:
    """Print one line for each case and peer, and the losses of every step below."""
    for case, peers in results.items():
        for name, found in peers.items():
            figures = "".join(f"{_figure(found.get(key)):>10}" for key in COLUMNS)
            difference = found.get("loss_difference")
            shown = "-" if difference is None else f"{difference:.0e}"
            line = f"{case:12}{name:12}{figures}{shown:>10}  {found.get('reason', '')}"
            print(line.rstrip(), flush=True)
            if "until_first_step" in found:
                print(f"{'':12}  {found['until_first_step']:.1f} s until the first step is done")
            for who in WHO if "peer_losses" in found else ():
                losses = " ".join(f"{loss:.5f}" for loss in found[f"{who}_losses"])
                print(f"{'':12}  losses, {who}: {losses}", flush=True)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


CASES: dict[str, Callable[[str, Options], dict[str, dict[str, Any]]]] = {
    "others": others,
    "rows": growing,
    "encode": encoding,
}
"""Cases that are no plain training in turns."""


def chosen(options: Options) -> Sequence[str]:
    """Return the cases that were asked for."""
    if options.only:
        return (options.only,)
    return QUICK if options.quick else tuple(DATA)


def _be_quiet() -> None:
    """Keep bars and warnings of the libraries out of the table."""
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)


def main() -> None:
    """Run the cases and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two cases, under seven minutes")
    parser.add_argument("--only", choices=DATA, help="run one case")
    parser.add_argument(
        "--peer", choices=PEERS, action="append", help="where not all fit into memory at once"
    )
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--data", type=Path, help="folder with train.csv of banking77")
    parser.add_argument("--steps", type=int, help="timed steps of every program")
    options = parser.parse_args()
    options.steps = options.steps or (QUICK_STEPS if options.quick else STEPS)
    options.messages = messages(options.data)
    _be_quiet()
    heads = ("ours/s", "peer/s", "ratio", "tokens/s", "tokens/s", "GiB", "GiB", "loss diff")
    print(f"{'':12}{'peer':12}" + "".join(f"{head:>10}" for head in heads), flush=True)
    results: Results = {}
    for case in chosen(options):
        found = {case: CASES.get(case, training)(case, options)}
        show(found)
        results |= found
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
