# SPDX-License-Identifier: Apache-2.0
"""Requests of many clients answered in one call get the replies that each would get alone."""

import numpy as np
import pytest
from crowds import Crowd, GatedPolicy, assert_answered, crowded, observe
from peers.lines import LINES
from server_rig import wait_until
from toy_policy import PROMPT_KEY, toy_observation

from gr00t_policy_core import PolicyClient, PolicyServer, RemoteError
from gr00t_policy_core.policy import PolicyWrapper
from gr00t_policy_core.serving.server import batching


def test_requests_that_wait_are_answered_in_one_call_each_with_its_own_rows():
    batches = {1: 1, 2: 2, 3: 1, 4: 3}
    with crowded() as crowd:
        for seed, batch in batches.items():
            crowd.ask(seed, observe(seed, batch))
        results = crowd.finish()
        for seed, batch in batches.items():
            assert_answered(results[seed], observe(seed, batch))
        assert crowd.policy.later_calls == [7]
        assert crowd.server.metrics()["batch_size"]["sum"] == 5


def test_no_more_rows_are_joined_than_the_policy_can_or_the_server_may():
    for most, calls in ((3, [3, 3, 1]), (100, [7])):
        with crowded(max_batch=most) as crowd:
            for seed in range(1, 8):
                crowd.ask(seed, observe(seed))
            results = crowd.finish()
            for seed in range(1, 8):
                assert_answered(results[seed], observe(seed))
            assert crowd.policy.later_calls == calls


def test_with_a_batch_of_one_nothing_is_joined():
    with crowded(max_batch=1) as crowd:
        for seed in (1, 2, 3):
            crowd.ask(seed, observe(seed))
        crowd.finish()
        assert crowd.policy.later_calls == [1, 1, 1]


def test_a_policy_that_does_not_say_so_is_never_asked_for_several():
    class Stateful(GatedPolicy):
        max_batch_size = 1

    with crowded(Stateful()) as crowd:
        for seed in (1, 2):
            crowd.ask(seed, observe(seed))
        crowd.finish()
        assert crowd.policy.later_calls == [1, 1]


def test_a_wrapper_joins_what_its_policy_joins():
    policy = GatedPolicy()
    with crowded(policy, PolicyWrapper(policy)) as crowd:
        for seed in (1, 2):
            crowd.ask(seed, observe(seed))
        crowd.finish()
        assert policy.later_calls == [2]


def test_only_the_alike_are_joined():
    with crowded() as crowd:
        crowd.ask("a", observe(1))
        crowd.ask("larger pictures", observe(2, height=50))
        crowd.ask("b", observe(3))
        crowd.ask("seed 1", observe(4), {"seed": 1})
        crowd.ask("seed 2", observe(5), {"seed": 2})
        crowd.ask("seed 2 too", observe(6), {"seed": 2})
        results = crowd.finish()
        asked = ["a", "larger pictures", "b", "seed 1", "seed 2", "seed 2 too"]
        for seed, name in enumerate(asked, 1):
            observation = observe(seed, height=50) if seed == 2 else observe(seed)
            assert_answered(results[name], observation)
        assert crowd.policy.calls[1:] == [
            (2, None),
            (1, None),
            (1, {"seed": 1}),
            (2, {"seed": 2}),
        ]


def test_a_policy_can_keep_requests_apart():
    class ByPrompt(GatedPolicy):
        def batch_key(self, observation, options):
            prompt = observation["language"][PROMPT_KEY][0][0]
            return None if prompt.startswith("task 1") else prompt[-1]

    with crowded(ByPrompt()) as crowd:
        for seed in (1, 2, 3, 10):
            crowd.ask(seed, observe(seed))
        results = crowd.finish()
        for seed in (1, 2, 3, 10):
            assert_answered(results[seed], observe(seed))
        assert crowd.policy.later_calls == [1, 2, 1]


def test_one_bad_observation_spoils_no_other_answer():
    bad = observe(2)
    bad["state"]["gripper"] = bad["state"]["gripper"].astype(np.float64)
    with crowded() as crowd:
        for name, observation in (("a", observe(1)), ("bad", bad), ("b", observe(3))):
            crowd.ask(name, observation)
        results = crowd.finish()
        assert results["bad"]["status"] == "error"
        assert "state.gripper" in results["bad"]["error"]
        assert_answered(results["a"], observe(1))
        assert_answered(results["b"], observe(3))
        assert crowd.policy.later_calls == [2]


@pytest.mark.parametrize("trouble", ["raises", "nan", "rows"])
def test_where_the_joint_answer_fails_each_is_asked_alone(trouble):
    class Fragile(GatedPolicy):
        def _get_action(self, observation, options=None):
            action, info = super()._get_action(observation, options)
            if "task 2.0" in info["prompts"] and trouble == "raises":
                raise RuntimeError("not this one")
            if "task 2.0" in info["prompts"] and trouble == "nan":
                action["gripper"] = action["gripper"] * np.float32("nan")
            if len(info["prompts"]) > 1 and trouble == "rows":
                action = {key: values[:1] for key, values in action.items()}
            return action, info

    with crowded(Fragile()) as crowd:
        for seed in (1, 2, 3):
            crowd.ask(seed, observe(seed))
        results = crowd.finish()
        assert_answered(results[1], observe(1))
        assert_answered(results[3], observe(3))
        if trouble == "rows":
            assert_answered(results[2], observe(2))
        else:
            assert results[2]["status"] == "error"


