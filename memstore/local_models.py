"""What loading any model needs: its files, a device, and no bars drawn on standard error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memstore.errors import MemstoreError

if TYPE_CHECKING:
    import torch

# Seconds to wait for the hub's first answer.
HUB_TIMEOUT: Final = 5.0
WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
# As large models are published: an index, and shards beside it.
_SHARDED: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# Other formats of the same weights, which are several times larger than what is loaded.
_NOT_NEEDED: Final = ("onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.gguf")


class NotFetchedError(Exception):
    """A model is not on this machine and could not be downloaded; the message is the reason."""


def fetch(hub_id: str) -> Path:
    """Return a local folder with a model of the hub: from the cache, else downloaded into it.

    Raises:
        NotFetchedError: it is not in the cache, and the hub is unreachable or has no such model.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import (
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        cached = Path(snapshot_download(hub_id, local_files_only=True))
    except LocalEntryNotFoundError:
        cached = None
    # An interrupted download leaves a folder without its weights.
    if cached is not None and any((cached / name).is_file() for name in (*WEIGHTS, *_SHARDED)):
        return cached
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise NotFetchedError("HF_HUB_OFFLINE forbids to download it")
    try:
        # One small request first: a download to an unreachable hub would retry for minutes.
        files = HfApi().model_info(hub_id, timeout=HUB_TIMEOUT)
        names = {file.rfilename for file in files.siblings or ()}
        safe = {"model.safetensors", "model.safetensors.index.json"} & names
        skipped = [*_NOT_NEEDED, *(("*.bin",) if safe else ())]
        return Path(snapshot_download(hub_id, revision=files.sha, ignore_patterns=skipped))
    except RepositoryNotFoundError as error:
        raise NotFetchedError("the hub has no public model of that name") from error
    except (_network_error(), OSError) as error:
        raise NotFetchedError(f"the hub did not give it: {first_line(error)}") from error


def _network_error() -> type[Exception]:
    # Which HTTP client is used depends on the hub's version; its error is the parent of this one.
    from huggingface_hub.errors import HfHubHTTPError

    parent = HfHubHTTPError.__mro__[1]
    return parent if issubclass(parent, Exception) else HfHubHTTPError


def is_folder(name: str) -> bool:
    """Return whether there is a folder of this name; what cannot be a path is none."""
    try:
        return bool(name) and Path(os.path.expanduser(name)).is_dir()
    except OSError:  # too long for the file system
        return False


def first_line(error: BaseException) -> str:
    """Return what an error says in one line, or its name if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def has_gpu_driver() -> bool:
    """Return whether a driver of NVIDIA's or AMD's is there, without importing torch to ask it."""
    return any(map(os.path.exists, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")))  # dxg: in WSL


def choose_device(device: str, *, refusal: type[MemstoreError]) -> torch.device:
    """Return the device for 'auto', 'cpu', 'cuda' or 'cuda:1'; 'auto' is CUDA where there is one.

    Raises:
        refusal: torch does not know the device or cannot use it here.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        raise refusal(
            f"The device '{device}' cannot be used: {first_line(error)}.\n"
            "Choose device='auto', device='cpu', or install a torch build for your accelerator."
        ) from error
    return chosen


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """transformers draws a bar while it loads weights, even where stderr is no terminal."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
