# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy doctor` reports on a checkpoint without reading its weights."""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys

import numpy as np
import pytest
from models.checkpoints import edit
from models.golden import policy_of
from models.lerobot_golden import lerobot_golden_of

from gr00t_policy_core.cli import main
from gr00t_policy_core.models.checkpoint_report import CheckpointReport, KeyRange


def run_doctor(capsys, *arguments):
    """The exit status, and what was printed."""
    status = main(["doctor", *map(str, arguments)])
    return status, capsys.readouterr().out


def test_what_it_is_and_what_it_reads_is_told(golden, capsys):
    status, said = run_doctor(capsys, golden.checkpoint, "--backbone-path", golden.backbone)
    assert status == 0
    assert "format      Isaac-GR00T checkpoint, model line gr00t_n1d" in said
    assert "tokenizer and configuration found" in said
    assert f"embodiment  {golden.tag}" in said
    policy = policy_of(golden.name)
    for modality, dimensions in policy.get_dimensions().items():
        for key, dim in dimensions.items():
            assert f"    {key}: {dim} values" in said, modality
    assert f"action    horizon {policy.embodiment.horizon}" in said
    assert golden.language_key in said


@pytest.mark.usefixtures("no_weights")
def test_no_weight_is_read(n1d7, capsys, monkeypatch):
    from gr00t_policy_core.models.common import weights

    monkeypatch.setattr(weights, "safe_open", lambda *_, **__: pytest.fail("a weight was read"))
    assert run_doctor(capsys, n1d7.checkpoint, "--backbone-path", n1d7.backbone)[0] == 0


def test_the_tokens_are_those_that_the_model_reads(golden, capsys):
    _, said = run_doctor(
        capsys,
        *(golden.checkpoint, "--backbone-path", golden.backbone, "--camera-size", "48x100"),
    )
    policy = policy_of(golden.name)
    height, width = policy.model.backbone.pipeline.size(48, 100)
    tokens = policy.model.backbone.grid(1, height, width).tokens_per_image
    assert f"48x100 becomes {height}x{width}: {tokens} tokens" in said


def test_the_memory_is_that_of_the_weights_that_are_loaded(golden):
    policy = policy_of(golden.name)
    parts = (policy.model.backbone.network, policy.model.head)
    loaded = sum(value.numel() for part in parts for value in part.state_dict().values())
    report = CheckpointReport(golden.checkpoint, backbone_path=golden.backbone)
    assert report.weight_count() == loaded


@pytest.mark.parametrize("name", ["lerobot_n1d7/a", "lerobot_n1d7/b"])
def test_a_checkpoint_of_lerobot_is_told_as_one(capsys, name):
    golden = lerobot_golden_of(name)
    status, said = run_doctor(capsys, golden.checkpoint, "--backbone-path", golden.backbone)
    assert status == 0
    assert "format      LeRobot checkpoint of GR00T N1.7, model line gr00t_n1d7" in said
    assert "LeRobot's bicubic" in said or "aspect ratio kept, shorter side resized to 80" in said


def test_a_backbone_that_is_missing_is_named_with_the_way_to_get_it(n1d7, capsys):
    status, said = run_doctor(capsys, n1d7.checkpoint)
    assert status == 1
    assert "tokenizer and configuration MISSING" in said
    assert "run `hf download nvidia/Cosmos-Reason2-tiny --include" in said
    assert "tokens unknown" in said


