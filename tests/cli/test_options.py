"""Values that options refuse: one clear sentence, no traceback."""

import pytest


@pytest.mark.parametrize("days", ["1e12", "nan", "inf", "-1", "0", "1e-12", "long"])
def test_a_half_life_is_a_positive_number_of_days(shell, days):
    command = ("update", "id") if days == "-1" else ("add", "Text.")
    done = shell.run(*command, "--half-life", days)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "positive number of days" in done.stderr
    assert "Traceback" not in done.stderr
    assert "datetime" not in done.stderr


def test_a_half_life_may_be_part_of_a_day(shell):
    id_ = shell.run("add", "Text.", "--half-life", "0.5").stdout.strip()
    assert shell.json("get", id_)["half_life"] == 43_200


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000, "{x}", ""])
def test_what_is_no_json_is_wrong_usage(shell, value):
    done = shell.run("query", "Ana", "--where", value)
    assert done.returncode == 2
    assert "Invalid value for '--where': not JSON" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("query", "Ana", "-k", "0"), "limit"),
        (("list", "-k", "0"), "limit"),
        (("entities", "-k", "0"), "limit"),
        (("query", "Ana", "--max-tokens", "0"), "max_tokens"),
        (("ingest", "one.txt", "--batch-size", "0"), "batch_size"),
    ],
)
def test_the_library_itself_refuses_a_count_below_one(shell, arguments, name):
    (shell.folder / "one.txt").write_text("Text.")
    done = shell.run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {name} is 0; give a whole number of at least 1.")
