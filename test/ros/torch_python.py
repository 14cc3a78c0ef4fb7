# SPDX-License-Identifier: Apache-2.0
"""The interpreter that has torch, for servers of models beside nodes that need none."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import gr00t_policy_core

ROOT = Path(__file__).resolve().parents[2]


def python_with_torch() -> str:
    """This interpreter, or that of `make test-models`; skips the test where neither has torch."""
    if find_spec("torch") and find_spec("transformers"):
        return sys.executable
    environment = Path(os.environ.get("GR00T_MODELS_VENV") or ROOT / ".venv-models")
    if (environment / "ready").is_file():
        return str(environment / "bin" / "python")
    pytest.skip(f"no torch here, and no {environment}: `make test-models` makes it")


def torch_environment() -> dict[str, str]:
    """The environment of such a process: this source of the core, nothing of ROS."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    folder = str(Path(gr00t_policy_core.__file__).parents[1])
    return {**own, "PYTHONPATH": folder, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
