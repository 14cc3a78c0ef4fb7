# SPDX-License-Identifier: Apache-2.0
"""The policy node and real servers: that still load, that failed, several of them, secured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for_log, wait_until
from nodes_for_tests import CONFIGURE, MakeNode, Operator, Robot
from policies_for_tests import HORIZON, EchoPolicy

from gr00t_policy_core import ActionConfig, ModalityConfig, PolicyServer
from gr00t_policy_core.serving.client import failover
from gr00t_policy_core.serving.server.lifecycle import Lifecycle
from gr00t_policy_core.serving.transport.curve_keys import write_keys
from gr00t_ros.msg import ActionChunk, PolicyStatus

Serve = Callable[..., PolicyServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(policy: Any, **settings: Any) -> PolicyServer:
            return stack.enter_context(
                PolicyServer(policy, host="127.0.0.1", **{"port": 0, **settings})
            )

        yield start


class Loading:
    """A function that makes a policy once it may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def __call__(self) -> EchoPolicy:
        self.may_end.wait(30.0)
        return EchoPolicy()


@pytest.fixture
def loading() -> Iterator[Loading]:
    loading = Loading()
    yield loading
    loading.may_end.set()


def test_a_server_that_still_loads_its_policy_is_waited_for(
    make_client_node: MakeNode,
    operator: Operator,
    chunks: list[ActionChunk],
    robot: Robot,
    serve: Serve,
    loading: Loading,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_client_node(policy__port=serve(loading).port)
    assert operator.trigger("start").success
    status = operator.wait_for_reason("the server is loading its policy")
    assert status.state == PolicyStatus.STATE_WAITING
    later = operator.wait_for_status(
        lambda s: s.inferences_skipped > status.inferences_skipped, "it goes on looking"
    )
    assert (later.reason, later.inference_errors) == ("the server is loading its policy", 0)
    assert operator.state() == "active"  # the executor is free meanwhile

    loading.may_end.set()
    wait_until(lambda: chunks, what="a chunk")
    assert operator.wait_until_running().inference_errors == 0
    told = capfd.readouterr().err
    assert told.count("the node goes on without it: the server is loading its policy") == 1
    assert told.count("not inferring: the server is loading its policy") == 1


def test_a_server_that_loads_is_not_asked_at_the_rate_of_the_streams(
    make_client_node: MakeNode,
    operator: Operator,
    robot: Robot,
    serve: Serve,
    loading: Loading,
) -> None:
    server = serve(loading)
    make_client_node(policy__port=server.port)
    assert operator.trigger("start").success
    operator.wait_for_reason("the server is loading its policy")
    before = server.metrics()["requests"]["ping"]
    for _ in range(3):
        operator.wait_for_status(lambda s: True, "a status, every 0.5 s")
    # Every 0.5 s; the robot's messages come at 100 Hz.
    assert server.metrics()["requests"]["ping"] - before < 15


def test_a_server_that_could_not_load_its_policy_is_reported(
    make_client_node: MakeNode,
    operator: Operator,
    robot: Robot,
    loading: Loading,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Lifecycle, "state", "failed")
    with PolicyServer(loading, host="127.0.0.1", port=0) as server:
        make_client_node(policy__port=server.port)
        assert operator.trigger("start").success
        status = operator.wait_for_reason("the server could not load its policy (failed)")
        assert status.state == PolicyStatus.STATE_WAITING
        operator.wait_for_status(lambda s: s.inference_errors > status.inference_errors, "errors")
        loading.may_end.set()


def test_the_first_of_several_servers_that_is_ready_answers_and_the_next_when_it_goes(
    make_client_node: MakeNode,
    operator: Operator,
    robot: Robot,
    serve: Serve,
    loading: Loading,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failover, "PROBE_S", 0.3)
    first, second = EchoPolicy(), EchoPolicy()
    servers = [serve(loading), serve(first), serve(second)]
    make_client_node(
        policy__hosts=[f"127.0.0.1:{server.port}" for server in servers], policy__timeout_s=1.0
    )
    assert operator.trigger("start").success
    wait_until(lambda: len(first.observations) > 2, what="the second server is asked")
    assert second.observations == []
    servers[1].stop()
    wait_until(lambda: len(second.observations) > 2, what="the third server is asked")
    operator.wait_until_running()


def test_a_secured_server_answers_the_node_that_has_the_keys(
    make_client_node: MakeNode,
    operator: Operator,
    chunks: list[ActionChunk],
    robot: Robot,
    serve: Serve,
    tmp_path: Path,
) -> None:
    write_keys(tmp_path, ["arm1"])
    server = serve(EchoPolicy(), keys=tmp_path)
    make_client_node(
        policy__port=server.port,
        policy__server_key=str(tmp_path / "server.key"),
        policy__keys=str(tmp_path / "arm1.key_secret"),
    )
    assert operator.trigger("start").success
    wait_until(lambda: chunks, what="a chunk")
    assert server.metrics()["encrypted"] is True


def test_settings_that_the_client_refuses_fail_the_configuration_by_their_names(
    make_client_node: MakeNode,
    operator: Operator,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_client_node(policy__host=None, policy__hosts=["gpu-a", "gpu-b:x"])
    assert operator.change_state(CONFIGURE) == [False]
    problem = 'policy.hosts: \'gpu-b:x\' is neither "host" nor "host:port"'
    assert f"- {problem}\n" in capfd.readouterr().err

    assert all(operator.set_parameters(policy__hosts=["gpu-a"], policy__keys=str(tmp_path / "no")))
    assert operator.change_state(CONFIGURE) == [False]
    assert "- policy.server_key and keys go together, no server_key\n" in capfd.readouterr().err

    assert operator.set_parameters(policy__quality=0) == [False]
    assert operator.set_parameters(policy__image_encoding="png") == [True]
    assert operator.change_state(CONFIGURE) == [False]
    told = capfd.readouterr().err
    assert "- policy.image_encoding: must be one of raw | jpeg, got 'png'\n" in told


def test_the_extra_that_jpeg_needs_is_named(
    make_client_node: MakeNode,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("gr00t_policy_core.serving.wire.jpeg.is_available", lambda: False)
    make_client_node(policy__image_encoding="jpeg")
    assert operator.change_state(CONFIGURE) == [False]
    assert "- policy.image_encoding: JPEG needs simplejpeg: pip install" in capfd.readouterr().err


class TellingPolicy(EchoPolicy):
    """Says what the arm's action values are measured from; the gripper's are absolute."""

    def __init__(self, rep: str, capabilities: tuple[str, ...] = ()) -> None:
        super().__init__()
        reps = (ActionConfig(name, "NON_EEF", "DEFAULT") for name in (rep, "ABSOLUTE"))
        action = ModalityConfig(list(range(HORIZON)), ["arm", "gripper"], action_configs=list(reps))
        self._configs["action"] = action
        self.capabilities = capabilities


@pytest.mark.parametrize("rep", ["DELTA", "RELATIVE"])
def test_steps_that_are_no_positions_are_refused_before_anything_moves(
    make_client_node: MakeNode,
    operator: Operator,
    robot: Robot,
    serve: Serve,
    capfd: pytest.CaptureFixture[str],
    rep: str,
) -> None:
    make_client_node(policy__port=serve(TellingPolicy(rep)).port)
    assert operator.change_state(CONFIGURE) == [False]
    wait_for_log(capfd, f"action.arm: the policy answers {rep} steps")


def test_relative_actions_of_a_policy_that_adds_the_state_are_played(
    make_client_node: MakeNode,
    operator: Operator,
    robot: Robot,
    serve: Serve,
    chunks: list[ActionChunk],
) -> None:
    policy = TellingPolicy("RELATIVE", ("absolute_actions",))
    make_client_node(policy__port=serve(policy).port)
    assert operator.trigger("start").success
    wait_until(lambda: chunks, 15.0, "a chunk")


def test_a_policy_that_says_nothing_of_its_actions_is_told_of(
    make_client_node: MakeNode,
    operator: Operator,
    robot: Robot,
    serve: Serve,
    chunks: list[ActionChunk],
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_client_node(policy__port=serve(EchoPolicy()).port)
    assert operator.trigger("start").success
    wait_until(lambda: chunks, 15.0, "a chunk")
    wait_for_log(capfd, "whether action.arm, action.gripper are absolute values")
