"""LangGraph's own tests of its stores, run on ours.

Their files come with the source distributions, which `scripts/setup` unpacks below `.suites`; each
distribution's run in a pytest of their own, where `langgraph_substitution` puts our store in place
of theirs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SUITES = PROJECT / ".suites" / "langgraph"

ONE_TEXT = "the fields of an item are one text here, not a vector each whose scores are equal"
THEIR_MODEL = "asks for the dimensions or the scores of the embeddings it brings"
THEIR_SQL = "about the SQL of that store"

# what is no expectation on a store in general, and why
INAPPLICABLE = {
    "langgraph_checkpoint-": {
        "test_vector_store_initialization": THEIR_MODEL,
        "test_embed_with_path": ONE_TEXT,
    },
    "langgraph_checkpoint_sqlite-": {
        "test_vector_store_initialization": THEIR_MODEL,
        "test_embed_with_path": ONE_TEXT,
        "test_embed_with_path_operation_config": ONE_TEXT,
        "test_scores": THEIR_MODEL,
        "test_nonnull_migrations": THEIR_SQL,
        "test_escape_glob_literal": THEIR_SQL,
        "test_namespace_match_pattern": THEIR_SQL,
        "test_list_namespaces_prefix_uses_indexable_condition": THEIR_SQL,
        "test_sql_injection_vulnerability": "refuses names that its SQL cannot hold; ours can",
        "test_filter_keys_with_hyphens_and_digits": "takes 'a.b' for b in a; for InMemoryStore and "
        "PostgresStore, as here, it is a name",
        "test_ttl_override_default": "refreshes on reading only if configured; BaseStore, "
        "PostgresStore and ours do unless configured otherwise",
        "test_no_running_loop": "refuses sync calls in the loop; ours answers both",
    },
    "langgraph_checkpoint_postgres-": {},
}
# most of Postgres' tests are those of SQLite again
ONLY = {"langgraph_checkpoint_postgres-": "ttl or omit_expired"}
FILES = ("test_store.py", "test_async_store.py", "test_ttl.py")
FEWEST = {
    "langgraph_checkpoint-": 110,
    "langgraph_checkpoint_sqlite-": 80,
    "langgraph_checkpoint_postgres-": 10,
}


@pytest.mark.parametrize("distribution", INAPPLICABLE)
def test_what_langgraph_asks_of_its_stores_ours_does_too(distribution, tmp_path):
    folders = sorted(SUITES.glob(f"{distribution}[0-9]*/"))
    if not folders:
        pytest.skip(f"{SUITES}/{distribution}* is missing: scripts/setup fetches it")
    outcomes = run(folders[-1], tmp_path / "outcomes.json", ONLY.get(distribution, ""))
    assert len(outcomes) >= FEWEST[distribution]
    failed = {name_of(test): report for test, report in outcomes.items() if report}
    unexpected = failed.keys() - INAPPLICABLE[distribution].keys()
    assert not unexpected, "\n".join(failed[name] for name in unexpected)
    # a reason that holds no more must go
    assert failed.keys() == INAPPLICABLE[distribution].keys()


def run(folder: Path, outcomes: Path, only: str) -> dict[str, str]:
    """Return their tests by name with what went wrong, empty where nothing did."""
    files = [f"tests/{name}" for name in FILES if (folder / "tests" / name).exists()]
    options = ["-p", "pytest_asyncio.plugin", "-p", "langgraph_substitution"]
    options += ["-p", "no:cacheprovider", "--noconftest", "-c", os.devnull, "--rootdir", "."]
    options += ["-o", "asyncio_mode=auto", "-q", "-k", only]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=folder,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), "."]),
            "MEMSTORE_SUITE_OUTCOMES": str(outcomes),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # passed, or some failed
    found: dict[str, str] = json.loads(outcomes.read_text())
    return found


def name_of(test: str) -> str:
    return re.sub(r"\[.*", "", test.split("::")[-1])
