# SPDX-License-Identifier: Apache-2.0
"""Wrong uses of `serve --replicas`, and a machine without Ray."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from lerobot_writer import write_dataset
from toy_policy import ToyPolicy

from gr00t_policy_core import SpecError
from gr00t_policy_core.cli import main
from gr00t_policy_core.serving.replicas import ReplicaPool, replica_slot

TIMEOUT_S = 60


def test_without_ray_it_says_what_to_install(tmp_path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('not here')\n")
    dataset = write_dataset(tmp_path / "dataset", [20])
    command = [sys.executable, "-m", "gr00t_policy_core", "serve", "--port", "0"]
    result = subprocess.run(
        [*command, "--dataset-path", str(dataset), "--replicas", "2"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 1
    assert "pip install '.[ray]'" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ["--dataset-path", "nowhere", "--ray-address", "gpu-box:6379"],
            "--ray-address needs --replicas",
        ),
        (
            [
                "--model-path",
                "nowhere",
                "--embodiment-tag",
                "gr1",
                "--replicas",
                "2",
                "--device",
                "cuda:1",
            ],
            "got cuda:1",
        ),
        (["--dataset-path", "nowhere", "--replicas", "0"], "must be at least 1"),
    ],
)
def test_flags_are_checked(capsys, flags, says) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *flags])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("address", ["ray://gpu-box:10001", "gpu-box", "gpu-box:port"])
def test_an_address_that_is_none_is_refused(capsys, address) -> None:
    flags = ["--dataset-path", "nowhere", "--replicas", "1", "--ray-address", address]
    assert main(["serve", *flags]) == 1
    assert f"bad Ray address: {address}" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "2"])
def test_a_pool_needs_a_size(size) -> None:
    with pytest.raises(SpecError, match="size must be"):
        ReplicaPool(ToyPolicy, size)


class Machine:
    """Of Ray, what a pool asks it for before it makes anything."""

    def __init__(self, **resources: float) -> None:
        self.resources = resources
        self.asked: list[dict] = []

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, **options):
        self.asked.append(options)
        return lambda made: SimpleNamespace(remote=made)


@pytest.mark.parametrize(
    ("resources", "use_gpus", "each"),
    [({"GPU": 2.0}, True, 1), ({"GPU": 2.0}, False, 0), ({"CPU": 8.0}, True, 0)],
)
def test_each_replica_has_a_gpu_where_there_are_gpus_and_it_wants_one(
    resources, use_gpus, each
) -> None:
    machine = Machine(**resources)
    replica_slot.make_slots(machine, ToyPolicy, 2, use_gpus=use_gpus, share_cpus=True)
    assert [options["num_gpus"] for options in machine.asked] == [each, each]


def test_more_replicas_than_gpus_are_refused() -> None:
    with pytest.raises(SpecError, match="3 replicas need a GPU each, Ray has 2 in all"):
        replica_slot.make_slots(Machine(GPU=2.0), ToyPolicy, 3, use_gpus=True, share_cpus=True)
