# SPDX-License-Identifier: Apache-2.0
"""The flat keys of Isaac-GR00T's simulation environments."""

import numpy as np
import pytest

from gr00t_policy_core import (
    Gr00tSimPolicyWrapper,
    ModalityConfig,
    ModalityPolicy,
    PolicyClient,
    PolicyServer,
    PolicyWrapper,
    RemoteError,
    SimPolicyWrapper,
    SpecError,
)
from gr00t_policy_core.testing import check_policy

PROMPT = "annotation.human.task_description"


class Recording(ModalityPolicy):
    """Answers zeros; `asked` is what it was last shown."""

    def __init__(self, prompt=PROMPT, steps=4):
        super().__init__()
        self.prompt = prompt
        self.steps = steps
        self.asked = None

    def get_modality_config(self):
        return {
            "video": ModalityConfig([0], ["front", "wrist"]),
            "state": ModalityConfig([0], ["arm"]),
            "language": ModalityConfig([0], [self.prompt]),
            "action": ModalityConfig(list(range(4)), ["arm", "gripper"]),
        }

    def _get_action(self, observation, options=None):
        self.asked = (observation, options)
        batch_size = len(observation["state"]["arm"])
        return {
            "arm": np.zeros((batch_size, self.steps, 6), np.float32),
            "gripper": np.ones((batch_size, self.steps, 1), np.float32),
        }, {"from": "within"}


def flat_observation(batch_size=2, prompt=PROMPT):
    return {
        "video.front": np.zeros((batch_size, 1, 4, 6, 3), np.uint8),
        "video.wrist": np.ones((batch_size, 1, 4, 6, 3), np.uint8),
        "state.arm": np.ones((batch_size, 1, 6), np.float32),
        prompt: ("pick",) * batch_size,
    }


class FlatEnvironment(PolicyWrapper):
    """Shows a `SimPolicyWrapper` the flat form of nested observations: an environment's side."""

    def check_observation(self, observation):
        self.policy.check_observation(flattened(observation))

    def check_action(self, action):
        self.policy.check_action({f"action.{key}": value for key, value in action.items()})

    def _get_action(self, observation, options=None):
        action, info = self.policy.get_action(flattened(observation), options)
        return {key.removeprefix("action."): value for key, value in action.items()}, info


def flattened(observation):
    if not isinstance(observation, dict):
        return observation
    arrays = {
        f"{modality}.{key}": value
        for modality in ("video", "state")
        for key, value in observation.get(modality, {}).items()
    }
    prompts = {
        key: [row[0] if isinstance(row, list) and len(row) == 1 else [row] for row in rows]
        if isinstance(rows, list)
        else [rows]  # a text by itself would be a prompt for every row
        for key, rows in observation.get("language", {}).items()
    }
    return {**arrays, **prompts}


def nested_observation(batch_size):
    flat = flat_observation(batch_size)
    return {
        "video": {"front": flat["video.front"], "wrist": flat["video.wrist"]},
        "state": {"arm": flat["state.arm"]},
        "language": {PROMPT: [["pick"]] * batch_size},
    }


def test_flat_answers_conform_to_the_policy_interface():
    check_policy(FlatEnvironment(SimPolicyWrapper(Recording())), nested_observation)


def test_nested_observations_are_told_which_server_takes_them():
    with pytest.raises(SpecError, match=r"is nested.*without --use-sim-policy-wrapper"):
        SimPolicyWrapper(Recording()).get_action(nested_observation(1))


def test_a_flat_observation_at_a_server_of_nested_ones_is_told_of_the_wrapper():
    with (
        PolicyServer(Recording(), "127.0.0.1", 0) as server,
        PolicyClient("127.0.0.1", server.port, strict=False) as client,
        pytest.raises(RemoteError, match="--use-sim-policy-wrapper"),
    ):
        client.get_action(flat_observation())


