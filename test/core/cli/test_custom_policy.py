# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy serve --policy`: policies of a user's own module, and what may be wrong with it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gr00t_policy_core import BasePolicy, PolicyClient, SpecError
from gr00t_policy_core.cli.custom_policy import CustomPolicy, policy_argument

DEADLINE_S = 60
ROOT = Path(__file__).resolve().parents[3]
MODULE = """
import numpy as np
from gr00t_policy_core import ActionConfig, ModalityConfig, ModalityPolicy

ABSOLUTE = ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT")
NUMBER = 3


class HoldStill(ModalityPolicy):
    def __init__(self, horizon=16, label="", strict=True):
        super().__init__(strict)
        self.horizon, self.label = horizon, label

    def get_modality_config(self):
        return {
            "state": ModalityConfig([0], ["arm"]),
            "action": ModalityConfig(list(range(self.horizon)), ["arm"], action_configs=[ABSOLUTE]),
        }

    def _get_action(self, observation, options=None):
        arm = observation["state"]["arm"].repeat(self.horizon, axis=1)
        return {"arm": arm}, {"label": self.label, "horizon": self.horizon}


def make(**arguments):
    return HoldStill(**arguments)


def nothing():
    return None
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module `own_policy` that is forgotten after the test."""
    (tmp_path / "own_policy.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("own_policy", "broken"))]:
        del sys.modules[name]


def made(name, **arguments):
    return CustomPolicy.in_current_folder(name, arguments).make()


def test_a_policy_of_the_current_folder_is_served(folder):
    command = [sys.executable, "-m", "gr00t_policy_core", "serve", "--port", "0"]
    flags = ["--policy", "own_policy:HoldStill", "--policy-args", "horizon=4", "label=mine"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [*command, *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(re.fullmatch(r"listening on \S+:(\d+)\n", process.stdout.readline())[1])
        with PolicyClient("127.0.0.1", port) as client:
            action, info = client.get_action({"state": {"arm": np.ones((1, 1, 6), np.float32)}})
        assert action["arm"].shape == (1, 4, 6)
        assert (info["label"], info["horizon"]) == ("mine", 4)
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def test_a_class_or_a_function_makes_the_policy(folder):
    assert isinstance(made("own_policy:HoldStill"), BasePolicy)
    assert made("own_policy:make", horizon=8).horizon == 8


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("own_polcy:HoldStill", {}, "cannot be imported from .*No module named 'own_polcy'"),
        ("own_policy:HoldStil", {}, r"has no HoldStil \(did you mean HoldStill\?\)"),
        ("own_policy:NUMBER", {}, "is not a class or function but a int"),
        ("own_policy:HoldStill", {"size": 1}, "cannot be made .TypeError: .*'size'"),
        ("own_policy:nothing", {}, "makes a NoneType, which is not a gr00t_policy_core.BasePolicy"),
        ("broken:P", {}, "cannot be imported from .*ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_a_policy_is_named(folder, name, arguments, problem):
    (folder / "broken.py").write_text("1 / 0")
    with pytest.raises(SpecError, match=f"bad --policy: {name}: .*{problem}"):
        made(name, **arguments)


def test_what_the_users_code_raises_is_logged_with_its_traceback(folder, caplog):
    (folder / "broken.py").write_text("import missing_library")
    with pytest.raises(SpecError, match="No module named 'missing_library'"):
        made("broken:P")
    assert "import missing_library" in caplog.text
    caplog.clear()
    with pytest.raises(SpecError):
        made("nowhere:P")
    assert caplog.text == ""  # the user mistyped: a traceback would say nothing more


def test_values_of_arguments_are_json_or_text():
    assert policy_argument("a=1") == ("a", 1)
    assert policy_argument("b=[1, 2.5]") == ("b", [1, 2.5])
    assert policy_argument("c=true") == ("c", True)
    assert policy_argument("d=plain=text") == ("d", "plain=text")
