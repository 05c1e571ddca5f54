"""The wheel brings the built front end and its configuration, and needs no Node.js to install."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import ydoc_exec

CHECKOUT = Path(__file__).parents[2]
DATA = f"ydoc_exec-{ydoc_exec.__version__}.data/data"
LABEXTENSION = "share/jupyter/labextensions/@ydoc-exec/lab"
SERVER_CONFIG = "etc/jupyter/jupyter_server_config.d"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout. The front end is built with it when it was not built before."""
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory)]
    programs = sysconfig.get_path("scripts")
    environment = os.environ | {"PATH": os.pathsep.join([programs, os.environ.get("PATH", "")])}
    built = subprocess.run(
        [*command, str(CHECKOUT)], env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    """The files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a new environment with the wheel in it, installed where no Node.js can be found."""
    prefix = tmp_path_factory.mktemp("installed")
    venv.create(prefix, with_pip=True)
    environment = {"PATH": str(prefix / "bin"), "HOME": str(prefix), "PIP_NO_INPUT": "1"}
    assert shutil.which("node", path=environment["PATH"]) is None
    subprocess.run(
        [prefix / "bin" / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel],
        env=environment,
        check=True,
        capture_output=True,
    )
    return prefix


def test_holds_the_built_front_end(contents: dict[str, bytes]) -> None:
    package = json.loads(contents[f"{DATA}/{LABEXTENSION}/package.json"])
    assert package["name"] == "@ydoc-exec/lab"
    assert package["version"] == ydoc_exec.__version__
    assert package["jupyterlab"]["disabledExtensions"] == [
        "@jupyter/docprovider-extension:notebook-cell-executor"
    ]
    entry = package["jupyterlab"]["_build"]["load"]
    assert entry.startswith("static/remoteEntry.")
    assert len(contents[f"{DATA}/{LABEXTENSION}/{entry}"]) > 1000
    scripts = [data for name, data in contents.items() if name.startswith(f"{DATA}/{LABEXTENSION}/static/")]
    assert any(b"notebook-cell-executor" in data and b"responseTo" in data for data in scripts)
    assert any(b"data-ydoc-exec-run" in data and b"::before" in data for data in scripts), "the style sheet"
    settings = json.loads(contents[f"{DATA}/{LABEXTENSION}/schemas/@ydoc-exec/lab/status.json"])
    assert "showBesidePrompt" in settings["properties"]


def test_says_who_installed_the_front_end(contents: dict[str, bytes]) -> None:
    install = json.loads(contents[f"{DATA}/{LABEXTENSION}/install.json"])
    assert install["packageManager"] == "python"
    assert install["packageName"] == "ydoc-exec"


def test_turns_the_extension_on_and_its_predecessor_off(contents: dict[str, bytes]) -> None:
    config = json.loads(contents[f"{DATA}/{SERVER_CONFIG}/ydoc_exec.json"])
    assert config["ServerApp"]["jpserver_extensions"] == {
        "ydoc_exec": True,
        "jupyter_server_ydoc": False,
        "jupyter_server_fileid": True,
    }


def test_holds_the_types_the_schemas_and_no_tests(contents: dict[str, bytes]) -> None:
    assert "ydoc_exec/py.typed" in contents
    modules = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "ydoc_exec").rglob("*.py")}
    schemas = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "ydoc_exec").rglob("*.yaml")}
    assert schemas
    assert modules | schemas <= set(contents)
    assert not [name for name in contents if name.startswith("tests/") or "node_modules" in name]


def test_installs_without_node(installed: Path) -> None:
    assert (installed / LABEXTENSION / "package.json").is_file()
    assert (installed / LABEXTENSION / "install.json").is_file()
    assert list((installed / LABEXTENSION / "static").glob("remoteEntry.*.js"))
    printed = subprocess.run(
        [installed / "bin" / "python", "-c", "import ydoc_exec; print(ydoc_exec.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == ydoc_exec.__version__


def test_wins_over_jupyter_collaboration_in_one_environment(installed: Path) -> None:
    """Jupyter Server reads the files of a folder by name; jupyter_server_ydoc turns itself on in its own."""
    from jupyter_server.extension.config import ExtensionConfigManager

    folder = installed / SERVER_CONFIG
    theirs = {"ServerApp": {"jpserver_extensions": {"jupyter_server_ydoc": True}}}
    (folder / "jupyter_collaboration.json").write_text(json.dumps(theirs))
    manager = ExtensionConfigManager(read_config_path=[str(folder.parent)])
    extensions = manager.get_jpserver_extensions()  # type: ignore[no-untyped-call]
    assert extensions["ydoc_exec"] is True
    assert extensions["jupyter_server_ydoc"] is False
