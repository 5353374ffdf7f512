"""No file that memstore reads can make it run code: what could is used nowhere in the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "memstore"
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
NAMES = {"eval", "exec", "compile", "__import__"}
CALLS = {"tempfile.mktemp", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}
# a call → the option that makes it safe, and the only value that does
SAFE_WITH = {"load": {"np": ("allow_pickle", False), "torch": ("weights_only", True)}}
NEVER = {("trust_remote_code", True), ("shell", True), ("allow_pickle", True)}


def unsafe(source: str) -> Iterator[str]:
    """What in a source could run code that a file holds, by line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [item.name for item in node.names if item.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or ""] if (node.module or "").split(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            found = list(_of_call(node))
        else:
            continue
        yield from (f"{node.lineno}: {name}" for name in found)


def _of_call(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    options = {
        item.arg: item.value.value if isinstance(item.value, ast.Constant) else item.value
        for item in node.keywords
    }
    if called in NAMES | CALLS:
        yield called
    module, _, name = called.rpartition(".")
    if module in ("np", "numpy", "torch") and name in SAFE_WITH:
        option, value = SAFE_WITH[name]["torch" if module == "torch" else "np"]
        if options.get(option) is not value:
            yield f"{called} without {option}={value}"
    for option, value in NEVER:
        # what is decided elsewhere may be it, too
        if option in options and options[option] is not False:
            yield f"{option}={value}"


def test_nothing_in_the_package_can_run_what_a_file_holds():
    found = {
        str(path.relative_to(PACKAGE)): wrong
        for path in sorted(PACKAGE.rglob("*.py"))
        if (wrong := list(unsafe(path.read_text())))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import shelve as s",
        "def f():\n    import pickle",
        "eval('1')",
        "exec(code)",
        "__import__(name)",
        "yaml.load(file)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=chosen)",
        "numpy.load(path)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "Model.from_pretrained(name, trust_remote_code=True)",
        "Model.from_pretrained(name, trust_remote_code=chosen)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "tempfile.mktemp()",
    ],
)
def test_what_could_run_code_would_be_found(source):
    assert list(unsafe(source))


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=False)",
        "torch.load(path, map_location='cpu', weights_only=True)",
        "Model.from_pretrained(name, trust_remote_code=False)",
        "subprocess.run(['ls'])",
        "json.load(file)\nmodel.eval()\nconnection.exec_driver_sql(text)",
        "import pickletools",
    ],
)
def test_what_cannot_is_let_through(source):
    assert not list(unsafe(source))
