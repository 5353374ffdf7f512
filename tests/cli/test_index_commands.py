"""compact, import-index and export-index on the command line."""

import json
import os
import subprocess
import sys

import pytest

from memstore import MemoryStore

PTY = pytest.importorskip("pty")


def exported(shell):
    """Export the shell's store, and return a new store's options with the folder."""
    done = shell.run("export-index", "index")
    assert done.returncode == 0, done.stderr
    assert shell.run("--store", "new.mem", "init", "--encoder", "hashed").returncode == 0
    return "--store", "new.mem", "import-index", "index"


def test_compact_says_what_it_did(shell):
    done = shell.run("compact")
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.startswith("2 passages compressed, 0 segments merged, 0 deleted passages")
    assert "codec trained, in " in done.stderr
    report = shell.json("compact")
    assert (report["sealed"], report["trained"]) == (0, False)
    assert shell.json("stats")["segments"] == 1
    assert shell.json("query", "chess", "-k", "1")["hits"][0]["memory"]["key"] == "bruno.chess"


def test_an_index_goes_from_store_to_store(shell):
    report = shell.json("export-index", "index")
    assert (report["memories"], report["passages"], report["encoded"]) == (2, 2, 2)
    arguments = ("import-index", "index", "--namespace", "team", "--source", "colbert")
    done = shell.run("--store", "new.mem", *arguments, "--encoder", "hashed")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("2 added, 0 unchanged, 0 skipped, in ")
    again = shell.json("--store", "new.mem", *arguments)
    assert (again["added"], again["unchanged"]) == (0, 2)
    (hit,) = shell.json("--store", "new.mem", "query", "Lisbon", "-n", "team", "-k", "1")["hits"]
    assert hit["memory"]["key"] == "ana.city"
    assert hit["memory"]["source"] == "colbert"
    assert hit["memory"]["metadata"] == {"topic": "home"}


def test_only_a_namespace_is_exported_if_one_is_named(shell):
    with MemoryStore.open(shell.store) as store:
        store.add("Carla sings.", namespace="team/x", key="carla")
    done = shell.run("export-index", "index", "--namespace", "team")
    assert done.stderr.startswith("1 passages of 1 memories written to index, in ")
    assert json.loads((shell.folder / "index" / "collection.json").read_text()) == ["Carla sings."]


def test_texts_of_an_index_without_them_come_from_a_file(shell):
    arguments = exported(shell)
    for name in ("collection.json", "pid_docid_map.json", "docid_metadata_map.json"):
        (shell.folder / "index" / name).unlink()
    done = shell.run(*arguments)
    assert done.returncode == 1
    assert "--texts FILE" in done.stderr
    (shell.folder / "texts.tsv").write_text("0\tAna lives in Lisbon.\n1\tBruno plays.\n")
    assert shell.run(*arguments, "--texts", "texts.tsv").returncode == 0
    assert shell.json("--store", "new.mem", "get", "0")["text"] == "Ana lives in Lisbon."


def test_an_index_of_another_encoder_is_refused_until_it_is_said_to_be_the_same(shell):
    arguments = exported(shell)
    path = shell.folder / "index" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["config"]["checkpoint"] = "colbert-ir/colbertv2.0"
    path.write_text(json.dumps(metadata))
    done = shell.run(*arguments)
    assert done.returncode == 1
    assert "memstore --store NEW init --encoder colbert-ir/colbertv2.0" in done.stderr
    assert "--same-encoder" in done.stderr
    assert shell.run(*arguments, "--same-encoder").returncode == 0


def test_texts_that_ragatouille_may_have_moved_are_imported_if_it_deleted_once(shell):
    with MemoryStore.open(shell.store) as store:
        store.add_many(["Carla sings.", "Dora sails."])
    arguments = exported(shell)
    index = shell.folder / "index"
    # as RAGatouille leaves it: no tokens, no text, no id
    lengths = json.loads((index / "doclens.0.json").read_text())
    remove_tokens(index, lengths, [1, 2])
    done = shell.run(*arguments)
    assert done.returncode == 1
    assert "--deleted-at-once" in done.stderr
    done = shell.run(*arguments, "--deleted-at-once")
    assert done.stderr.startswith("2 added, 0 unchanged, 2 skipped"), done.stderr
    texts = [item["text"] for item in shell.json("--store", "new.mem", "list")["memories"]]
    assert texts == ["Ana moved from Porto to Lisbon.", "Dora sails."]


def remove_tokens(index, lengths, pids):
    import torch

    kept = [pid not in pids for pid, length in enumerate(lengths) for _ in range(length)]
    for name in ("0.codes.pt", "0.residuals.pt"):
        rows = torch.load(index / name, weights_only=True)
        torch.save(rows[torch.tensor(kept)].contiguous(), index / name)
    lengths = [0 if pid in pids else length for pid, length in enumerate(lengths)]
    (index / "doclens.0.json").write_text(json.dumps(lengths))
    texts = json.loads((index / "collection.json").read_text())
    texts = [text for pid, text in enumerate(texts) if pid not in pids]
    (index / "collection.json").write_text(json.dumps(texts))
    ids = json.loads((index / "pid_docid_map.json").read_text())
    ids = {pid: name for pid, name in ids.items() if int(pid) not in pids}
    (index / "pid_docid_map.json").write_text(json.dumps(ids))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("export-index", "agent.mem"), "agent.mem exists already"),
        (("export-index", "index", "-n", "nowhere"), "nothing to export"),
        (("--store", "none.mem", "export-index", "index"), "memstore --store none.mem init"),
        (("--store", "none.mem", "import-index", "index"), "memstore --store none.mem init"),
        (("import-index", "nowhere"), "There is no folder nowhere"),
        (("import-index", "."), "is no colbert-ai index"),
        (("--store", "none.mem", "compact"), "memstore --store none.mem init"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence_with_exit_status_one(shell, arguments, said):
    done = shell.run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shell.folder / "none.mem").exists()
    assert not (shell.folder / "index").exists()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [(("compact",), b"writing"), (("export-index", "index"), b"writing vectors")],
)
def test_a_terminal_shows_how_far_it_is(shell, arguments, shown):
    ours, theirs = PTY.openpty()
    with open(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "memstore", *arguments],
            cwd=shell.folder,
            stderr=theirs,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        )
        os.close(theirs)
        seen = b""
        try:
            while block := screen.read(4096):
                seen += block
        except OSError:
            pass  # how Linux says that the other end is closed
        assert process.wait() == 0
    assert shown in seen
    assert b"100%" in seen
