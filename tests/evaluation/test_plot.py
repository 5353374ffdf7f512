"""The picture of accuracy against time."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from memstore import BadInput, MissingExtra
from memstore.evaluation.plot import check_plot, draw


def test_the_plot_names_every_arm_and_is_the_same_every_time(comparison, tmp_path):
    for name in ("a.svg", "b.svg"):
        draw(comparison, tmp_path / name, title="people: 20 questions")
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    texts = ["".join(item.itertext()) for item in ElementTree.fromstring(drawn).iter()]
    for text in ("none semantic", "minilm-l6 semantic", "nDCG@10", "people: 20 questions"):
        assert text in texts


def test_a_plot_may_be_a_png(comparison, tmp_path):
    draw(comparison, tmp_path / "a.PNG", title="people")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_one_arm_or_of_many_in_one_place_can_be_drawn(comparison, tmp_path):
    one = comparison.measured[:1]
    for count in (1, 15):
        several = dataclasses.replace(comparison, measured=one * count)
        draw(several, tmp_path / "a.svg", title="$x_1$ & <b>")
        assert "$x_1$ &amp; &lt;b&gt;" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    ("name", "said"), [("a.pdf", "is no plot"), ("a", "is no plot"), ("no/a.svg", "does not exist")]
)
def test_a_plot_that_could_not_be_written_is_refused_beforehand(tmp_path, name, said):
    with pytest.raises(BadInput, match=said):
        check_plot(tmp_path / name)


def test_without_matplotlib_a_plot_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'memstore\[plot\]'"):
        check_plot(Path("a.svg"))


def test_importing_the_package_loads_neither_scipy_nor_matplotlib_nor_a_model_stack():
    code = (
        "import sys, memstore.evaluation.plot, memstore.evaluation.artefacts\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"scipy", "matplotlib", "torch", "transformers", "faiss"}
    assert set(done.stdout.split()) & heavy == set()
