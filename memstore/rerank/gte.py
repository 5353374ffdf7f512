"""GTE checkpoints of the type `new`, whose configuration asks for code of their own.

transformers has the same architecture as `gte` and renames their weights while it loads them. Only
the configuration has to be rewritten; that is done in a shadow of the folder, and no code of the
checkpoint is ever run.

Experimental: that the rewritten positions are those of the checkpoint's own code follows from its
formula, and was never compared with real weights.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

# What the native class computes; a checkpoint that says otherwise would get wrong scores from it.
_SUPPORTED: Final = {
    "position_embedding_type": "rope",
    "layer_norm_type": "layer_norm",
    "logn_attention_scale": False,
    "pack_qkv": True,
}
_THETA: Final = 10_000.0  # the default of the checkpoints' own code


@contextmanager
def loadable(folder: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a folder that loads without code of its own: for GTE `new` a shadow, else this one.

    Args:
        config: what the folder's config.json says.

    Raises:
        ValueError: the native architecture computes something else than this checkpoint.
    """
    if config.get("model_type") != "new":
        yield folder
        return
    rewritten = native_config(config)
    with tempfile.TemporaryDirectory(prefix="memstore-gte-") as name:
        shadow = Path(name)
        for entry in folder.iterdir():
            if entry.name != "config.json":
                _link(entry.absolute(), shadow / entry.name)
        (shadow / "config.json").write_text(json.dumps(rewritten), encoding="utf-8")
        yield shadow


def native_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the same model as `GteForSequenceClassification`.

    Raises:
        ValueError: the native architecture computes something else.
    """
    for name, value in _SUPPORTED.items():
        if config.get(name, value) != value:
            raise ValueError(f"its {name} is {config[name]!r}, and only {value!r} is supported")
    replaced = ("auto_map", "rope_theta", "rope_scaling")
    return {name: value for name, value in config.items() if name not in replaced} | {
        "model_type": "gte",
        "architectures": ["GteForSequenceClassification"],
        "rope_parameters": _rope_parameters(config),
    }


def _rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Say the same rotary positions in the native class's terms.

    The checkpoints' fixed NTK scaling by f multiplies theta by f and divides every frequency by
    f^(2 / dim): transformers calls such a division `linear`.
    """
    theta = float(config.get("rope_theta", _THETA))
    scaling = config.get("rope_scaling")
    if scaling is None:
        return {"rope_type": "default", "rope_theta": theta}
    if scaling.get("type") != "ntk" or scaling.get("mixed_b") is not None:
        raise ValueError(f"its rope_scaling is {scaling}, and only fixed NTK scaling is supported")
    factor = float(scaling["factor"])
    dim = config["hidden_size"] // config["num_attention_heads"]
    return {"rope_type": "linear", "rope_theta": theta * factor, "factor": factor ** (2 / dim)}


def _link(source: Path, target: Path) -> None:
    try:
        os.symlink(source, target)
    except OSError:  # a file system or an account without symbolic links
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
