"""The shape of the package: which part may know which.

Read from the source, imports inside functions and under ``TYPE_CHECKING`` among them: those too are knowledge.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

import ydoc_exec

ROOT = Path(ydoc_exec.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
"""Every module, by its name without the package's: ``room.outbox``. A package's own module has its name."""

BASE = ("ids", "errors", "origin", "settings", "measures", "common_prefix")

MAY_IMPORT = {
    # The commands and the client programs use talk to a server from outside.
    "cli": {"client", *BASE},
    "client": {"sync", *BASE},
    "extension": {"handlers", "documents", *BASE},
    "handlers": {"documents", "room", "store", "files", "kernel", "execution", "notebook", "sync", *BASE},
    "documents": {"room", "store", "files", "kernel", "execution", "notebook", "sync", *BASE},
    # Strangers to each other.
    "room": {"sync", *BASE},
    "store": {*BASE},
    "files": {*BASE},
    "kernel": {"execution", "notebook", *BASE},
    # Pure.
    "execution": {*BASE},
    "notebook": {*BASE},
    "sync": {*BASE},
    "ids": {*BASE},
    "errors": {*BASE},
    "origin": {*BASE},
    "settings": {*BASE},
    "measures": {*BASE},
    "common_prefix": {*BASE},
}
"""The parts and, for each, the parts it may import besides itself. Arrows go down only."""

PURE = (
    "execution",
    "notebook",
    "files.decision",
    "files.merge",
    "files.namesake",
    "files.wipe",
    "room.deletions",
    "store.compaction",
    "sync",
    *BASE,
)

OUTSIDE = {
    "asyncio",
    "anyio",
    "tornado",
    "zmq",
    "jupyter_client",
    "jupyter_server",
    "socket",
    "selectors",
    "subprocess",
    "threading",
}
"""Whoever imports one of these waits for something or talks to someone."""

ONLY_IN = {
    "traitlets": ("extension",),
    "tornado": ("extension", "handlers"),
    "jupyter_server": ("extension", "handlers"),
    "jupyter_client": ("kernel",),
    "zmq": ("kernel",),
    "prometheus_client": ("handlers",),
    "sqlite3": ("store",),
    "filelock": ("documents.ownership", "store.sqlite_run_history"),
}
"""Libraries that only some parts know; the others are given what they need."""

NAMES_OF_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "base_utils"}


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    target: str
    at_load: bool
    """Made when the module is loaded: neither in a function nor under a condition."""

    def __str__(self) -> str:
        return f"{MODULES[self.module]}:{self.line} imports {self.target}"


def part_of(module: str) -> str:
    return module.partition(".")[0]


def is_in(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"), str(MODULES[module]))


def imports_of(module: str) -> list[Import]:
    tree = tree_of(module)
    imports = []
    for node in ast.walk(tree):
        at_load = node in tree.body
        if isinstance(node, ast.Import):
            imports += [Import(module, node.lineno, alias.name, at_load) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{MODULES[module]}:{node.lineno} is a relative import"
            assert node.module is not None
            # "from ydoc_exec import sync" imports a module, "from ydoc_exec.sync import parse" a name of one.
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "ydoc_exec"
                else [node.module]
            )
            imports += [Import(module, node.lineno, name, at_load) for name in names]
    return imports


OURS = [
    replace(found, target=found.target.removeprefix("ydoc_exec."))
    for module in MODULES
    for found in imports_of(module)
    if found.target.startswith("ydoc_exec.")
]
OTHERS = [found for module in MODULES for found in imports_of(module) if part_of(found.target) != "ydoc_exec"]


def test_arrows_go_down() -> None:
    """The package itself names the extension for Jupyter Server, inside a function, and imports nothing else."""
    upwards = [
        str(found)
        for found in OURS
        if found.module != "__init__"
        and part_of(found.module) != part_of(found.target)
        and part_of(found.target) not in MAY_IMPORT[part_of(found.module)]
        and found.target != "__version__"
    ]
    assert upwards == []


def test_every_part_has_its_place() -> None:
    assert {part_of(module) for module in MODULES} - {"__init__"} <= MAY_IMPORT.keys()


def test_no_circle() -> None:
    """Between modules, of the imports made when a module is loaded."""
    loads: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in OURS:
        if found.at_load and found.target in MODULES:
            loads[found.module].add(found.target)
    while True:
        leaves = {module for module, targets in loads.items() if not targets}
        if not leaves:
            break
        loads = {module: targets - leaves for module, targets in loads.items() if module not in leaves}
    assert loads == {}


def test_pure_parts_wait_for_nothing() -> None:
    impure = [
        str(found) for found in OTHERS if is_in(found.module, PURE) and part_of(found.target) in OUTSIDE
    ]
    coroutines = [
        f"{MODULES[module]}:{node.lineno} waits"
        for module in MODULES
        if is_in(module, PURE)
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
    ]
    assert impure + coroutines == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_stay_where_they_belong(library: str) -> None:
    astray = [
        str(found)
        for found in OTHERS
        if part_of(found.target) == library and not is_in(found.module, ONLY_IN[library])
    ]
    assert astray == []


def test_no_private_name_is_imported() -> None:
    private = [
        f"{path}:{node.lineno} imports {alias.name}"
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert private == []


def test_names_say_something() -> None:
    assert [module for module in MODULES if module.rpartition(".")[2] in NAMES_OF_NOTHING] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree_of(module)), "a module without a docstring"


@pytest.mark.parametrize("module", MODULES)
def test_the_main_class_is_in_the_file_of_its_name(module: str) -> None:
    """Loosely: a file with one public class that is no error, value or handler is named after it."""
    classes = [
        node
        for node in tree_of(module).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not is_value(node)
    ]
    if len(classes) == 1 and "." in module and part_of(module) != "handlers":
        name = classes[0].name.lower()
        file = module.rpartition(".")[2].replace("_", "")
        assert name.startswith(file) or name.endswith(file) or file in name, f"{classes[0].name} in {module}"


def is_value(node: ast.ClassDef) -> bool:
    """A dataclass, an enumeration, an error, a protocol or a named tuple."""
    names = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    decorators = {ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list}
    return (
        "dataclass" in decorators
        or bool(names & {"Enum", "IntEnum", "StrEnum", "Protocol", "NamedTuple", "TypedDict"})
        or any(name.endswith(("Error", "Exception", "Conflict", "NotFound")) for name in names)
    )
