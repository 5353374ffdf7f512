"""Entities, their neighbours and their aliases on the command line."""

from __future__ import annotations

import pytest


@pytest.fixture
def told(shell):
    for text in ("We met Ana in Lisbon.", "Lisbon suits Ana.", "We saw Anita in Porto."):
        assert shell.run("add", text).returncode == 0
    return shell


def test_entities_are_listed_by_prefix_whatever_its_case(shell):
    assert [item["name"] for item in shell.json("entities", "LIS")] == ["Lisbon"]
    assert "Porto" in shell.run("entities").stdout


def test_neighbours_are_listed_strongest_tie_first(told):
    (lisbon,) = told.json("neighbours", "ana")
    assert {name: lisbon[name] for name in ("name", "together", "memories")} == {
        "name": "Lisbon",
        "together": 3,
        "memories": 3,
    }
    shown = told.run("neighbours", "ana").stdout
    assert "Lisbon" in shown
    assert f"{lisbon['npmi']:.2f}" in shown
    nobody = told.run("neighbours", "nobody")
    assert (nobody.returncode, nobody.stdout) == (0, "")
    assert "Nothing is mentioned together with it twice." in nobody.stderr


def test_an_alias_joins_two_names_until_it_is_removed(told):
    done = told.run("alias", "Anita", "--of", "Ana")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "'Anita' stands for 'Ana' in namespace 'default'.\n"
    assert "anita" in told.run("entities", "an").stdout
    assert [item["aliases"] for item in told.json("entities", "ana")] == [["anita"]]
    assert [item["name"] for item in told.json("neighbours", "Anita")] == ["Lisbon", "Porto"]
    done = told.run("alias", "Anita", "--remove")
    assert (done.returncode, done.stderr) == (
        0,
        "'Anita' stands for itself in namespace 'default'.\n",
    )
    assert [item["aliases"] for item in told.json("entities", "an")] == [[], []]


@pytest.mark.parametrize("options", [(), ("--of", "Ana", "--remove")])
def test_alias_takes_either_an_entity_or_remove(shell, options):
    done = shell.run("alias", "Anita", *options)
    assert done.returncode == 2
    assert "--of ENTITY, or --remove" in done.stderr


def test_what_is_refused_is_said_in_a_sentence(shell):
    done = shell.run("alias", "Ana", "--remove", "-n", "team")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: 'Ana' is no alias in namespace 'team'.")
