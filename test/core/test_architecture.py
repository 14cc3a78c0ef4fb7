# SPDX-License-Identifier: Apache-2.0
"""The product keeps the rules of the house, and each rule is shown to catch an offender."""

import ast
import subprocess
import sys

import pytest
from architecture_rules import (
    PRODUCT,
    ROOT,
    RULES,
    SOURCE_FOLDERS,
    Module,
    Rule,
    import_cycle,
    imports_point_down,
    libraries_stay_at_home,
    nothing_has_a_finalizer,
    nothing_imports_a_node,
    nothing_is_pickled,
    nothing_prints,
    only_the_cli_imports_the_cli,
    strangers_do_not_meet,
    the_control_node_knows_no_policy,
)


def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = [path for package in PRODUCT for path in sorted((ROOT / package).rglob("*.py"))]
    assert import_cycle([Module.read(path) for path in paths]) == []


def test_a_circle_of_imports_is_seen() -> None:
    def module(name: str, source: str) -> Module:
        return Module(name, is_package=False, tree=ast.parse(source))

    queue = module("gr00t_ros.queue", "def f():\n from gr00t_ros.worker import Worker")
    worker = module("gr00t_ros.worker", "import gr00t_ros.server")
    server = module("gr00t_ros.server", "from gr00t_ros import queue")
    typed = module("gr00t_ros.server", "if TYPE_CHECKING:\n from gr00t_ros.queue import Queue")
    assert len(import_cycle([queue, worker, server])) == 3
    assert import_cycle([queue, worker, typed]) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_product_keeps_the_rule(rule: Rule) -> None:
    paths = [path for package in PRODUCT for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(paths) > 5, "the walk found no product"
    assert [offence for path in paths for offence in rule(Module.read(path))] == []


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (imports_point_down, "gr00t_policy_core.errors", "import gr00t_policy_core.modality"),
        (imports_point_down, "gr00t_policy_core.modality", "from gr00t_policy_core import policy"),
        (imports_point_down, "gr00t_policy_core.policy", "from .serving import client"),
        (imports_point_down, "gr00t_policy_core.policy", "from gr00t_policy_core import Client"),
        (imports_point_down, "gr00t_policy_core.policy", "import gr00t_policy_core"),
        (imports_point_down, "gr00t_policy_core.policies.replay", "from ..serving import client"),
        (imports_point_down, "gr00t_policy_core.policies.a", "def f():\n from .. import models"),
        (
            imports_point_down,
            "gr00t_policy_core.control.deadline_ticker",
            "from ..errors import SpecError",
        ),
        (imports_point_down, "gr00t_policy_core.policy", "from .control import clock"),
        (imports_point_down, "gr00t_policy_core.attic", ""),
        (
            strangers_do_not_meet,
            "gr00t_policy_core.serving.wire.serializer",
            "from gr00t_policy_core.serving.transport import zmtp",
        ),
        (
            strangers_do_not_meet,
            "gr00t_policy_core.serving.transport.base",
            "from ..wire.envelope import Request",
        ),
        (
            strangers_do_not_meet,
            "gr00t_policy_core.serving.client.settings",
            "import gr00t_policy_core.serving.server.settings",
        ),
        (
            strangers_do_not_meet,
            "gr00t_policy_core.serving.server.dispatcher",
            "def f():\n from .. import client",
        ),
        (
            nothing_imports_a_node,
            "gr00t_ros.interfaces.command_publisher",
            "from gr00t_ros.control import control_node",
        ),
        (
            only_the_cli_imports_the_cli,
            "gr00t_ros.node.startup",
            "from gr00t_policy_core.cli import output",
        ),
        (nothing_imports_a_node, "gr00t_ros.sim.scene", "from .sim_node import SimNode"),
        (libraries_stay_at_home, "gr00t_policy_core.policy", "import rclpy.node"),
        (libraries_stay_at_home, "gr00t_policy_core.cli", "from gr00t_ros import contract"),
        (libraries_stay_at_home, "gr00t_policy_core.serving.server.policy_server", "import torch"),
        (libraries_stay_at_home, "gr00t_ros.policy.policy_node", "from torch import nn"),
        (libraries_stay_at_home, "gr00t_ros.policy.streams", "import mujoco"),
        (libraries_stay_at_home, "gr00t_ros.convert.steps", "import av"),
        (libraries_stay_at_home, "gr00t_ros.cli.dashboard", "import uvicorn"),
        (libraries_stay_at_home, "gr00t_ros.convert.steps", "from mcap.reader import make_reader"),
        (libraries_stay_at_home, "gr00t_policy_core.serving.server.policy_server", "import ray"),
        (libraries_stay_at_home, "gr00t_ros.control.workspaces", "import pinocchio"),
        (libraries_stay_at_home, "gr00t_policy_core.cli", "importlib.import_module('rclpy')"),
        (
            the_control_node_knows_no_policy,
            "gr00t_ros.control.chunk_reader",
            "from gr00t_ros.interfaces.conversions import commands_from_actions",
        ),
        (
            the_control_node_knows_no_policy,
            "gr00t_ros.control.chunk_reader",
            "from ..policy.chunk_writer import chunk_message",
        ),
        (
            the_control_node_knows_no_policy,
            "gr00t_ros.control.chunk_reader",
            "def f(output, values): return values * output.scale",
        ),
        (
            only_the_cli_imports_the_cli,
            "gr00t_ros.sim.demo",
            "from gr00t_policy_core.cli import say",
        ),
        (
            nothing_is_pickled,
            "gr00t_policy_core.serving.wire.serializer",
            "from pickle import loads",
        ),
        (
            nothing_is_pickled,
            "gr00t_policy_core.serving.wire.serializer",
            "f(x, allow_pickle=True)",
        ),
        (nothing_prints, "gr00t_ros.node.qos", "def f():\n    print('here')"),
        (nothing_has_a_finalizer, "gr00t_ros.node.qos", "class A:\n    def __del__(self): ..."),
    ],
)
def test_the_rule_sees_an_offender(rule: Rule, name: str, source: str) -> None:
    assert list(rule(Module(name, is_package=False, tree=ast.parse(source))))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("gr00t_policy_core.policies.replay", "from ..policy import BasePolicy"),
        ("gr00t_policy_core.policy", "from gr00t_policy_core import modality"),
        ("gr00t_policy_core.cli", "from gr00t_policy_core.serving import PolicyServer"),
        ("gr00t_policy_core.cli.serve", "from gr00t_policy_core.cli.output import announce"),
        ("gr00t_policy_core.__main__", "from gr00t_policy_core.cli import main"),
        ("gr00t_policy_core.testing", "from gr00t_policy_core.policy import BasePolicy"),
        ("gr00t_policy_core.control.schedule", "from .clock import Clock"),
        ("gr00t_policy_core.serving.client.connection", "from ..transport import zmtp"),
        ("gr00t_policy_core.models.gr00t_n1d7.head", "import torch"),
        (
            "gr00t_ros.policy.policy_node",
            "import rclpy\nfrom gr00t_policy_core import PolicyClient",
        ),
        ("gr00t_ros.policy.chunk_writer", "from gr00t_ros.interfaces import conversions\nx.scale"),
        ("gr00t_ros.interfaces.command_publisher", "file.printer(1)\nload(x, allow_pickle=False)"),
    ],
)
def test_no_rule_objects_to_what_is_allowed(name: str, source: str) -> None:
    module = Module(name, is_package=False, tree=ast.parse(source))
    assert [offence for rule in RULES for offence in rule(module)] == []


