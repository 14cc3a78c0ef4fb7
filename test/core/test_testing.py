# SPDX-License-Identifier: Apache-2.0
"""The conformance suite catches each policy that breaks the contract, and says how."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import ModalityConfig, SpecError, testing

KEYS = ("single_arm", "gripper")


class Altered(ToyPolicy):
    """Changes the action of a `ToyPolicy`, which conforms, after its own checks."""

    def alter(self, action, observation):
        return action

    def get_action(self, observation, options=None):
        action, info = super().get_action(observation, options)
        return self.alter(action, observation), info


class Float64Actions(Altered):
    def alter(self, action, observation):
        return {key: values.astype(np.float64) for key, values in action.items()}


class ListActions(Altered):
    def alter(self, action, observation):
        return {key: values.tolist() for key, values in action.items()}


class ShortActions(Altered):
    def alter(self, action, observation):
        return {key: values[:, :-1] for key, values in action.items()}


class NanActions(Altered):
    def alter(self, action, observation):
        return {key: values * np.float32(np.nan) for key, values in action.items()}


class OneRowOnly(Altered):
    def alter(self, action, observation):
        return {key: values[:1] for key, values in action.items()}


class FlatKeys(Altered):
    def alter(self, action, observation):
        return {f"action.{key}": values for key, values in action.items()}


class NoInfo(ToyPolicy):
    def get_action(self, observation, options=None):
        return super().get_action(observation, options)[0]


class InfoIsNone(ToyPolicy):
    def get_action(self, observation, options=None):
        return super().get_action(observation, options)[0], None


class RejectsItself(ToyPolicy):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def check_action(self, action):
        self.calls += 1
        if self.calls % 2 == 0:  # get_action itself checks first
            raise SpecError("bad action", ["nothing is good enough"])


class NoActionConfig(ToyPolicy):
    def get_modality_config(self):
        configs = super().get_modality_config()
        del configs["action"]
        return configs


class ConfigsAreDicts(ToyPolicy):
    def get_modality_config(self):
        return dict.fromkeys(super().get_modality_config(), vars)


class AnotherCamera(ToyPolicy):
    def get_modality_config(self):
        return {**super().get_modality_config(), "video": ModalityConfig([0], ["rear"])}


class WrongActionDimension(ToyPolicy):
    def get_dimensions(self):
        return {"action": {"gripper": 2}}


class WrongStateDimension(ToyPolicy):
    def get_dimensions(self):
        return {"state": {"single_arm": 7}}


class UnknownDimension(ToyPolicy):
    def get_dimensions(self):
        return {"action": {"leg": 2}}


class NoBatches(ToyPolicy):
    max_batch_size = 0


class UnhashableBatchKey(ToyPolicy):
    def batch_key(self, observation, options):
        return [1]

    def get_batch_rule(self):
        return None


class RuleIsNoFunction(ToyPolicy):
    def get_batch_rule(self):
        return "alike"


class CapabilitiesAreOneString(ToyPolicy):
    def get_capabilities(self):
        return "rtc"


class ResetReturnsNothing(ToyPolicy):
    def reset(self, options=None):
        return None


class WritesToStates(Altered):
    def alter(self, action, observation):
        observation["state"]["gripper"][:] += 1
        return action


class AddsKeys(Altered):
    def alter(self, action, observation):
        observation["state"]["torque"] = np.zeros(1)
        return action


class ReturnsViews(Altered):
    def alter(self, action, observation):
        steps = action["gripper"].shape[1]
        state = observation["state"]["gripper"]
        shape = (state.shape[0], steps, state.shape[2])
        return {**action, "gripper": np.broadcast_to(state, shape)}


class NotStrict(ToyPolicy):
    def __init__(self):
        super().__init__(strict=False)


class AcceptsAnything(ToyPolicy):
    def check_observation(self, observation):
        pass

    def check_action(self, action):
        pass

    def _get_action(self, observation, options=None):
        return super()._get_action(toy_observation(1), options)


class RaisesKeyError(ToyPolicy):
    def check_observation(self, observation):
        observation["video"]["front"]


class NamesNoKey(ToyPolicy):
    def check_observation(self, observation):
        try:
            super().check_observation(observation)
        except SpecError:
            raise SpecError("bad observation", ["something is wrong"]) from None


OFFENDERS = [
    (Float64Actions, "check_actions", "action.single_arm must be float32 (1, 16, D), got dtype"),
    (ListActions, "check_actions", "action.single_arm must be float32 (1, 16, D), got list"),
    (ShortActions, "check_actions", "got shape (1, 15, 5)"),
    (NanActions, "check_actions", "action.single_arm has values that are not finite"),
    (OneRowOnly, "check_actions", "must be float32 (3, 16, D), got shape (1, 16, 5)"),
    (FlatKeys, "check_actions", "the action has the keys ['action.single_arm', 'action.gripper']"),
    (NoInfo, "check_actions", "get_action must return (action, info), got dict"),
    (InfoIsNone, "check_actions", "info must be a dict, got NoneType"),
    (RejectsItself, "check_actions", "check_action rejects the policy's own action"),
    (NoActionConfig, "check_modality_configs", "get_modality_config() has no 'action'"),
    (ConfigsAreDicts, "check_modality_configs", "must be a ModalityConfig"),
    (AnotherCamera, "check_modality_configs", "get_modality_config() asks for ['rear']"),
    (WrongActionDimension, "check_dimensions", "says that action.gripper has 2 values per step"),
    (WrongStateDimension, "check_dimensions", "says that state.single_arm has 7 values per step"),
    (UnknownDimension, "check_dimensions", "get_dimensions() states action.leg"),
    (NoBatches, "check_batching", "max_batch_size must be an integer of at least 1, got 0"),
    (UnhashableBatchKey, "check_batching", "batch_key must return a hashable value, got [1]"),
    (RuleIsNoFunction, "check_batching", "get_batch_rule must return a function or None"),
    (CapabilitiesAreOneString, "check_capabilities", "must return a tuple of strings, got 'rtc'"),
    (ResetReturnsNothing, "check_reset", "reset must return a dict, got NoneType"),
    (WritesToStates, "check_observation_is_unchanged", "['state.gripper']"),
    (AddsKeys, "check_observation_is_unchanged", "['the keys of state']"),
    (ReturnsViews, "check_observation_is_unchanged", "action.gripper shares memory"),
    (NotStrict, "check_rejections", "the policy is not strict"),
    (AcceptsAnything, "check_rejections", "accepts a wrong observation (video.front: missing)"),
    (RaisesKeyError, "check_rejections", "must raise SpecError, got KeyError('front')"),
    (NamesNoKey, "check_rejections", "must name video.front, got 'bad observation: something"),
]


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
def test_a_conforming_policy_passes_each_check(check):
    check(ToyPolicy(), toy_observation)


@pytest.mark.parametrize(
    ("offender", "name", "message"), OFFENDERS, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_check_catches_the_offender_and_says_how_it_offends(offender, name, message):
    check = getattr(testing, name)
    with pytest.raises(AssertionError, match=re.escape(message)):
        check(offender(), toy_observation)
    with pytest.raises(AssertionError):
        testing.check_policy(offender(), toy_observation)


def test_every_check_has_an_offender():
    assert {name for _, name, _ in OFFENDERS} == {check.__name__ for check in testing.CHECKS}


MY_PACKAGE = """
import numpy as np

from gr00t_policy_core import ModalityConfig, ModalityPolicy


class MyPolicy(ModalityPolicy):
    def get_modality_config(self):
        return {
            "video": ModalityConfig([0], ["front"]),
            "state": ModalityConfig([0], ["arm"]),
            "language": ModalityConfig([0], ["task"]),
            "action": ModalityConfig([0, 1], ["arm"]),
        }

    def _get_action(self, observation, options=None):
        return {"arm": np.repeat(observation["state"]["arm"], 2, axis=1)}, {}
"""


def test_the_example_of_the_docstring_runs(tmp_path):
    example = re.search(r"```python\n(.*?)```", testing.__doc__, re.DOTALL)[1]
    (tmp_path / "my_package.py").write_text(MY_PACKAGE)
    (tmp_path / "test_my_policy.py").write_text(example)
    root = Path(testing.__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(tmp_path)])}
    environment.pop("PYTEST_ADDOPTS", None)

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_policy.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(testing.CHECKS)} passed" in result.stdout


def test_the_suite_needs_no_test_framework():
    code = "import sys, gr00t_policy_core.testing; sys.exit('pytest' in sys.modules)"
    root = Path(testing.__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}

    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0
