"""What a file of tensors says of itself, before anything is set aside for it."""

from __future__ import annotations

import errno
import pickletools
import zipfile
from pathlib import Path
from typing import IO, Final

MOST_MEMBERS: Final = 64  # of an archive; two tensors take eight
MOST_STEPS: Final = 2_000  # of the pickle that names the tensors; two take two hundred
_OLDER_PREAMBLE: Final = 3  # pickles before it: a mark, a version, and the machine


def check_tensor_file(path: Path) -> bool:
    """Refuse a file that would take more memory than it has bytes; return whether it is an archive.

    torch believes what a file says of the size of its tensors: in an archive it would unpack a
    compressed member whatever comes out, and in an older file set memory aside for any number.

    Raises:
        ValueError: see above.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            try:
                _check_archive(file, size)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                raise ValueError("an archive that names places before its beginning") from error
            return True
        file.seek(0)
        for _ in range(_OLDER_PREAMBLE):
            _check_steps(file, 2**80)  # its mark is a number of ten bytes
        _check_steps(file, size)
    return False


def _check_archive(file: IO[bytes], size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"an archive of {len(members):,} members")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("a compressed archive, which torch does not write")
        claimed = sum(member.file_size for member in members)
        if claimed > size:
            raise ValueError(f"an archive of {size:,} bytes that says it holds {claimed:,}")
        for member in members:
            if member.filename.endswith("/data.pkl"):
                with archive.open(member) as pickled:
                    _check_steps(pickled, size)


def _check_steps(file: IO[bytes], most: int) -> None:
    """Look at the steps of a pickle, without taking them, to its end."""
    for step, (_, argument, _) in enumerate(pickletools.genops(file)):
        if step >= MOST_STEPS:
            raise ValueError(f"more than {MOST_STEPS:,} steps to name a few tensors")
        if isinstance(argument, int) and argument > most:
            raise ValueError(f"a tensor of {argument:,} values in a file of {most:,} bytes")