def test_flat_keys_in_front_of_a_remote_policy_conform():
    with (
        PolicyServer(Recording(), "127.0.0.1", 0) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        check_policy(FlatEnvironment(SimPolicyWrapper(client)), nested_observation)


def test_configs_are_asked_for_once_an_episode():
    class Counting(Recording):
        count = 0

        def get_modality_config(self):
            self.count += 1
            return super().get_modality_config()

    policy = Counting()
    policy.strict = False
    wrapper = SimPolicyWrapper(policy)
    for _ in range(3):
        wrapper.get_action(flat_observation())
    assert policy.count == 1
    wrapper.reset()
    wrapper.get_action(flat_observation())
    assert policy.count == 2


def test_the_reference_name_is_the_same_class():
    assert Gr00tSimPolicyWrapper is SimPolicyWrapper


def test_flat_keys_go_in_nested_and_come_out_flat():
    policy = Recording()
    flat = flat_observation()
    action, info = SimPolicyWrapper(policy).get_action(flat, {"seed": 1})
    assert {key: values.shape for key, values in action.items()} == {
        "action.arm": (2, 4, 6),
        "action.gripper": (2, 4, 1),
    }
    assert info == {"from": "within"}
    nested, options = policy.asked
    assert nested["video"]["wrist"] is flat["video.wrist"]
    assert nested["state"]["arm"] is flat["state.arm"]
    assert nested["language"] == {PROMPT: [["pick"], ["pick"]]}
    assert options == {"seed": 1}


@pytest.mark.parametrize("as_type", [tuple, list, np.array, lambda p: np.array(p, dtype=object)])
def test_prompts_are_a_tuple_a_list_or_an_array(as_type):
    policy = Recording()
    SimPolicyWrapper(policy).get_action({**flat_observation(), PROMPT: as_type(["a", "b"])})
    assert policy.asked[0]["language"] == {PROMPT: [["a"], ["b"]]}


@pytest.mark.parametrize("prompt", ["pick", np.array("pick"), np.str_("pick")])
def test_one_prompt_is_for_every_row(prompt):
    policy = Recording()
    SimPolicyWrapper(policy).get_action({**flat_observation(), PROMPT: prompt})
    assert policy.asked[0]["language"] == {PROMPT: [["pick"], ["pick"]]}


def test_a_task_may_be_under_the_name_of_the_old_environments():
    policy = Recording(prompt="task")
    old = flat_observation(prompt="annotation.human.coarse_action")
    SimPolicyWrapper(policy).get_action(old)
    assert policy.asked[0]["language"] == {"task": [["pick"], ["pick"]]}
    SimPolicyWrapper(policy).get_action(flat_observation(prompt="task"))
    assert policy.asked[0]["language"] == {"task": [["pick"], ["pick"]]}


def test_the_old_name_stands_for_no_other_prompt():
    flat = {**flat_observation(), "annotation.human.coarse_action": ("stir",) * 2}
    policy = Recording()
    SimPolicyWrapper(policy).get_action(flat)
    assert policy.asked[0]["language"] == {PROMPT: [["pick"], ["pick"]]}


def test_other_keys_of_the_environment_are_ignored():
    flat = {**flat_observation(), "reward": 1.0, "video.unused": None, "annotation.other": 3}
    SimPolicyWrapper(Recording()).check_observation(flat)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("video.front", np.zeros((2, 1, 4, 6, 3), np.float32), "dtype float32"),
        ("video.wrist", np.zeros((2, 2, 4, 6, 3), np.uint8), "expected 1 steps, got 2"),
        ("state.arm", np.zeros((2, 1, 6)), "dtype float64"),
        ("state.arm", np.zeros((2, 6), np.float32), "got shape (2, 6)"),
        (PROMPT, 3, "expected a string, or B strings, got 3"),
        (PROMPT, [["pick"], ["pick"]], "expected a string, or B strings"),
        (PROMPT, np.array([["pick"], ["pick"]]), "expected a string, or B strings"),
        (PROMPT, ("pick", 3), "expected a string, or B strings, got ('pick', 3)"),
    ],
)
def test_a_wrong_value_is_refused_under_its_flat_key(key, value, expected):
    policy = Recording()
    with pytest.raises(SpecError) as caught:
        SimPolicyWrapper(policy).get_action({**flat_observation(), key: value})
    assert caught.value.problems[0].startswith(f"{key}: ")
    assert expected in str(caught.value)
    assert policy.asked is None


@pytest.mark.parametrize("key", ["video.front", "state.arm", PROMPT])
def test_a_missing_flat_key_is_named(key):
    flat = flat_observation()
    del flat[key]
    with pytest.raises(SpecError, match=f"{key}: missing"):
        SimPolicyWrapper(Recording()).check_observation(flat)


def test_a_missing_prompt_and_a_wrong_state_are_both_reported():
    flat = {**flat_observation(), "state.arm": None}
    del flat[PROMPT]
    with pytest.raises(SpecError) as caught:
        SimPolicyWrapper(Recording()).check_observation(flat)
    assert len(caught.value.problems) == 2


def test_as_many_prompts_as_images_are_wanted():
    with pytest.raises(SpecError, match=rf"batch sizes differ.*{PROMPT}': 1"):
        SimPolicyWrapper(Recording()).check_observation({**flat_observation(), PROMPT: ("pick",)})


@pytest.mark.parametrize("observation", [None, [], "observation"])
def test_what_is_no_dict_is_refused(observation):
    with pytest.raises(SpecError, match="expected a dict of flat keys"):
        SimPolicyWrapper(Recording()).get_action(observation)


def test_an_action_is_checked_under_its_flat_keys():
    wrapper = SimPolicyWrapper(Recording())
    good, _ = wrapper.get_action(flat_observation())
    wrapper.check_action(good)
    with pytest.raises(SpecError, match=r"action\.gripper: missing"):
        wrapper.check_action({"action.arm": good["action.arm"]})
    with pytest.raises(SpecError, match=r"action\.arm: missing"):
        wrapper.check_action({"arm": good["action.arm"], "gripper": good["action.gripper"]})
    with pytest.raises(SpecError, match="expected a dict"):
        wrapper.check_action(None)


def test_a_wrapper_that_is_not_strict_leaves_checking_to_the_policy_within():
    wrapper = SimPolicyWrapper(Recording(), strict=False)
    with pytest.raises(SpecError, match=r"video\.wrist: missing"):
        wrapper.get_action({k: v for k, v in flat_observation().items() if k != "video.wrist"})


def test_a_wrong_answer_of_the_policy_within_does_not_come_out():
    policy = Recording(steps=3)
    policy.strict = False
    with pytest.raises(SpecError, match=r"action\.arm: expected 4 steps, got 3"):
        SimPolicyWrapper(policy).get_action(flat_observation())


def test_reset_and_configs_are_those_of_the_policy_within():
    policy = Recording()
    assert SimPolicyWrapper(policy).reset() == {}
    assert SimPolicyWrapper(policy).get_modality_config() == policy.get_modality_config()


def test_flat_requests_are_joined_as_the_policy_within_says():
    class ByInstruction(Recording):
        def batch_key(self, observation, options=None):
            return observation["language"][PROMPT][0][0]

    flat = {"state.arm": np.zeros((1, 1, 6), np.float32), PROMPT: ["go"]}
    assert SimPolicyWrapper(ByInstruction()).batch_key(flat, None) == "go"
