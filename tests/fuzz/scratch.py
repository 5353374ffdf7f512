"""Where targets write files: in memory where the system has such a folder, for syncs cost there
nothing; gone when the process ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = "/dev/shm"
_PLACE = _MEMORY if os.access(_MEMORY, os.W_OK) else None


def new_folder() -> Path:
    """Return an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="memstore-fuzz-", dir=os.environ.get("TMPDIR", _PLACE)))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
