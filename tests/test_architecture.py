"""The layers: leaves ← parts ← store ← edges. Whoever imports otherwise is named here."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "memstore"

LEAVES = {
    *("types", "errors", "settings", "maxsim", "times", "rendering"),
    *("local_models", "surrogates", "periods", "private_files", "json_input", "unspaced"),
}
PARTS = {"encoders", "index", "catalog", "entities", "rerank", "scoring", "passages", "foreign"}
EDGES = {"cli", "server", "integrations"}
# what doors are made of: the public names, and leaves that know nothing of stores
PUBLIC = {
    *("", "errors", "types", "settings", "times", "periods", "rendering"),
    *("json_input", "private_files"),
}

# what each may import besides itself; "" is the package's own __init__, which loads names lazily
ALLOWED = (
    dict.fromkeys(LEAVES, LEAVES)
    | dict.fromkeys(PARTS, LEAVES)
    | {"store": LEAVES | PARTS, "evaluation": LEAVES | PARTS | {"store"}}
    | {"cli": LEAVES | PARTS | {"store", "evaluation", "server", ""}}
    | {"server": PUBLIC, "integrations": PUBLIC}
    | {"": LEAVES | {"store"}, "__main__": EDGES}
)
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager", "base", "core", "factory"}
DOTTED = re.compile(r"memstore((?:\.\w+)*)(?::\w+)?")


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer(module: str) -> str:
    """The second part of a dotted name: `memstore.catalog.tables` is of `catalog`."""
    return [*module.split("."), ""][1]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, module: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """Line and layer of everything of memstore that is imported, lazily or by a string too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")
                above = above[: len(above) - node.level + package]
                base = ".".join([*above, *([base] if base else [])])
            named = [f"{base}.{alias.name}" for alias in node.names]
            if base == "memstore":  # `from memstore import X` is a module, or a public name
                yield from ((node.lineno, _of_package(alias.name)) for alias in node.names)
                continue
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # "memstore.encoders.hashed:Hashed", for importlib
            found = DOTTED.fullmatch(node.value)
            known = found and _of_package(layer(node.value.partition(":")[0]))
            named = [node.value.partition(":")[0]] if known else []
        else:
            continue
        for name in named:
            if name.split(".")[0] == "memstore":
                yield node.lineno, layer(name)


def _of_package(name: str) -> str:
    return name if (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists() else ""


def wrong_imports(source: str, module: str, *, package: bool = False) -> list[str]:
    own = layer(module)
    return [
        f"{module}:{line} imports {imported or 'memstore'}"
        for line, imported in imports(ast.parse(source), module, package=package)
        if imported != own and imported not in ALLOWED.get(own, set())
    ]


def test_every_module_imports_only_what_its_layer_may():
    wrong = [
        place
        for path in sources()
        for place in wrong_imports(
            path.read_text(), module_of(path), package=path.name == "__init__.py"
        )
    ]
    assert wrong == []


def test_every_module_belongs_to_a_layer():
    found = {layer(module_of(path)) for path in sources()}
    assert found <= set(ALLOWED)
    assert {"types", "catalog", "store", "cli", ""} <= found


@pytest.mark.parametrize(
    ("module", "source", "imported"),
    [
        ("memstore.catalog.links", "from memstore.index import HotTier", "index"),
        ("memstore.catalog.links", "def f():\n    import memstore.store.ids", "store"),
        ("memstore.catalog.links", "from ..scoring import profiles", "scoring"),
        ("memstore.catalog.links", "from memstore import passages", "passages"),
        ("memstore.catalog.links", "from memstore import MemoryStore", "memstore"),
        ("memstore.encoders", "X = {'a': 'memstore.entities.rules:Rules'}", "entities"),
        ("memstore.times", "if True:\n    from memstore.catalog import tables", "catalog"),
        ("memstore.store.writing", "from memstore.cli import output", "cli"),
        ("memstore.server.http", "from memstore.cli import output", "cli"),
        ("memstore.server.http", "from memstore.store import searching", "store"),
        ("memstore.integrations.langchain", "import memstore.catalog.tables", "catalog"),
        ("memstore.integrations.langchain", "from memstore.server import scope", "server"),
        ("memstore.store.writing", "from memstore.integrations import langgraph", "integrations"),
        ("memstore.store.writing", "from memstore.evaluation import runs", "evaluation"),
    ],
)
def test_a_wrong_import_would_be_found(module, source, imported):
    (wrong,) = wrong_imports(source, module)
    assert wrong.endswith(f"imports {imported}")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("memstore.catalog.links", "from memstore.catalog.sql import among\nfrom . import sql"),
        ("memstore.catalog.links", "import json\nfrom memstore.errors import BadInput"),
        ("memstore.store.writing", "from memstore import passages"),
        ("memstore.cli.read", "from memstore import MemoryStore, __version__"),
        ("memstore.types", "from memstore.rendering import render_hits"),
    ],
)
def test_a_right_import_is_let_through(module, source):
    assert wrong_imports(source, module) == []


