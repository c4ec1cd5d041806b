"""The top of the changelog is the version of the package."""

import re
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADING = re.compile(r"^## \[?(\d+\.\d+\.\d+)\]? - (\d{4}-\d\d-\d\d)$", re.MULTILINE)


def test_the_top_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    releases = HEADING.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert releases[0][0] == project["version"]


def test_releases_are_dated_and_in_order() -> None:
    releases = HEADING.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    days = [date.fromisoformat(day) for _, day in releases]
    assert days == sorted(days, reverse=True)
    headings = re.findall(
        r"^## (?!Unreleased$)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(releases) == len(headings)
