"""The wheel, installed away from the source tree, has everything that memstore needs to run."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

PROJECT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("packaging")  # one worker: the wheel is built once

COMPILED = {
    module + sysconfig.get_config_var("EXT_SUFFIX")
    for module in ("memstore/index/_kernels", "memstore/encoders/_bert")
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # Offline, with the build tools of this environment, and not in the developer's build folder.
    command = [sys.executable, "-m", "pip", "wheel", PROJECT, "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--disable-pip-version-check", "--wheel-dir", folder]
    command += ["--config-settings", f"build-dir={folder / 'build'}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (path,) = folder.glob("memstore-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The interpreter of an environment that holds the wheel and borrows the dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    # A path in a .pth file comes after the environment's own, and its own .pth files are not read:
    # not the one either that leads an editable install to the source tree.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def run(python, code, folder):
    """Run code in isolated mode: no environment variables, no current folder among the modules."""
    command = [python, "-I", "-c", code]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()


def shipped_files(folder, target):
    """Where a folder's files go in the wheel, but for what is compiled or made by running."""
    return {
        f"{target}/{path.relative_to(PROJECT / folder)}"
        for path in (PROJECT / folder).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix not in {".cpp", ".h", ".so"}
    }


def test_the_wheel_holds_the_package_its_data_the_migrations_and_the_kernels(wheel):
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = shipped_files("memstore", "memstore")
    expected |= shipped_files("migrations", "memstore/migrations")
    assert "memstore/py.typed" in expected
    assert "memstore/migrations/env.py" in expected
    assert names == expected | COMPILED


def test_the_wheel_declares_its_license_and_its_command(wheel):
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        assert any(name.endswith("licenses/LICENSE") for name in names)
        assert "memstore=memstore.cli:main" in archive.read(entry_points).decode().replace(" ", "")


def test_the_installed_kernels_search(installed, tmp_path):
    code = """
import numpy as np
from memstore.index import HotTier, _kernels, quantize
tier = HotTier(2)
one = np.array([1])
tier.append(one, one, one, *quantize(np.array([[0.6, 0.8]], dtype=np.float32)))
similarity = tier.view().similarities(np.eye(2, dtype=np.float32), np.array([0]))
print(_kernels.__file__, *similarity[0].round(2))
"""
    where, *similarities = run(installed, code, tmp_path)
    assert Path(where).is_relative_to(installed.parents[1])
    assert similarities == ["0.6", "0.8"]


def test_the_installed_package_creates_a_store_and_finds_what_was_added(installed, tmp_path):
    code = """
import memstore
with memstore.MemoryStore.open("agent.mem", encoder="hashed") as store:
    store.add("Ana moved to Lisbon.", key="ana.city")
with memstore.MemoryStore.open("agent.mem") as store:
    print(memstore.__file__, store.query("Where did Ana move?").hits[0].memory.key)
"""
    where, key = run(installed, code, tmp_path)
    assert Path(where).is_relative_to(installed.parents[1])
    assert key == "ana.city"


def test_tests_that_share_a_slow_fixture_stay_in_one_worker(request, worker_id):
    # versions of pytest and pytest-xdist that do not know each other group nothing, and say nothing
    assert worker_id == "master" or request.node.nodeid.endswith("@packaging")
