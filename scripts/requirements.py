# SPDX-License-Identifier: Apache-2.0
"""Prints what setup.py requires for itself and the named extras, one requirement a line.

`pip install .[test]` would also install gr00t_policy_core itself, which then hides the one that
colcon builds; the set-up therefore installs the requirements alone.
"""

import runpy
import sys
from pathlib import Path


def requirements(extras: list[str]) -> list[str]:
    """What the package and `extras` need; KeyError for an extra that setup.py lacks."""
    setup = runpy.run_path(str(Path(__file__).resolve().parent.parent / "setup.py"))
    wanted = [*setup["REQUIRES"], *(line for extra in extras for line in setup["EXTRAS"][extra])]
    return list(dict.fromkeys(wanted))


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(sys.argv[1:])) + "\n")