def test_all_missing_files_are_named_at_once(n1d7, damaged, capsys):
    folder = damaged(n1d7)
    for name in ("statistics.json", "processor_config.json"):
        (folder / name).unlink()
    assert main(["doctor", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "lacks processor_config.json, statistics.json; copy them from where" in said
    assert said.count("\n") == 1


def test_another_model_is_named(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gr00t_n1_5"}))
    assert main(["doctor", str(tmp_path)]) == 1
    assert "GR00T N1.5; supported are N1.6 and N1.7" in capsys.readouterr().err


def test_a_robot_that_cannot_be_driven_is_named_with_the_reason(n1d7, damaged, capsys):
    folder = damaged(n1d7)
    edit(folder / "statistics.json", lambda c: c[n1d7.tag]["state"].pop("gripper"))
    status, said = run_doctor(capsys, folder, "--backbone-path", n1d7.backbone)
    assert status == 1
    assert "CANNOT RUN: bad statistics.json: new_embodiment.state.gripper is missing" in said


def test_a_tag_that_is_not_there_is_answered_with_those_that_are(n1d7):
    assert main(["doctor", str(n1d7.checkpoint), "--embodiment-tag", "gr1"]) == 1


@pytest.mark.parametrize(
    ("low", "high", "hint"),
    [
        (-1.5, 1.5, None),
        (-6.0, 6.2, None),
        (-110.0, 95.0, "degrees"),
        (0.0, 100.0, "percent"),
        (-2.0, 57.0, "percent"),
        (0.0, 4095.0, "neither rad nor m"),
        (0.0, 1.0, None),
    ],
)
def test_a_range_that_looks_like_another_unit_is_told(low, high, hint):
    entry = KeyRange("arm", 2, np.array([low, 0.0]), np.array([0.0, high]))
    assert entry.unit_hint == hint


ROS_PACKAGES = (
    *("builtin_interfaces", "geometry_msgs", "sensor_msgs", "std_msgs", "trajectory_msgs"),
    "rclpy",
)


class EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module of the packages that are missing, each with empty classes."""

    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module):
        module.__getattr__ = empty_class


def empty_class(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})


@pytest.fixture
def ros_messages(monkeypatch):
    """Where ROS is missing, modules with empty classes stand for it: a contract needs no more."""
    missing = {package for package in ROS_PACKAGES if importlib.util.find_spec(package) is None}
    before = set(sys.modules)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, EmptyModules(missing)])
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {*missing, "gr00t_ros"}:
            del sys.modules[name]


class TestAFileForTheNodes:
    def written(self, tmp_path, golden):
        file = tmp_path / "robot.yaml"
        arguments = [str(golden.checkpoint), "--backbone-path", str(golden.backbone)]
        assert main(["doctor", *arguments, "--yaml", str(file)]) == 0
        return file

    @pytest.mark.usefixtures("ros_messages")
    def test_is_a_configuration_that_they_take(self, golden, tmp_path):
        yaml = pytest.importorskip("yaml")
        from gr00t_ros.contract.contract import parse_contract

        file = self.written(tmp_path, golden)
        nested = yaml.safe_load(file.read_text())["/**"]["ros__parameters"]
        contract = parse_contract(dict(flat(nested)))
        configs = policy_of(golden.name).get_modality_config()
        assert [stream.key for stream in contract.video] == configs["video"].modality_keys
        assert [stream.key for stream in contract.state] == configs["state"].modality_keys
        assert [output.key for output in contract.action] == configs["action"].modality_keys
        dimensions = policy_of(golden.name).get_dimensions()
        for entry in (*contract.state, *contract.action):
            modality = "state" if entry in contract.state else "action"
            assert entry.dimension in (dimensions[modality][entry.key], None)
        limits = [limit for output in contract.action for limit in output.limits]
        assert {(limit.velocity, limit.acceleration) for limit in limits} <= {(1.0, 5.0)}

    def test_is_never_written_over(self, n1d7, tmp_path, capsys):
        file = self.written(tmp_path, n1d7)
        arguments = [str(n1d7.checkpoint), "--backbone-path", str(n1d7.backbone)]
        assert main(["doctor", *arguments, "--yaml", str(file)]) == 1
        assert "exists already" in capsys.readouterr().err

    def test_converts_degrees_where_the_statistics_look_like_them(self, n1d7, damaged, tmp_path):
        folder = damaged(n1d7)

        def to_degrees(content):
            for kinds in content[n1d7.tag]["state"]["single_arm"], content[n1d7.tag]["action"]:
                for kind in ("q01", "q99", "min", "max"):
                    if kind in kinds:
                        kinds[kind] = (np.asarray(kinds[kind]) * 57.3).tolist()

        edit(folder / "statistics.json", to_degrees)
        file = tmp_path / "robot.yaml"
        arguments = [str(folder), "--backbone-path", str(n1d7.backbone), "--yaml", str(file)]
        assert main(["doctor", *arguments]) == 0
        assert "scale: 57.29577951308232" in file.read_text()
        assert "scale: 0.017453292519943295" in file.read_text()


def flat(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