def test_no_file_has_a_name_that_says_nothing():
    named = [
        path
        for path in PACKAGE.rglob("*")
        if path.stem in BANNED_NAMES and path.suffix in ("", ".py", ".cpp", ".h")
    ]
    assert named == []


def loaded(code: str, *arguments: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running the code."""
    code += "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


MODELS = {"torch", "transformers", "sentence_transformers", "spacy"}


# what the extras bring: nobody who did not ask for a door pays for it
DOORS = {
    *("mcp", "fastapi", "starlette", "uvicorn", "pydantic", "prometheus_client", "anyio"),
    *("langchain_core", "langgraph", "llama_index", "agents", "openai", "httpx"),
}


@pytest.mark.parametrize(
    "module", ["memstore", "memstore.cli", "memstore.server", "memstore.integrations"]
)
def test_importing_loads_nothing_heavy(module):
    modules = loaded(f"import {module}")
    assert "memstore" in modules
    heavy = MODELS | DOORS | {"sqlalchemy", "numpy", "alembic", "faiss", "scipy"}
    assert modules & heavy == set()


def test_an_open_store_that_answers_has_loaded_no_door(tmp_path):
    code = """
import sys
from memstore import MemoryStore
with MemoryStore.open(sys.argv[1]) as store:
    store.add("Ana moved from Porto to Lisbon.")
    store.query("Where does Ana live?", max_tokens=100)
    store.list()
"""
    assert loaded(code, str(tmp_path / "agent.mem")) & DOORS == set()


def test_no_door_is_a_requirement_of_the_package():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    doors = ("mcp", "serve", "langchain", "langgraph", "llama-index", "openai-agents")
    asked_for = {
        re.split("[><=]", requirement)[0] for extra in doors for requirement in extras[extra]
    }
    assert len(asked_for) >= len(doors)
    required = {re.split("[><=]", requirement)[0] for requirement in project["dependencies"]}
    assert required & asked_for == set()


def test_a_store_with_the_default_encoder_answers_without_loading_a_model_stack(tmp_path):
    path = str(tmp_path / "agent.mem")
    make = """
import sys
from memstore import MemoryStore
with MemoryStore.open(sys.argv[1]) as store:
    store.add("Ana moved from Porto to Lisbon.")
"""
    assert loaded(make, path) & (MODELS | {"faiss", "scipy"}) == set()
    ask = """
import sys
from memstore import MemoryStore
with MemoryStore.open(sys.argv[1]) as store:
    (hit,) = store.query("Where does Ana live?").hits
    assert store.encoder == "minilm"
assert "numpy.ma" not in sys.modules, "masked arrays take 10 ms to load"
"""
    modules = loaded(ask, path)
    assert "numpy" in modules
    assert modules & (MODELS | {"alembic", "scipy", "faiss"}) == set()
