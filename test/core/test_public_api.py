# SPDX-License-Identifier: Apache-2.0
"""`gr00t_policy_core` loads each public name on first use, and nothing before."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gr00t_policy_core

SOURCE = Path(gr00t_policy_core.__file__)
SOCKET_LIBRARIES = {"socket", "zmq", "msgpack", "gr00t_policy_core.serving"}


def modules_loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nsys.stdout.write(' '.join(sys.modules))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return set(result.stdout.split())


def names_for_type_checkers() -> dict[str, str]:
    """Each name that the `if TYPE_CHECKING` block imports, and its module."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


@pytest.mark.parametrize("name", gr00t_policy_core.__all__)
def test_each_public_name_is_the_object_of_its_module(name: str) -> None:
    value = getattr(gr00t_policy_core, name)

    assert value is getattr(sys.modules[names_for_type_checkers()[name]], name)


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    runtime = {n: f"gr00t_policy_core.{m}" for n, m in gr00t_policy_core._MODULES.items()}

    assert names_for_type_checkers() == runtime
    assert sorted(runtime) == gr00t_policy_core.__all__


def test_dir_lists_every_public_name() -> None:
    assert set(gr00t_policy_core.__all__) <= set(dir(gr00t_policy_core))


def test_an_unknown_name_is_an_attribute_error_and_an_import_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'PolicyCleint'"):
        _ = gr00t_policy_core.PolicyCleint
    with pytest.raises(ImportError, match="PolicyCleint"):
        from gr00t_policy_core import PolicyCleint  # noqa: F401


def test_a_star_import_gives_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from gr00t_policy_core import *", names)

    assert set(gr00t_policy_core.__all__) <= set(names)


def test_the_top_level_alone_loads_no_other_module_of_the_core() -> None:
    loaded = modules_loaded_by("import gr00t_policy_core")

    assert {name for name in loaded if name.startswith("gr00t_policy_core")} == {
        "gr00t_policy_core"
    }


def test_control_loads_no_socket_library() -> None:
    folder = SOURCE.parent / "control"
    modules = [f"gr00t_policy_core.control.{file.stem}" for file in sorted(folder.glob("[!_]*.py"))]
    loaded = modules_loaded_by(f"import {', '.join(modules)}")

    assert set(modules) <= loaded
    assert loaded & SOCKET_LIBRARIES == set()


def test_rotation_through_the_top_level_loads_no_socket_library() -> None:
    loaded = modules_loaded_by("from gr00t_policy_core import rotation")

    assert "gr00t_policy_core.rotation" in loaded
    assert loaded & SOCKET_LIBRARIES == set()


def test_a_socket_library_would_be_seen() -> None:
    loaded = modules_loaded_by("from gr00t_policy_core import PolicyClient")

    assert loaded >= SOCKET_LIBRARIES
