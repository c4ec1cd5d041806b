import os
import warnings

import pytest

from ftool.quiet import FOREIGN, QUIET, quiet_libraries


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"TQDM_DISABLE": "0"})
    with warnings.catch_warnings():
        quiet_libraries()
    assert os.environ == {**QUIET, "TQDM_DISABLE": "0"}


@pytest.mark.parametrize("module", [*FOREIGN, "torch.nn", "ftool.cli", "torchlike"])
def test_only_foreign_warnings_are_kept_off(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet_libraries()
        warnings.warn_explicit("advice", UserWarning, "file.py", 1, module=module)
    assert bool(caught) == (module in ("ftool.cli", "torchlike"))
