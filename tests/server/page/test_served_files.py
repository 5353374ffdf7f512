"""The files of the page, and what is said with them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import httpx
import pytest

import memstore.server.page
from memstore import MissingExtra
from memstore.server.page import page_routes

pytestmark = pytest.mark.xdist_group("page")
FILES = Path(memstore.server.page.__file__).parent


def test_the_page_comes_with_a_policy_that_lets_nothing_else_in(server):
    with httpx.Client(base_url=server) as client:
        index = client.get("/")
        assert index.headers["content-type"] == "text/html; charset=utf-8"
        assert index.headers["cache-control"] == "no-cache"
        parts = re.findall(r'(?:src|href)="(page/[^"]+)"', index.text)
        [folder] = {part.rpartition("/")[0] for part in parts}
        files = [f"{folder}/{path.name}" for path in FILES.glob("*.js")]
        for place in ["", *parts, *files]:
            answer = client.get(f"/{place}")
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"].split("; ")
            needed = {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"}
            assert needed <= {*policy}
            assert not any("unsafe" in rule or "http" in rule for rule in policy)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            again = client.get(f"/{place}", headers={"if-none-match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert ("immutable" in answer.headers["cache-control"]) == (place != "")
        earlier = folder[:-1] + ("0" if folder[-1] != "0" else "1")
        for nothing in ("__init__.py", "..%2f__init__.py", f"../{Path(earlier).name}/page.js"):
            assert client.get(f"/{folder}/{nothing}").status_code == 404


def test_without_starlette_the_page_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette.routing", None)
    with pytest.raises(MissingExtra, match=r"pip install 'memstore\[serve\]'"):
        page_routes()


def test_the_pictures_of_the_docs_are_there_and_small():
    docs = Path(__file__).parents[3] / "docs"
    named = re.findall(r"\]\((page/[\w.]+)\)", (docs / "page.md").read_text())
    assert len(named) == 5
    assert {path.name for path in (docs / "page").iterdir()} == {Path(name).name for name in named}
    for name in named:
        assert (docs / name).stat().st_size < 150_000


def test_scripts_load_only_files_that_are_there_and_parse_no_html():
    scripts = sorted(FILES.glob("*.js"))
    for path in scripts:
        written = path.read_text()
        for name in re.findall(r'from "\./([\w.]+)"', written):
            assert (FILES / name).is_file(), f"{path.name} imports {name}"
        forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://(?!www\.w3\.org/2000/svg)"
        assert re.search(forbidden, written) is None, path.name
    assert len(scripts) > 10