def test_each_client_is_answered_in_its_own_dialect():
    with crowded() as crowd:
        for seed, name in enumerate(sorted(LINES), 1):
            crowd.ask(name, observe(seed), line=name)
        results = crowd.finish()
        for seed, name in enumerate(sorted(LINES), 1):
            assert_answered(results[name], observe(seed))
        assert crowd.policy.later_calls == [2]


def test_a_reset_waits_for_its_own_clients_turn_and_joins_nothing():
    with crowded() as crowd:
        crowd.ask("a", observe(1))
        crowd.call("reset", "reset", {"options": {"episode": 1}})
        crowd.ask("b", observe(2))
        results = crowd.finish()
        assert results["reset"] == {"options": {"episode": 1}}
        assert crowd.policy.later_calls == [2]


# Too late


def test_a_request_that_its_client_waits_for_no_more_is_not_computed():
    with crowded() as crowd:
        crowd.ask("late", observe(1), {"deadline_s": 0.0})
        crowd.ask("in time", observe(2), {"deadline_s": 60.0})
        results = crowd.finish()
        assert results["late"]["status"] == "error"
        assert "dropped" in results["late"]["error"]
        assert_answered(results["in time"], observe(2))
        assert crowd.policy.later_calls == [1]


def test_our_client_tells_how_long_it_waits_and_nothing_is_computed_for_it_later():
    policy = GatedPolicy()
    policy.release.set()
    with (
        PolicyServer(policy, host="127.0.0.1", port=0) as server,
        PolicyClient("127.0.0.1", server.port, timeout_ms=60_000) as impatient,
    ):
        assert_answered(impatient.get_action(observe(9)), observe(9))
        impatient.timeout_ms = 1000
        policy.release.clear()
        policy.entered.clear()
        crowd = Crowd(policy, server)
        crowd.hold()
        with pytest.raises(TimeoutError):
            impatient.get_action(observe(1))
        impatient.timeout_ms = 60_000
        wait_until(lambda: crowd.waiting == 0)
        assert_answered(crowd.finish()["first"], observe(0))
        assert impatient.reset() == {"options": None}  # after all that waited
        assert policy.later_calls == [1]


def test_policies_never_see_the_deadline():
    with crowded() as crowd:
        crowd.ask("a", observe(1), {"deadline_s": 60.0})
        crowd.ask("b", observe(2), {"deadline_s": 60.0, "seed": 3})
        crowd.finish()
        assert crowd.policy.calls[1:] == [(1, None), (1, {"seed": 3})]


@pytest.mark.parametrize("deadline_s", ["soon", None, True, [1]])
def test_a_deadline_that_is_no_number_is_refused(server, client, deadline_s):
    with pytest.raises(RemoteError, match="must be seconds"):
        client.get_action(toy_observation(), {"deadline_s": deadline_s})


@pytest.mark.parametrize("deadline_s", [-1.0, float("nan")])
def test_a_deadline_that_is_past_or_never_is_late(server, client, deadline_s):
    with pytest.raises(RemoteError, match="dropped"):
        client.get_action(toy_observation(), {"deadline_s": deadline_s})


# The parts


def test_joining_and_splitting_keep_every_row():
    first, second = observe(1, batch=2), observe(2, batch=3)
    assert batching.layout(first) == (batching.layout(second)[0], 2)
    joined = batching.join([first, second])
    assert (
        joined["language"][PROMPT_KEY]
        == first["language"][PROMPT_KEY] + (second["language"][PROMPT_KEY])
    )
    action = {"x": np.arange(10).reshape(5, 2)}
    info = {"rows": list("abcde"), "one": [1], "array": np.arange(5), "t": {"s": 1.0}, "z": None}
    parts = batching.split(action, info, [2, 3])
    assert parts[0][0]["x"].tolist() == [[0, 1], [2, 3]]
    assert parts[1][0]["x"].tolist() == [[4, 5], [6, 7], [8, 9]]
    assert parts[0][1]["rows"] == ["a", "b"]
    assert parts[1][1]["rows"] == ["c", "d", "e"]
    assert parts[1][1]["array"].tolist() == [2, 3, 4]
    assert parts[0][1]["one"] == [1]
    assert parts[0][1]["t"] == {"s": 1.0}


@pytest.mark.parametrize(
    "observation",
    [
        {},
        5,
        {"a": 5},
        {"a": np.float32(1)},
        {"a": np.zeros((0, 1))},
        {"a": np.zeros((1, 1)), "b": np.zeros((2, 1))},
        {"a": np.zeros((1, 1)), "b": "text"},
        {"a": np.zeros((2, 1)), "b": [["one"]]},
    ],
)
def test_an_observation_without_one_b_is_not_joined(observation):
    assert batching.layout(observation) is None