# --- the core alone, in a fresh interpreter -------------------------------------------------------


def modules_loaded_by(statement: str) -> set[str]:
    """The top-level modules that a new interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nsys.stdout.write(' '.join(sys.modules))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return {name.split(".")[0] for name in result.stdout.split()}


def test_importing_the_core_loads_neither_ros_nor_a_heavy_library() -> None:
    loaded = modules_loaded_by("import gr00t_policy_core")

    assert "gr00t_policy_core" in loaded
    heavy = {"rclpy", "gr00t_ros", "torch", "transformers", "mujoco", "pyarrow", "av", "ray"}
    assert loaded & heavy == set()


def test_a_library_that_is_loaded_would_be_seen() -> None:
    assert "wave" in modules_loaded_by("import wave")


# --- every file -----------------------------------------------------------------------------------


def has_licence_line(text: str) -> bool:
    """Whether the first line, or the one after a shebang, is the licence's."""
    lines = text.splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    return bool(lines) and lines[0] == "# SPDX-License-Identifier: Apache-2.0"


def test_every_source_file_begins_with_its_licence() -> None:
    paths = [ROOT / "CMakeLists.txt", ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "setup.py"]
    for folder in SOURCE_FOLDERS:
        paths += [p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".in", ".bash"}]

    missing = [path for path in paths if not has_licence_line(path.read_text(encoding="utf-8"))]

    assert [str(path.relative_to(ROOT)) for path in missing] == []


@pytest.mark.parametrize(
    "text", ["", "import os\n", '"""SPDX-License-Identifier"""\n', "#!/bin/sh\n"]
)
def test_a_missing_licence_is_seen(text: str) -> None:
    assert not has_licence_line(text)
