# SPDX-License-Identifier: Apache-2.0
"""The dashboard over real sockets and DDS, with pages that behave and others that do not."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest
from dashboard_rig import DashboardRig, wait_for
from helpers import heed_ctrl_c, wait_until

from gr00t_ros.msg import PolicyStatus

client = pytest.importorskip("websockets.sync.client", reason="pip install websockets")
exceptions = pytest.importorskip("websockets.exceptions")

ROOT = Path(__file__).resolve().parents[3]
JPEG_START = b"\xff\xd8"
MOST_SENT_BYTES = 100_000_000  # far more than the buffers of a socket hold
PATHS = (
    "",
    "robot",
    "dashboard.js",
    "live.js",
    "plots.js",
    "dashboard.css",
    "commands/start_policy",
)


def test_a_page_sees_the_robot_and_starts_and_stops_it(rig: DashboardRig) -> None:
    robot = json.loads(rig.request("GET", "robot").body)
    assert robot["cameras"] == ["front"]
    assert robot["joints"] == {"arm": ["shoulder", "elbow"], "gripper": ["finger"]}
    with client.connect(rig.live_url) as page:
        wait_for(page, "policy", lambda m: m["state"] == PolicyStatus.STATE_STOPPED)
        first = wait_for(page, "picture")
        assert first[0] == 0
        assert first[1:3] == JPEG_START
        wait_for(page, "picture", lambda picture: picture != first)
        assert rig.command("start_policy") == {"success": True, "message": "started"}
        chunk = wait_for(page, "chunk", lambda m: not m["stop"])
        assert [action["name"] for action in chunk["actions"]] == ["arm", "gripper"]
        wait_for(page, "policy", lambda m: m["state"] == PolicyStatus.STATE_RUNNING)
        assert rig.command("stop_policy")["success"]
        wait_for(page, "chunk", lambda m: m["stop"])


def test_an_instruction_reaches_the_policy_and_the_other_pages(rig: DashboardRig) -> None:
    assert rig.command("start_policy")["success"]
    wait_until(lambda: rig.policy.observations, what="an observation")
    with client.connect(rig.live_url) as page:
        answer = rig.request("POST", "instruction", {"text": "pick up the pear"})
        assert json.loads(answer.body)["success"]
        wait_for(page, "policy", lambda m: m["instruction"] == "pick up the pear")
    wait_until(lambda: "pick up the pear" in str(rig.policy.observations[-1]), what="the pear")


def test_a_command_to_a_node_that_is_not_there_says_so(rig: DashboardRig) -> None:
    answer = rig.command("go_live")
    assert answer == {"success": False, "message": "there is no control_node: is it running?"}
    assert rig.request("POST", "commands/explode", {}).status == 404
    assert rig.request("POST", "instruction", {"text": "a" * 1001}).status == 422


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_everything_is_forbidden(rig: DashboardRig, path: str) -> None:
    token = urlsplit(rig.server.url).path.strip("/")
    guesses = ("", token[:-1], token + "a", token.upper(), "%00", "..", f"x/{token}")
    for method in ("GET", "POST", "OPTIONS"):
        for guess in guesses:
            response = rig.request(method, f"/{guess}/{path}" if guess else f"/{path}")
            assert response.status == 403, (method, guess)
            assert token.encode() not in response.body
            assert "access-control-allow-origin" not in response.headers
    assert not rig.policy.observations


def test_connections_that_say_nothing_keep_nobody_from_stopping_the_robot(
    rig: DashboardRig,
) -> None:
    address = urlsplit(rig.server.url)
    with contextlib.ExitStack() as stack:
        for number in range(200):
            silent = stack.enter_context(socket.create_connection((address.hostname, address.port)))
            if number % 2:
                silent.sendall(b"GET /half HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        # DDS may lose the first answer of a service that was found a moment ago.
        wait_until(lambda: rig.command("stop_policy")["success"], what="the policy node is stopped")
        with client.connect(rig.live_url) as page:
            wait_for(page, "picture")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"instruction": "a", "time_limit_s": NaN}', "time_limit_s: "),
        ('{"instruction": "a", "time_limit_s": 1e999}', "time_limit_s: "),
        ('{"instruction": "a", "enders": [3]}', "enders.0: "),
        (r'{"instruction": "\ud800"}', "instruction: .*unicode"),
        (r'{"instruction": "a\u0000b"}', "instruction: .* has characters that cannot be sent"),
        ("{", "JSON decode error"),
    ],
)
def test_a_request_that_is_wrong_is_explained(rig: DashboardRig, body: str, problem: str) -> None:
    response = rig.request_text("POST", "task", body)
    assert response.status == 422
    assert re.search(problem, json.loads(response.body)["detail"])


def test_another_host_and_another_origin_are_forbidden_even_with_the_token(
    rig: DashboardRig,
) -> None:
    port = urlsplit(rig.server.url).port
    for headers in (
        {"Host": f"evil.example:{port}"},
        {"Origin": "http://evil.example"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},
        {"Origin": "null"},
    ):
        assert rig.request("POST", "commands/start_policy", {}, headers).status == 403
    for url, origin in (
        (rig.live_url.replace("a-token", "b-token"), None),
        (rig.live_url, "http://evil.example"),
    ):
        with pytest.raises(exceptions.InvalidStatus, match="403"):
            client.connect(url, origin=origin)
    assert not rig.policy.observations


def test_the_page_may_load_nothing_from_elsewhere(rig: DashboardRig) -> None:
    response = rig.request("GET", "")
    assert response.status == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
    assert b"http" not in response.body.replace(b"<!doctype html>", b"")
    assert rig.request("GET", "docs").status == rig.request("GET", "openapi.json").status == 404


def test_cameras_are_received_only_while_somebody_watches(rig: DashboardRig) -> None:
    wait_until(lambda: rig.operator.statuses, what="the graph is known")
    assert not rig.subscriptions_of_the_camera()
    with client.connect(rig.live_url) as page:
        wait_for(page, "picture")
        wait_until(rig.subscriptions_of_the_camera, what="a subscription")
    wait_until(lambda: not rig.subscriptions_of_the_camera(), what="the subscription ends")


def upgrade_request(address: SplitResult) -> bytes:
    """What opens a WebSocket."""
    return (
        f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )


def test_a_page_that_never_reads_costs_the_others_nothing(rig: DashboardRig) -> None:
    address = urlsplit(rig.live_url)
    with socket.create_connection((address.hostname, address.port)) as dead:
        dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        dead.sendall(upgrade_request(address))
        wait_until(lambda: rig.server.feed.is_watched, what="the dead page is open")
        filler = "x" * 1_000_000
        for number in range(200):  # 200 MB, of which the dead page takes next to nothing
            rig.server.feed.publish("filler", json.dumps({"kind": "filler", "message": filler}))
            if number % 50 == 0:
                assert rig.command("start_policy")["success"]
        with client.connect(rig.live_url, max_size=None) as page:
            wait_for(page, "policy", lambda m: m["state"] == PolicyStatus.STATE_RUNNING)
            first = wait_for(page, "picture")
            wait_for(page, "picture", lambda picture: picture != first)
        assert rig.command("stop_policy")["success"]


def test_a_flood_from_a_page_waits_in_its_own_socket(rig: DashboardRig) -> None:
    address = urlsplit(rig.live_url)
    frame = b"\x81\xfe" + (10_000).to_bytes(2, "big") + bytes(4) + b"x" * 10_000
    sent = 0
    with socket.create_connection((address.hostname, address.port)) as flood:
        flood.sendall(upgrade_request(address))
        wait_until(lambda: rig.server.feed.is_watched, what="the page is open")
        flood.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while sent < MOST_SENT_BYTES:
                sent += flood.send(frame)
        assert sent < MOST_SENT_BYTES
        with client.connect(rig.live_url) as page:
            first = wait_for(page, "picture")
            wait_for(page, "picture", lambda picture: picture != first)
    wait_until(lambda: not rig.server.feed.is_watched, what="the page is known to be gone")


def test_the_command_line_prints_the_address_once_and_ends_at_sigint(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gr00t_policy_core", "dashboard"]
    command += ["--config", str(ROOT / "config" / "demo.yaml"), "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=heed_ctrl_c,
    )
    try:
        line = process.stdout.readline().decode()
        assert line.startswith("dashboard: http://127.0.0.1:"), line
        address = urlsplit(line.split()[1])
        assert len(address.path) > 20
        process.send_signal(2)
        rest, _ = process.communicate(timeout=60.0)
    finally:
        process.kill()
    assert address.path.encode() not in rest
    assert process.returncode in (0, 130)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["--config", "x.yaml", "--token", "abc"], "at least 16 characters"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from gr00t_policy_core.cli import main

    try:
        status = main(["dashboard", *arguments])
    except SystemExit as ended:
        status = ended.code
    assert status in (1, 2)
    assert said in capfd.readouterr().err


def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    command = [sys.executable, "-m", "gr00t_policy_core", "dashboard"]
    command += ["--config", str(ROOT / "config" / "demo.yaml"), "--port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*command, str(port)], capture_output=True, text=True, timeout=120, check=False
        )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: another program does already" in line
    assert "choose another port (0 picks a free one)" in line
