# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy top` shows a server's clients and what they wait for."""

import sys

import pytest
from toy_policy import toy_observation

from gr00t_policy_core.cli import main


def test_a_server_is_shown_with_its_clients(server, client, capsys, monkeypatch):
    pytest.importorskip("rich", reason="pip install '.[top]'")
    monkeypatch.setenv("COLUMNS", "120")
    client.get_action(toy_observation())
    client.send_request("nope")
    assert main(["top", "--host", "127.0.0.1", "--port", str(server.port), "--once"]) == 0
    shown = capsys.readouterr().out
    assert "ready for" in shown
    assert "1 errors" in shown
    assert "127.0.0.1" in shown
    assert "OPEN" not in shown


def test_the_extra_is_named_where_rich_is_not_installed(server, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.live", None)
    assert main(["top", "--host", "127.0.0.1", "--port", str(server.port), "--once"]) == 1
    assert ".[top]" in capsys.readouterr().err


def test_replicas_are_shown(server):
    pytest.importorskip("rich", reason="pip install '.[top]'")
    from gr00t_policy_core.cli.top import view

    counted = {"size": 4, "ready": 3, "deaths": 2, "retries": 1}
    metrics = {**server.metrics(), "replicas": counted}
    shown = str(view(metrics, metrics, 1.0).title)
    assert "3 of 4 replicas ready, 2 deaths, 1 retried requests" in shown


def test_what_a_server_tells_is_shown_as_it_is_and_never_taken_for_markup(server, client, capsys):
    pytest.importorskip("rich", reason="pip install '.[top]'")
    from gr00t_policy_core.cli.top import view

    client.ping()
    metrics = {**server.metrics(), "state": "[/bold]\x1b[2J"}
    metrics["clients"][0]["peer"] = "[link=x]\x1b]0;owned\x07"
    table = view(metrics, metrics, 1.0)
    assert r"[/bold]\x1b[2J for" in str(table.title)
    assert str(next(iter(table.columns[0].cells))) == r"[link=x]\x1b]0;owned\x07"


@pytest.mark.parametrize("metrics", [5, {}, {"state": "ready"}])
def test_metrics_that_are_none_are_one_line_and_status_1(server, capsys, metrics):
    pytest.importorskip("rich", reason="pip install '.[top]'")
    server.register_endpoint("metrics", lambda: metrics, requires_input=False)
    assert main(["top", "--host", "127.0.0.1", "--port", str(server.port), "--once"]) == 1
    assert "metrics cannot be read" in capsys.readouterr().err


def test_robots_are_readable_in_a_terminal_of_80_columns(server, client, capsys, monkeypatch):
    pytest.importorskip("rich", reason="pip install '.[top]'")
    monkeypatch.setenv("COLUMNS", "80")
    reason = "video.front: 18.9 Hz received, 30 Hz expected " * 2
    told = {"robot": "left arm", "state": "waiting", "task": "pick up the apple", "reason": reason}
    client.call_endpoint("client_info", {**told, "outcomes": {"success": 7, "failure": 2}})
    assert main(["top", "--host", "127.0.0.1", "--port", str(server.port), "--once"]) == 0
    shown = capsys.readouterr().out
    for whole in ("127.0.0.1", "requests", "left arm", "waiting:", "outcomes", "7 success"):
        assert whole in shown
    assert len(shown.splitlines()) < 24
