"""Every setting can be configured, says what it is, and arrives."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from jupyter_core.paths import jupyter_data_dir

from ydoc_exec.extension import YdocExec
from ydoc_exec.settings import Settings

FOLDERS = {"log_path", "recovery_dir", "owners_dir", "runs_path"}
"""They depend on Jupyter's data directory."""

OTHERS = {"input_policy": "runner"}
"""A value other than the default, where any other would not do."""

PLAIN = [field for field in fields(Settings) if field.name not in FOLDERS]


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> YdocExec:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    return YdocExec()


@pytest.mark.parametrize("field", PLAIN, ids=lambda field: field.name)
def test_each_has_a_trait_with_the_same_default_and_a_help_text(field: object) -> None:
    name = field.name  # type: ignore[attr-defined]
    trait = YdocExec.class_traits(config=True)[name]
    assert trait.default() == getattr(Settings(), name)
    assert type(trait.default()) is type(getattr(Settings(), name))
    assert trait.help.endswith(".")


def test_every_trait_of_ours_is_a_setting() -> None:
    names = {name for name, trait in YdocExec.class_own_traits(config=True).items()}
    assert names == {field.name for field in PLAIN} | FOLDERS


@pytest.mark.parametrize("field", PLAIN, ids=lambda field: field.name)
def test_each_arrives(extension: YdocExec, field: object) -> None:
    name = field.name  # type: ignore[attr-defined]
    default = getattr(Settings(), name)
    value = OTHERS.get(name) or (not default if isinstance(default, bool) else default + 1)
    before = extension.read_settings()
    setattr(extension, name, value)
    assert extension.read_settings() == replace(before, **{name: value})  # type: ignore[arg-type]


def test_where_the_log_is(extension: YdocExec) -> None:
    folder = Path(jupyter_data_dir()) / "ydoc_exec"
    assert extension.read_settings().log_path == folder / "updates.db"
    assert extension.read_settings().recovery_dir == folder / "recovery"
    extension.recovery_dir = "/somewhere/copies"
    assert extension.read_settings().recovery_dir == Path("/somewhere/copies")
    extension.log_path = "memory"
    assert extension.read_settings().log_path is None
    extension.log_path = "/somewhere/else.db"
    assert extension.read_settings().log_path == Path("/somewhere/else.db")
    assert extension.read_settings().runs_path == folder / "runs.db"
    extension.runs_path = "memory"
    assert extension.read_settings().runs_path is None
    extension.runs_path = "/somewhere/runs.db"
    assert extension.read_settings().runs_path == Path("/somewhere/runs.db")
