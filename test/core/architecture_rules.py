# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that a machine can check: who may import what, and what nobody does."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("gr00t_policy_core", "gr00t_ros")
SOURCE_FOLDERS = (*PRODUCT, "bench", "examples", "launch", "scripts", "test")

# Rooms of the core, lowest first: a room imports itself and lower ones, never its neighbours.
LAYERS = (
    {"antialias", "errors", "html_page", "malloc", "output_files", "rotation"},
    {"datasets", "embodiment", "kinematics", "modality", "report_files", "resize"},
    {"policy"},
    {"evaluation", "models", "policies", "serving", "testing"},
    {"cli"},
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
    "gr00t_ros.sim.demo_data",
)
# The one module that runs a node in another process than its own: an evaluation does so in step
# with its clock.
HOSTED_NODES = {"gr00t_ros.evaluate.evaluated_node": "gr00t_ros.policy.policy_node"}
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
    "tf2_ros": "gr00t_ros.interfaces.transform_buffer",
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
    hosted = HOSTED_NODES.get(module.name)
    for line, name in module.imports():
        if any(is_within(name, node) for node in NODES if node != hosted):
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
