# SPDX-License-Identifier: Apache-2.0
"""Replicas behind a server: real processes, killed for real, asked through real sockets."""

import os
import signal
import threading

import pytest
from replica_policies import LoadToy, noted, observe
from replicas_helpers import (
    WAIT_S,
    assert_answered,
    needs_ray,
    one_ray_for_all,  # noqa: F401
    served,
)
from server_rig import wait_until

from gr00t_policy_core import PolicyServer, RemoteError
from gr00t_policy_core.serving.replicas import ReplicaPool

needs_ray()
DEADLY = {"status": "error", "error": "two replicas died while they answered this request"}


def test_all_tests_that_start_ray_run_in_one_process(request: pytest.FixtureRequest) -> None:
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith("@ray")


def test_as_many_calls_are_in_progress_as_there_are_replicas(tmp_path) -> None:
    with served(tmp_path) as running:
        first = running.hold("a", 1)
        both = running.hold("b", 2)
        assert len({*first, *both}) == 2
        running.ask("c", "go")
        wait_until(lambda: running.server.metrics()["requests"]["get_action"] == 3)
        assert running.results == {}
        assert len(noted(tmp_path, "call-1")) == 2
        results = running.finish()
        assert {assert_answered(results[name])["pid"] for name in "ab"} == {*both}
        assert_answered(results["c"])


def test_with_one_replica_the_second_request_waits(tmp_path) -> None:
    with served(tmp_path, 1) as running:
        running.hold("a")
        running.ask("b", "go")
        wait_until(lambda: running.server.metrics()["waiting"]["requests"] == 1)
        assert len(noted(tmp_path, "call-1")) == 1
        results = running.finish()
        assert_answered(results["a"])
        assert_answered(results["b"])


def test_a_request_whose_replica_is_killed_is_answered_by_another_one_once(tmp_path) -> None:
    with served(tmp_path) as running:
        (first,) = running.hold("a")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(noted(tmp_path, "held")) == 2, WAIT_S)
        second = next(pid for pid in noted(tmp_path, "held") if pid != first)
        info = assert_answered(running.finish()["a"])
        assert info["pid"] == second
        running.wait_until_all_are_ready()
        counted = running.replicas()
        assert (counted["retries"], counted["deaths"]) == (1, 1)
        metrics = running.server.metrics()
        assert metrics["queue_s"]["count"] == 1
        assert metrics["errors"] == {}


def test_a_replica_that_dies_while_it_does_nothing_is_replaced_before_anybody_asks(
    tmp_path,
) -> None:
    with served(tmp_path) as running:
        before = set(noted(tmp_path, "load"))
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: running.replicas()["deaths"] == 1, WAIT_S)
        running.wait_until_all_are_ready()
        assert len(noted(tmp_path, "load")) == 3
        assert running.replicas()["retries"] == 0


def test_a_request_that_kills_every_replica_is_refused_and_harms_nobody_else(tmp_path) -> None:
    with served(tmp_path) as running:
        running.ask("deadly", "die")
        for number in range(6):
            running.ask(f"other {number}", "go", number)
        results = running.finish()
        assert results["deadly"] == DEADLY
        for number in range(6):
            assert_answered(results[f"other {number}"], number)
        wait_until(lambda: running.replicas()["deaths"] == 2, WAIT_S)
        running.wait_until_all_are_ready()


def test_requests_joined_with_one_that_kills_are_answered(tmp_path) -> None:
    with served(tmp_path, joins=True) as running:
        running.hold("a", 1)
        running.hold("b", 2)
        before = running.server.metrics()["requests"]["get_action"]
        asked = {"x": "go", "deadly": "die", "y": "go", "z": "go"}
        for seed, (name, instruction) in enumerate(asked.items()):
            running.ask(name, instruction, seed)
        wait_until(
            lambda: running.server.metrics()["requests"]["get_action"] == before + len(asked)
        )
        results = running.finish()
        assert results["deadly"] == DEADLY
        for seed, name in enumerate(asked):
            if name != "deadly":
                assert_answered(results[name], seed)
        joint = [path for path in tmp_path.glob("call-*") if not path.name.startswith("call-1.")]
        assert joint, "nothing was joined"


