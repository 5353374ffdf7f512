"""Lets a torch that was built for GPUs load without the GPU libraries, for work on the CPU alone.

Those libraries take gigabytes, and torch refuses to load without them even where nothing calls
them. In their place go empty ones of the same names; every function that torch may look up in them
returns the error for "there is no device". Of a torch built for CPUs nothing is touched.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

NO_DEVICE = 100  # cudaErrorNoDevice, CUDA_ERROR_NO_DEVICE
NEEDED = re.compile(r"NEEDED.*\[(lib(?:cu|nccl|nv)[^\]]*)\]")
SYMBOL = re.compile(r"^\s+[Uw] ((?:__cuda|cu|nccl|nvrtc|nvshmem|nvtx)\w*)", re.MULTILINE)
# The functions lie in this one alone. torch asks for some functions by library version, which none
# of these has; the loader minds that only in a library of which torch asks for versions at all.
HOLDS_FUNCTIONS = "libcurand"


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    libraries = Path(sysconfig.get_path("purelib")) / "torch" / "lib"
    if not (libraries / "libtorch_cuda.so").is_file():
        return
    packages = libraries.parents[1]
    if (packages / "nvidia").is_dir():  # the true ones are there
        return
    names: set[str] = set()
    functions: set[str] = set()
    for path in sorted(libraries.glob("*.so")):
        names |= set(NEEDED.findall(output("readelf", "-d", path)))
        functions |= set(SYMBOL.findall(output("nm", "-D", "--undefined-only", path)))
    source = "".join(f"long {name}(void) {{ return {NO_DEVICE}; }}\n" for name in sorted(functions))
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")))
    for name in sorted(names):
        command = [compiler, "-shared", "-fPIC", "-x", "c", "-o", libraries / name]
        subprocess.run(
            [*command, f"-Wl,-soname,{name}", "-"],
            input=source if name.startswith(HOLDS_FUNCTIONS) else "",
            text=True,
            check=True,
        )


if __name__ == "__main__":
    main()
