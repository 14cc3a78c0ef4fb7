# SPDX-License-Identifier: Apache-2.0
"""Points the CMake files of pip-installed ROS 2 packages at the Python that runs this script.

The wheels' exported targets name the Python of the machine that built them, as in
/opt/python/cp311-cp311/include/python3.11, and CMake refuses a target whose folders do not exist.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

PATHS = sysconfig.get_paths()
FOLDERS = (  # the more particular one first
    (r"lib/python3\.\d+/site-packages/numpy/_?core/include", numpy.get_include()),
    (r"lib/python3\.\d+/site-packages", PATHS["purelib"]),
    (r"include/python3\.\d+", PATHS["include"]),
)


def relocated(text: str) -> str:
    """`text` with this interpreter's folders in the place of the build machine's."""
    for folder, ours in FOLDERS:
        text = re.sub(r"/opt/python/cp\d+-cp\d+/" + folder, lambda _, ours=ours: ours, text)
    return text


def main() -> None:
    """Rewrites every CMake file below the environment's share/ that needs it."""
    for path in Path(sys.prefix, "share").rglob("*.cmake"):
        text = path.read_text(encoding="utf-8")
        if "/opt/python/" in text:
            path.write_text(relocated(text), encoding="utf-8")


if __name__ == "__main__":
    main()