def test_a_rolling_restart_under_load_loses_no_request(tmp_path) -> None:
    with served(tmp_path, joins=True) as running:
        before = set(noted(tmp_path, "load"))
        stop = threading.Event()
        answered: list[int] = []

        def ask_on() -> None:
            with running.client() as client:
                while not stop.is_set():
                    answered.append(assert_answered(client.get_action(observe()))["pid"])

        robots = [threading.Thread(target=ask_on) for _ in range(4)]
        for robot in robots:
            robot.start()
        wait_until(lambda: before <= set(answered), WAIT_S)
        running.server.restart_replicas()
        wait_until(lambda: len(set(noted(tmp_path, "load"))) == 4, WAIT_S)
        running.wait_until_all_are_ready()
        after = set(noted(tmp_path, "load")) - before
        wait_until(lambda: after <= set(answered), WAIT_S)
        assert all(robot.is_alive() for robot in robots)
        stop.set()
        for robot in robots:
            robot.join(WAIT_S)
        metrics = running.server.metrics()
        assert metrics["errors"] == {}
        assert metrics["queue_s"]["count"] == len(answered)
        assert (metrics["replicas"]["deaths"], metrics["replicas"]["retries"]) == (0, 0)


def test_requests_wait_while_the_only_replica_is_restarted(tmp_path) -> None:
    with served(tmp_path, 1) as running, running.client() as client:
        (before,) = noted(tmp_path, "load")
        running.server.restart_replicas()
        wait_until(lambda: running.server.state == "loading", WAIT_S)
        assert client.get_state() == "loading"
        assert assert_answered(client.get_action(observe()))["pid"] != before
        assert client.get_state() == "ready"
        assert running.server.metrics()["errors"] == {}


def test_a_rolling_restart_ends_with_the_first_that_cannot_be_loaded(tmp_path, caplog) -> None:
    with served(tmp_path) as running, running.client() as client:
        before = set(noted(tmp_path, "load"))
        (tmp_path / "broken").touch()
        running.server.restart_replicas()
        wait_until(lambda: "the rolling restart ended before" in caplog.text, WAIT_S)
        assert running.replicas()["ready"] == 1
        assert assert_answered(client.get_action(observe()))["pid"] in before
        (tmp_path / "broken").unlink()  # and it is tried again
        running.wait_until_all_are_ready()


def test_a_replica_that_loads_another_policy_never_answers(tmp_path, caplog) -> None:
    with served(tmp_path) as running, running.client() as client:
        before = set(noted(tmp_path, "load"))
        (tmp_path / "other policy").touch()
        running.server.restart_replicas()
        wait_until(lambda: "the rolling restart ended before" in caplog.text, WAIT_S)
        assert "restart the server to serve that policy" in caplog.text
        assert running.replicas()["ready"] == 1
        assert assert_answered(client.get_action(observe()))["pid"] in before
        (tmp_path / "other policy").unlink()
        running.wait_until_all_are_ready()


def test_a_rolling_restart_goes_past_a_replica_that_is_tried_again_anyhow(tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    with served(tmp_path) as running:
        (tmp_path / "broken").touch()
        os.kill(noted(tmp_path, "load")[0], signal.SIGKILL)
        wait_until(lambda: running.replicas()["failed"] == 1, WAIT_S)
        (tmp_path / "broken").unlink()
        running.server.restart_replicas()
        wait_until(lambda: "all 2 replicas have been restarted" in caplog.text, WAIT_S)
        running.wait_until_all_are_ready()


def test_where_no_replica_can_be_loaded_any_more_requests_are_refused_at_once(tmp_path) -> None:
    with served(tmp_path, 1) as running, running.client() as client:
        (tmp_path / "broken").touch()
        running.server.restart_replicas()
        wait_until(lambda: running.replicas()["failed"] == 1, WAIT_S)
        with pytest.raises(RemoteError, match="ValueError: no weights in"):
            client.get_action(observe())


def test_where_no_replica_can_be_loaded_at_first_the_server_fails_with_the_error(
    tmp_path,
) -> None:
    (tmp_path / "broken").touch()
    pool = ReplicaPool(LoadToy(str(tmp_path)), 2)
    server = PolicyServer(pool.start, "127.0.0.1", 0, backend=pool)
    with pytest.raises(RemoteError, match="ValueError: no weights in"):
        server.run()
    assert server.state == "failed"
    assert len(noted(tmp_path, "load")) >= 2


def test_stop_finishes_what_the_replicas_do_and_refuses_the_rest(tmp_path) -> None:
    with served(tmp_path, 1) as running:
        running.hold("a")
        running.ask("b", "go")
        wait_until(lambda: running.server.metrics()["waiting"]["requests"] == 1)
        stopping = threading.Thread(target=running.server.stop)
        stopping.start()
        wait_until(lambda: "b" in running.results)
        results = running.finish()
        assert_answered(results["a"])
        assert results["b"] == {"status": "error", "error": "the server is stopping"}
        stopping.join(WAIT_S)
        assert not stopping.is_alive()
