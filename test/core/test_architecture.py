# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that a machine can check, each shown to catch an offender."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("gr00t_policy_core", "gr00t_ros")
SOURCE_FOLDERS = (*PRODUCT, "bench", "examples", "launch", "scripts", "test")

# Rooms of the core, lowest first: a room imports itself and lower ones, never its neighbours.
LAYERS = (
    {"antialias", "errors", "html_page", "malloc", "rotation"},
    {"datasets", "embodiment", "kinematics", "modality", "report_files", "resize"},
    {"policy"},
    {"evaluation", "models", "policies", "serving", "testing"},
    {"cli"},
    {"__main__"},
    {"__main__"},
)  # the public API, gr00t_policy_core itself, is above them all
CONTROL = "control"  # outside the layers: knows none of them
CONTROL_MAY_IMPORT = {CONTROL, "rotation"}
# Rooms of `serving` that do not import each other.
STRANGERS = (("wire", "transport"), ("client", "server"))

# Modules that stand at the end of the line: processes are made of them, nothing imports them.
NODES = (
    "gr00t_ros.policy.policy_node",
    "gr00t_ros.control.control_node",
    "gr00t_ros.task.task_node",
    "gr00t_ros.record.recorder_node",
    "gr00t_ros.visualization.visualization_node",
    "gr00t_ros.sim.sim_node",
    "gr00t_ros.sim.demo",
)
# The only room that imports a library.
HOMES = {
    "rclpy": "gr00t_ros",
    "sensor_msgs": "gr00t_ros",
    "std_msgs": "gr00t_ros",
    "gr00t_ros": "gr00t_ros",
    "fastapi": "gr00t_ros.dashboard",
    "mcap": "gr00t_ros.bags",
    "mujoco": "gr00t_ros.sim",
    "av": "gr00t_policy_core.datasets",
    "rosbag2_py": "gr00t_ros.bags",
    "pinocchio": "gr00t_policy_core.kinematics",
    "ruckig": "gr00t_policy_core.control",
    "torch": "gr00t_policy_core.models",
    "ray": "gr00t_policy_core.serving.replicas",
    "transformers": "gr00t_policy_core.models",
    "uvicorn": "gr00t_ros.dashboard",
    "triton": "gr00t_policy_core.models",
}
# What turns a policy's units into SI units, on the policy node's side of the chunk topic.
CONTROL_ROOM = "gr00t_ros.control"
CONVERSIONS = "gr00t_ros.interfaces.conversions"
POLICY_ROOM = "gr00t_ros.policy"
PICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed module; a package has its own dotted name, without __init__."""

    name: str
    is_package: bool
    tree: ast.Module

    @classmethod
    def read(cls, path: Path) -> "Module":
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        return cls(name, is_package, ast.parse(path.read_text(encoding="utf-8"), str(path)))

    def imports(self, *, for_types: bool = True) -> Iterator[tuple[int, str]]:
        """(line, absolute dotted name) of everything imported; `from a import b` gives a.b.

        Without `for_types`, imports below `if TYPE_CHECKING` are left out.
        """
        unused: set[ast.AST] = set()
        for node in ast.walk(self.tree):
            if node in unused or (not for_types and is_type_checking(node)):
                unused.update(ast.iter_child_nodes(node))
                continue
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(node)
                yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Call) and node.args:
                name = node.args[0]
                if called_name(node) in {"import_module", "__import__"} and is_text(name):
                    yield node.lineno, name.value

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        package = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*package, *([node.module] if node.module else [])])


def called_name(call: ast.Call) -> str:
    """The last part of what a call calls: `b` of `a.b(...)`; empty for anything unnamed."""
    function = call.func
    return getattr(function, "attr", None) or getattr(function, "id", "")


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def core_room(name: str) -> str | None:
    """The room of the core that a dotted name is in: "" for the API itself, None outside."""
    top, _, rest = name.partition(".")
    return rest.partition(".")[0] if top == "gr00t_policy_core" else None


def rooms_open_to(room: str) -> set[str]:
    """The rooms of the core that `room` may import from; none for a room that is not listed."""
    if room == CONTROL:
        return CONTROL_MAY_IMPORT
    for level, rooms in enumerate(LAYERS):
        if room in rooms:
            return set().union(*LAYERS[:level], {room})
    return set()


# --- rules: a module in, its offences out ---------------------------------------------------------


def imports_point_down(module: Module) -> Iterator[str]:
    room = core_room(module.name)
    if not room:
        return
    allowed = rooms_open_to(room)
    if not allowed:
        yield f"{module.name} is in a room that LAYERS does not list: say where it belongs"
    for line, name in module.imports():
        imported = core_room(name)
        if imported is not None and imported not in allowed:
            yield f"{module.name}:{line} imports {name}, which is not below it"


def strangers_do_not_meet(module: Module) -> Iterator[str]:
    for pair in STRANGERS:
        for room, stranger in (pair, pair[::-1]):
            if not is_within(module.name, f"gr00t_policy_core.serving.{room}"):
                continue
            for line, name in module.imports():
                if is_within(name, f"gr00t_policy_core.serving.{stranger}"):
                    yield f"{module.name}:{line} imports {name}: {room} does not know {stranger}"


def nothing_imports_a_node(module: Module) -> Iterator[str]:
    for line, name in module.imports():
        if any(is_within(name, node) for node in NODES):
            yield f"{module.name}:{line} imports the node {name}"


def only_the_cli_imports_the_cli(module: Module) -> Iterator[str]:
    if core_room(module.name) in {"cli", "__main__"} or is_within(module.name, "gr00t_ros.cli"):
        return
    for line, name in module.imports():
        if is_within(name, "gr00t_policy_core.cli") or is_within(name, "gr00t_ros.cli"):
            yield f"{module.name}:{line} imports {name}, which is the command line's"


def libraries_stay_at_home(module: Module) -> Iterator[str]:
    for line, name in module.imports():
        home = HOMES.get(name.split(".")[0])
        if home is not None and not is_within(module.name, home):
            yield f"{module.name}:{line} imports {name}, which only {home} does"


def the_control_node_knows_no_policy(module: Module) -> Iterator[str]:
    """Chunks arrive in SI units: whatever converts a policy's units is the policy node's."""
    if not is_within(module.name, CONTROL_ROOM):
        return
    for line, name in module.imports():
        if is_within(name, CONVERSIONS) or is_within(name, POLICY_ROOM):
            yield f"{module.name}:{line} imports {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "scale":
            yield f"{module.name}:{node.lineno} reads a scale"


def nothing_is_pickled(module: Module) -> Iterator[str]:
    for line, name in module.imports():
        if name.split(".")[0] in PICKLERS:
            yield f"{module.name}:{line} imports {name}"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.keyword) or node.arg != "allow_pickle":
            continue
        if not isinstance(node.value, ast.Constant) or node.value.value is not False:
            yield f"{module.name}:{node.value.lineno} may allow pickle"


def nothing_prints(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and called_name(node) == "print":
            yield f"{module.name}:{node.lineno} prints"


def nothing_has_a_finalizer(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__del__":
            yield f"{module.name}:{node.lineno} defines __del__"


Rule = Callable[[Module], Iterator[str]]
RULES: tuple[Rule, ...] = (
    imports_point_down,
    strangers_do_not_meet,
    nothing_imports_a_node,
    only_the_cli_imports_the_cli,
    libraries_stay_at_home,
    the_control_node_knows_no_policy,
    nothing_is_pickled,
    nothing_prints,
    nothing_has_a_finalizer,
)


def import_cycle(modules: list[Module]) -> list[str]:
    """The names of modules that import each other in a circle, at run time; empty if none do.

    A module that is imported from a package does not need the package's own names.
    """
    names = {module.name for module in modules}
    imported = {
        module.name: {
            name if name in names else name.rpartition(".")[0]
            for _, name in module.imports(for_types=False)
        }
        & names
        for module in modules
    }
    ended: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        for other in () if name in ended else sorted(imported[name] - {name}):
            if cycle := walk(other, [*way, name]):
                return cycle
        ended.add(name)
        return []

    return next((cycle for name in sorted(names) if (cycle := walk(name, []))), [])


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
