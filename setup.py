# SPDX-License-Identifier: Apache-2.0
"""gr00t_policy_core for machines without ROS 2; colcon builds the ROS package from package.xml."""

from pathlib import Path

REQUIRES = ["numpy>=1.21", "msgpack>=1.0", "pyzmq>=22"]

REPLAY = ["pyarrow>=10"]
CONTROL = ["ruckig>=0.12"]
KINEMATICS = ["pin>=3"]
SIM = [*REPLAY, *CONTROL, "mujoco>=3.1", "matplotlib>=3.5", "pillow>=9"]
REPORT = [*REPLAY, "matplotlib>=3.5"]
METRICS = ["prometheus-client>=0.16"]
TOP = ["rich>=13"]
JPEG = ["simplejpeg>=1.7"]
DASHBOARD = ["fastapi>=0.110", "uvicorn>=0.30", "websockets>=15"]
RAY = ["ray>=2.9"]
BAGS = ["mcap>=1.2", "rich>=13"]
CONVERT = [*REPLAY, *BAGS, "av>=15"]
RESIZE = ["opencv-python-headless>=4.5"]
ROBOTS = [*KINEMATICS, "example-robot-data>=6"]  # 130 MB to fetch: SO-101, Panda, G1, ...
LINT = ["ruff==0.17.6", "mypy==2.4.1"]
TEST = [
    *(*REPORT, *CONVERT, *CONTROL, *KINEMATICS, *METRICS, *TOP, *JPEG, *RESIZE, *DASHBOARD),
    *("pytest>=6.2,<9.2", "hypothesis>=6", "msgpack-numpy==0.4.8", "mcap-ros2-support>=0.5"),
    "py_trees>=2.2",  # the example of a behaviour tree
    # xdist 3.8 marks groups in a field that pytest 9.2 does not read: groups would be taken apart.
    # make test runs tests side by side; later ones would replace the pytest 6.2 of ROS 2 Humble.
    *('pytest-xdist>=3.2,<3.6;python_version<"3.11"', 'pytest-xdist>=3.2;python_version>="3.11"'),
]
BENCH = ["msgpack-numpy==0.4.8", "websockets>=15", "grpcio>=1.60", "matplotlib>=3.5"]
FUZZ = ["atheris>=2.3"]
GR00T = [
    "torch>=2.5",  # attention gives zeros where everything is masked: padding
    "transformers>=4.57",  # Qwen3-VL
    "safetensors>=0.4",
    "pillow>=9.1",
    *RESIZE,
]
EXTRAS = {
    "replay": REPLAY,  # policies that play recorded datasets
    "convert": CONVERT,  # bags to datasets, and the videos of datasets
    "gr00t": GR00T,  # local models
    "control": CONTROL,  # chunks inside the limits of the joints
    "kinematics": KINEMATICS,  # end effectors and workspaces
    "robots": ROBOTS,  # robot descriptions to test with
    "sim": SIM,  # the simulated arm of the demo
    "report": REPORT,  # gr00t-policy eval and diagnose
    "metrics": METRICS,  # serve --metrics-port
    "top": TOP,  # gr00t-policy top
    "dashboard": DASHBOARD,  # gr00t-policy dashboard
    "jpeg": JPEG,  # pictures as JPEG on the wire
    "ray": RAY,  # serve --replicas
    "bags": BAGS,  # the recorder, and what reads its episodes
    "resize": RESIZE,  # pictures at the policy's size on the wire
    "lint": LINT,
    "test": TEST,
    "dev": [*SIM, *LINT, *TEST, "pre-commit>=3"],
    # what others use, to compare with: Isaac-GR00T, openpi, LeRobot
    "bench": BENCH,
    "fuzz": FUZZ,  # make fuzz, guided by coverage
}

if __name__ == "__main__":  # scripts/requirements.py reads the lists without setuptools
    from setuptools import find_packages, setup

    setup(
        name="gr00t_policy_core",
        version="0.1.0",
        description="Serve, call and replay GR00T policies without ROS",
        long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
        long_description_content_type="text/markdown",
        license="Apache-2.0",
        author="The gr00t_ros developers",
        author_email="gr00t_ros@example.org",
        python_requires=">=3.10",
        packages=find_packages(include=["gr00t_policy_core", "gr00t_policy_core.*"]),
        package_data={"gr00t_policy_core": ["py.typed"]},
        install_requires=REQUIRES,
        extras_require=EXTRAS,
        entry_points={"console_scripts": ["gr00t-policy=gr00t_policy_core.cli:main"]},
    )
