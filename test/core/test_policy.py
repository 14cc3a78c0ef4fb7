# SPDX-License-Identifier: Apache-2.0
"""The policy interface and the wrapper around one."""

from pathlib import Path

import numpy as np
import pytest

from gr00t_policy_core import (
    BasePolicy,
    ModalityConfig,
    ModalityPolicy,
    PolicyClient,
    PolicyServer,
    PolicyWrapper,
    SpecError,
)
from gr00t_policy_core.errors import CheckpointError, DatasetError
from gr00t_policy_core.policy import BatchWithoutOptions
from gr00t_policy_core.testing import check_policy


class Echo(ModalityPolicy):
    """Repeats the present state over the horizon; `answer` replaces that, `asked` counts."""

    def __init__(self, strict=True):
        super().__init__(strict)
        self.answer = None
        self.asked = []

    def get_modality_config(self):
        return {
            "video": ModalityConfig([0], ["front"]),
            "state": ModalityConfig([-1, 0], ["arm"]),
            "language": ModalityConfig([0], ["task"]),
            "action": ModalityConfig(list(range(4)), ["arm"]),
        }

    def get_dimensions(self):
        return {"state": {"arm": 6}, "action": {"arm": 6}}

    def _get_action(self, observation, options=None):
        self.asked.append((observation, options))
        if self.answer is not None:
            return self.answer, {}
        return {"arm": np.repeat(observation["state"]["arm"][:, -1:], 4, axis=1)}, {"echo": True}


def observation(batch_size=1):
    return {
        "video": {"front": np.zeros((batch_size, 1, 4, 6, 3), np.uint8)},
        "state": {"arm": np.ones((batch_size, 2, 6), np.float32)},
        "language": {"task": [["pick"]] * batch_size},
    }


@pytest.mark.parametrize(
    "make", [Echo, lambda: PolicyWrapper(Echo()), lambda: PolicyWrapper(Echo(strict=False))]
)
def test_a_policy_and_a_wrapper_around_it_conform(make):
    check_policy(make(), observation)


@pytest.mark.parametrize("reply_format", ["auto", "envelope", "bare"])
def test_a_client_of_a_server_conforms(reply_format):
    with (
        PolicyServer(Echo(), "127.0.0.1", 0, reply_format=reply_format) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        check_policy(client, observation)


def test_a_client_of_a_client_of_a_server_conforms():
    with (
        PolicyServer(Echo(), "127.0.0.1", 0) as far,
        PolicyClient("127.0.0.1", far.port) as between,
        PolicyServer(between, "127.0.0.1", 0) as near,
        PolicyClient("127.0.0.1", near.port) as client,
    ):
        check_policy(client, observation)


def test_the_three_abstract_methods_must_be_there():
    with pytest.raises(TypeError, match="abstract"):
        BasePolicy()


def test_a_strict_policy_is_not_asked_with_a_wrong_observation():
    policy = Echo()
    with pytest.raises(SpecError, match=r"video\.front"):
        policy.get_action({**observation(), "video": {}})
    assert policy.asked == []


def test_a_strict_policy_does_not_return_a_wrong_action():
    policy = Echo()
    policy.answer = {"arm": np.full((1, 4, 6), np.nan, np.float32)}
    with pytest.raises(SpecError, match=r"action\.arm: has values that are not finite"):
        policy.get_action(observation())


def test_a_policy_that_is_not_strict_checks_nothing():
    policy = Echo(strict=False)
    policy.answer = {"anything": 1}
    assert policy.get_action("whatever") == ({"anything": 1}, {})


def test_options_reach_the_policy():
    policy = Echo()
    policy.get_action(observation(), {"seed": 3})
    assert policy.asked[0][1] == {"seed": 3}


def test_reset_answers_with_an_empty_dict_by_default():
    assert Echo().reset() == {}
    assert Echo().reset(options={"anything": 1}) == {}


def test_a_policy_need_not_know_its_configs_and_dimensions():
    class Blind(BasePolicy):
        def check_observation(self, observation):
            pass

        def check_action(self, action):
            pass

        def _get_action(self, observation, options=None):
            return {}, {}

    assert Blind().get_modality_config() == {}
    assert Blind().get_dimensions() == {}


def test_a_wrapper_forwards_everything():
    class Inner(Echo):
        def reset(self, options=None):
            return {"reset": options}

    inner = Inner()
    wrapper = PolicyWrapper(inner)
    assert wrapper.policy is inner
    assert wrapper.reset({"a": 1}) == {"reset": {"a": 1}}
    assert wrapper.get_modality_config() == inner.get_modality_config()
    assert wrapper.get_dimensions() == inner.get_dimensions()
    asked = observation()
    wrapper.get_action(asked, {"seed": 1})
    assert inner.asked[0][0] is asked
    assert inner.asked[0][1] == {"seed": 1}
    with pytest.raises(SpecError):
        wrapper.check_action({})


def test_strict_may_be_given_by_name_or_by_place():
    assert PolicyWrapper(Echo(), False).strict is False
    assert PolicyWrapper(Echo(), strict=False).strict is False


def test_a_wrapper_joins_by_the_rule_of_its_policy_unless_it_has_its_own():
    class ByOption(Echo):
        def batch_key(self, observation, options=None):
            return "mine"

    class Wrapper(PolicyWrapper):
        def batch_key(self, observation, options=None):
            return "mine"

    assert Echo().get_batch_rule()({}, {"seed": 1}) == ()
    assert PolicyWrapper(Echo()).get_batch_rule() is Echo().get_batch_rule()
    assert ByOption().get_batch_rule() is None  # nobody else can tell
    assert PolicyWrapper(ByOption()).get_batch_rule() is None
    assert Wrapper(Echo()).get_batch_rule() is None


def test_requests_without_options_are_joined_by_their_one_instruction():
    def saying(*instructions):
        return {"language": {"task": [[text] for text in instructions]}}

    rule = BatchWithoutOptions("task")
    assert rule(saying("go", "go"), None) == "go"
    assert rule(saying("go", "stay"), {}) is None
    assert rule(saying("go"), {"seed": 1}) is None
    assert BatchWithoutOptions()(saying("go", "stay"), None) == ()
    assert BatchWithoutOptions()(saying("go"), {"seed": 1}) is None


@pytest.mark.parametrize(
    "error",
    [
        SpecError("bad observation", ["state.arm: missing", "video.front: missing"]),
        DatasetError(Path("meta/info.json"), "no such file"),
        CheckpointError(Path("config.json"), "no model_type"),
    ],
)
def test_errors_cross_to_another_process_whole(error):
    maker, arguments = error.__reduce__()
    other = maker(*arguments)
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert vars(other) == vars(error)
