"""What a finished run says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftool.artifacts import SCHEMA, fingerprint, ftool_version
from ftool.model.tokens.encode import OVERLONG, LeftOut
from ftool.seal import sealed_files
from ftool.train.assemble import Assembled
from ftool.train.checkpoint import Progress
from ftool.train.fingerprint import environment
from ftool.train.folder import MODEL


def run_manifest(
    parts: Assembled, folder: Path, identity: Mapping[str, Any], model: Any, progress: Progress
) -> dict[str, Any]:
    """Return what was trained, on what, by what; with the seal of the model in the folder."""
    parameters = [(value.numel(), value.requires_grad) for value in model.parameters()]
    best = None
    if parts.validator and progress.best_metric is not None:
        is_loss = parts.validator.metric == "loss"
        best = {
            "name": parts.validator.metric,
            "value": progress.best_loss if is_loss else progress.best_metric,
        }
    content = {
        "schema": SCHEMA,
        "ftool": ftool_version(),
        "kind": "run",
        "status": "finished",
        "name": folder.name,
        "steps": progress.step,
        "best_step": progress.best_step,
        "best_metric": best,
        "base_model": asdict(parts.loaded.base),
        "method": parts.recipe.train.method.kind,
        "trainable_parameters": sum(count for count, learns in parameters if learns),
        "parameters": sum(count for count, _ in parameters),
        "dataset": {
            "name": parts.recipe.data_name,
            "fingerprint": parts.dataset.fingerprint,
            "rows": parts.dataset.rows,
            "label_names": list(parts.dataset.label_names),
        },
        "dataset_fingerprint": parts.dataset.fingerprint,
        "overlong_rejected": [one.id for one in parts.left_out if one.code == OVERLONG],
        "left_out": _by_code(parts.left_out),
        "template": {
            "settings": {**parts.recipe.model.template_settings, **parts.encoder.chosen},
            "date": parts.plan.template_date,
            "folds_system": parts.encoder.template.habits.folds_system,
            "notes": dict(sorted(parts.notes.items())),
        },
        "environment": environment(parts.device),
        "identity": identity,
        "model_files": sealed_files(folder / MODEL),
    }
    return {**content, "fingerprint": fingerprint(content)}


def _by_code(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
    """Return the ids of what was not learned from, by the reason."""
    codes = sorted({one.code for one in left_out} - {OVERLONG})
    return {code: [one.id for one in left_out if one.code == code] for code in codes}
