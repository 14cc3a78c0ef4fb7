# SPDX-License-Identifier: Apache-2.0
"""Makes control_msgs and controller_manager_msgs importable, where no ROS distribution has them.

Their definitions in test/ros/interface_packages are built once for each state of them: by
`make test`, which runs this file before any test, or else by the first test process.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

PACKAGES = Path(__file__).with_name("interface_packages")
BUILDS = Path(__file__).resolve().parents[2] / "build" / "test_interfaces"
NAMES = ("control_msgs", "controller_manager_msgs")


def make_importable() -> None:
    """Build the packages that are missing, and put them on this process's paths.

    Processes that it starts inherit them. Without colcon they stay missing, and tests of them skip.

    Raises:
        RuntimeError: The build has failed; the text is its output.
    """
    install = build()
    if install is None:
        return
    _prepend("AMENT_PREFIX_PATH", install)
    _prepend("LD_LIBRARY_PATH", install / "lib")
    python = next(install.glob("lib/python*/site-packages"))
    _prepend("PYTHONPATH", python)
    sys.path.insert(0, str(python))
    # The type supports are loaded by their bare names; this process has read LD_LIBRARY_PATH.
    for library in sorted((install / "lib").glob("*.so")):
        ctypes.CDLL(str(library))


def build() -> Path | None:
    """Build the packages, unless that was done before; returns their install folder.

    None where the packages are installed, or there is no colcon to build them with.

    Raises:
        RuntimeError: The build has failed; the text is its output.
    """
    if all(find_spec(name) for name in NAMES) or not shutil.which("colcon"):
        return None
    folder = BUILDS / _digest()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes start at once
        if not (folder / "done").exists():
            _build(folder)
            (folder / "done").touch()
    return folder / "install"


def _build(folder: Path) -> None:
    command = ["colcon", "--log-base", folder / "log", "build", "--merge-install"]
    command += ["--base-paths", PACKAGES, "--build-base", folder / "build"]
    command += ["--install-base", folder / "install", "--executor", "sequential", "--cmake-args"]
    # Found at run time without an environment that was set before the process started.
    command += ["-DBUILD_TESTING=OFF", f"-DCMAKE_INSTALL_RPATH={folder / 'install' / 'lib'}"]
    command += [f"-DPython3_EXECUTABLE={sys.executable}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        output = f"{found.stdout}{found.stderr}"
        raise RuntimeError(f"the interfaces for the tests cannot be built:\n{output}")


def _digest() -> str:
    digest = hashlib.sha256(sysconfig.get_config_var("SOABI").encode())
    digest.update(os.environ.get("ROS_DISTRO", "").encode())
    for path in sorted(PACKAGES.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _prepend(name: str, folder: Path) -> None:
    rest = os.environ.get(name)
    os.environ[name] = os.pathsep.join(filter(None, (str(folder), rest)))


if __name__ == "__main__":
    build()
