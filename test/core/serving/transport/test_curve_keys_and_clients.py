# SPDX-License-Identifier: Apache-2.0
"""Encrypted connections, and which clients are admitted."""

import contextlib
import socket
import stat
import threading

import msgpack
import pytest
import zmq
from scripted_server import receive
from server_rig import free_port, wait_until
from toy_policy import ToyPolicy, expected_action, toy_observation

from gr00t_policy_core import (
    PolicyClient,
    PolicyServer,
    PolicyTimeoutError,
    ProtocolError,
    SpecError,
)
from gr00t_policy_core.cli import main
from gr00t_policy_core.serving.transport.curve_keys import ClientKeys, ServerKeys, write_keys


@pytest.fixture
def keys(tmp_path):
    folder = tmp_path / "keys"
    write_keys(folder, ["robot1", "robot2"])
    return folder


@pytest.fixture
def secured(keys):
    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, keys=keys) as server:
        yield server


def client_of(server, **settings):
    return PolicyClient("127.0.0.1", server.port, timeout_ms=10_000, **settings)


def may_come_in(server, sockets, *, timeout_ms=500, **options):
    asking = sockets.socket(zmq.REQ)
    asking.setsockopt(zmq.LINGER, 0)
    for name, value in options.items():
        asking.setsockopt(getattr(zmq, name), value)
    asking.connect(f"tcp://127.0.0.1:{server.port}")
    asking.send(msgpack.packb({"endpoint": "ping"}))
    return bool(asking.poll(timeout_ms))


def test_a_listed_client_is_answered(secured, keys):
    for name in ("robot1", "robot2"):
        settings = {"server_key": keys / "server.key", "keys": keys / f"{name}.key_secret"}
        with client_of(secured, **settings) as client:
            observation = toy_observation()
            action, _ = client.get_action(observation)
            assert (action["gripper"] == expected_action(observation)["gripper"]).all()
    assert secured.metrics()["encrypted"] is True


def test_the_servers_key_may_be_given_as_text(secured, keys):
    text = ServerKeys.load(keys).public.decode()
    with client_of(secured, server_key=text, keys=keys / "robot1.key_secret") as client:
        assert client.ping()


def test_nobody_else_comes_in(secured, keys, sockets, tmp_path):
    public = ServerKeys.load(keys).public
    assert not may_come_in(secured, sockets)  # plain text
    stranger_public, stranger_secret = zmq.curve_keypair()
    stranger = {"CURVE_PUBLICKEY": stranger_public, "CURVE_SECRETKEY": stranger_secret}
    assert not may_come_in(secured, sockets, CURVE_SERVERKEY=public, **stranger)
    listed = ClientKeys.load(keys / "server.key", keys / "robot1.key_secret")
    mine = {"CURVE_PUBLICKEY": listed.public, "CURVE_SECRETKEY": listed.secret}
    assert not may_come_in(secured, sockets, CURVE_SERVERKEY=stranger_public, **mine)
    assert may_come_in(secured, sockets, timeout_ms=10_000, CURVE_SERVERKEY=public, **mine)


def test_strangers_without_end_cost_the_listed_client_nothing(secured, keys, sockets):
    public = ServerKeys.load(keys).public
    strangers = []
    for number in range(100):
        stranger = sockets.socket(zmq.DEALER)
        if number % 2:
            stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
            stranger.curve_serverkey = public
        stranger.connect(f"tcp://127.0.0.1:{secured.port}")
        stranger.setsockopt(zmq.SNDTIMEO, 0)
        strangers.append(stranger)
    settings = {"server_key": keys / "server.key", "keys": keys / "robot1.key_secret"}
    with client_of(secured, **settings) as client:
        for _ in range(100):
            for stranger in strangers:
                with contextlib.suppress(zmq.Again):
                    stranger.send_multipart([b"", msgpack.packb({"endpoint": "reset"})])
            client.get_action(toy_observation())
    assert [stranger.poll(0) for stranger in strangers] == [0] * 100
    assert secured.metrics()["requests"] == {"get_modality_config": 1, "get_action": 100}
    # Only of the rejected clients: every second one, since the others have no keys.
    assert secured.metrics()["errors"].keys() == {"PolicyError"}


def refused(port, keys, why, timeout_ms=1500):
    with PolicyClient("127.0.0.1", port, timeout_ms=timeout_ms, **keys) as client:
        assert client.ping() is False
        with pytest.raises(PolicyTimeoutError, match=why):
            client.call_endpoint("ping", requires_input=False)


def test_a_client_that_is_not_listed_is_told_so(secured, keys, tmp_path):
    write_keys(tmp_path / "other", ["robot1"])
    secret = tmp_path / "other" / "robot1.key_secret"
    mine = {"server_key": keys / "server.key", "keys": secret}
    refused(secured.port, mine, "rejected this client: its key is not among those that the server")


def test_a_client_with_the_key_of_another_server_is_told_so(secured, keys, tmp_path):
    write_keys(tmp_path / "other", [])
    mine = {"server_key": tmp_path / "other" / "server.key", "keys": keys / "robot1.key_secret"}
    refused(secured.port, mine, "server_key is not the key of this server")


def test_a_client_without_keys_is_told_of_a_server_with_them(secured):
    refused(secured.port, {}, "it is secured, and this client has no keys")


def test_a_client_with_keys_is_told_of_a_server_without(keys, server, sockets):
    mine = {"server_key": keys / "server.key", "keys": keys / "robot1.key_secret"}
    refused(server.port, mine, "the server is not secured")
    stock = sockets.socket(zmq.REP)
    refused(stock.bind_to_random_port("tcp://127.0.0.1"), mine, "the server is not secured")


def test_a_client_with_keys_is_told_of_something_that_is_no_server(keys, scripted):
    mine = {"server_key": keys / "server.key", "keys": keys / "robot1.key_secret"}

    def http(connection):
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        with contextlib.suppress(ConnectionError):
            receive(connection, 1000)

    with (
        PolicyClient("127.0.0.1", scripted(*[http] * 100), timeout_ms=3000, **mine) as client,
        pytest.raises(ProtocolError, match=r"begins with b'HTTP/1.1 400"),
    ):
        client.call_endpoint("ping", requires_input=False)
    refused(scripted(*[lambda connection: None] * 200), mine, "a tunnel or proxy")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused(silent.getsockname()[1], mine, "says nothing", timeout_ms=300)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused(taken.getsockname()[1], mine, "no server listens there", timeout_ms=300)


def test_a_connection_that_is_lost_is_told_at_once_and_made_anew(keys):
    mine = {"server_key": keys / "server.key", "keys": keys / "robot1.key_secret"}
    begun, release = threading.Event(), threading.Event()

    def hang():
        begun.set()
        release.wait(20)

    port = free_port()
    with PolicyServer(
        ToyPolicy(), host="127.0.0.1", port=port, keys=keys, stop_timeout_s=0
    ) as first:
        first.register_endpoint("hang", hang, requires_input=False)
        client = PolicyClient("127.0.0.1", port, timeout_ms=60_000, **mine)
        errors = []

        def ask():
            with pytest.raises(PolicyTimeoutError) as raised:
                client.call_endpoint("hang", requires_input=False)
            errors.append(str(raised.value))

        asking = threading.Thread(target=ask)
        asking.start()
        assert begun.wait(10)
        first.stop()
        asking.join(30)
        release.set()
    assert "the connection was lost" in errors[0]
    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=port, keys=keys), client:
        assert client.ping()


def test_a_token_can_be_asked_for_as_well(keys):
    settings = {"server_key": keys / "server.key", "keys": keys / "robot1.key_secret"}
    with (
        PolicyServer(ToyPolicy(), "127.0.0.1", 0, "s3cret", keys=keys) as server,
        client_of(server, **settings) as without,
        client_of(server, api_token="s3cret", **settings) as client,
    ):
        with pytest.raises(RuntimeError, match="Unauthorized"):
            without.call_endpoint("ping")
        assert client.ping()


def test_a_secured_server_is_not_called_open(keys, caplog):
    with PolicyServer(ToyPolicy(), port=0, keys=keys) as server:
        assert server.metrics()["open_to_network"] is False
    assert "open to the network" not in caplog.text


# The files


def test_key_files_are_their_owners_alone_and_never_overwritten(tmp_path):
    folder = tmp_path / "keys"
    made = write_keys(folder, ["arm"])
    assert sorted(path.relative_to(folder).as_posix() for path in made) == [
        "arm.key_secret",
        "clients/arm.key",
        "server.key",
        "server.key_secret",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = {path: path.read_bytes() for path in made}
    more = write_keys(folder, ["arm", "leg"])
    assert {path.name for path in more} == {"leg.key", "leg.key_secret"}
    assert {path: path.read_bytes() for path in made} == before


@pytest.mark.parametrize("name", ["", "../x", "a/b", "server", "-x", "x" * 65])
def test_a_client_needs_a_name_for_its_file(tmp_path, name):
    with pytest.raises(SpecError, match="cannot be the name of a client"):
        write_keys(tmp_path, [name])
    assert not list(tmp_path.iterdir())


def test_a_folder_without_keys_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"server\.key_secret"):
        PolicyServer(ToyPolicy(), port=0, keys=tmp_path)


def test_a_server_that_nobody_could_use_is_refused(keys):
    for path in (keys / "clients").iterdir():
        path.unlink()
    with pytest.raises(SpecError, match="no client is listed"):
        ServerKeys.load(keys)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda path: path.write_text(""), "holds no key"),
        (lambda path: path.write_bytes(bytes(range(256))), "holds no key"),
        (lambda path: path.write_text('curve\n    public-key = "short"\n'), "holds no key of 40"),
        (lambda path: path.write_text(f'curve\n    public-key = "{"~" * 40}"\n'), "in Z85"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read"),
    ],
    ids=["empty", "binary", "short", "not Z85", "a folder", "a dead link"],
)
def test_a_file_of_a_client_that_holds_no_key_keeps_the_server_from_starting(keys, spoil, problem):
    spoil(keys / "clients" / "spoilt.key")
    with pytest.raises(SpecError, match=rf"spoilt\.key .*{problem}|spoilt\.key {problem}"):
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, keys=keys)


def test_rejected_clients_are_logged(secured, keys, tmp_path, caplog):
    write_keys(tmp_path / "other", ["robot1"])
    other = tmp_path / "other"
    stranger = ClientKeys.load(other / "server.key", other / "robot1.key_secret")
    unlisted = {"server_key": keys / "server.key", "keys": other / "robot1.key_secret"}
    astray = {"server_key": other / "server.key", "keys": keys / "robot1.key_secret"}
    for settings, said in [
        (unlisted, f"from 127.0.0.1 failed: its key {stranger.public.decode()} is not listed"),
        (
            astray,
            "address with the key of another server failed: the client was rejected",
        ),
        ({}, "address without encryption failed: the client was rejected"),
    ]:
        with PolicyClient("127.0.0.1", secured.port, timeout_ms=100, **settings) as client:
            assert not client.ping()
            wait_until(lambda said=said: said in caplog.text)


def test_a_secret_that_others_can_read_is_refused(keys):
    (keys / "server.key_secret").chmod(0o644)
    with pytest.raises(SpecError, match="chmod 600"):
        ServerKeys.load(keys)


def test_a_public_file_in_place_of_the_secret_one_is_named(keys):
    with pytest.raises(SpecError, match="holds no secret key"):
        ClientKeys.load(keys / "server.key", keys / "clients" / "robot1.key")


@pytest.mark.parametrize("server_key", ["", "short", "x" * 41])
def test_a_server_key_that_is_none_is_refused(keys, server_key):
    with pytest.raises(SpecError, match="server_key is neither"):
        PolicyClient(server_key=server_key, keys=keys / "robot1.key_secret")


@pytest.mark.parametrize("only", ["server_key", "keys"])
def test_a_client_needs_both_keys(keys, only):
    given = {"server_key": keys / "server.key", "keys": keys / "robot1.key_secret"}
    with pytest.raises(SpecError, match="go together"):
        PolicyClient(**{only: given[only]})


# The command


def test_the_command_makes_keys_and_says_what_to_do(tmp_path, capsys):
    folder = tmp_path / "keys"
    assert main(["keys", str(folder), "--client", "arm"]) == 0
    told = capsys.readouterr().out
    for path in ("server.key", "server.key_secret", "clients/arm.key", "arm.key_secret"):
        assert (folder / path).exists()
        assert path in told
    assert main(["keys", str(folder), "--client", "arm"]) == 0
    assert "nothing new" in capsys.readouterr().out


def test_the_command_asks_a_secured_server(keys, secured, capsys):
    flags = ["--host", "127.0.0.1", "--port", str(secured.port)]
    keyed = ["--server-key", str(keys / "server.key"), "--keys", str(keys / "robot1.key_secret")]
    assert main(["ping", *flags, *keyed]) == 0
    assert "answers in" in capsys.readouterr().out
    assert main(["ping", *flags, "--timeout-ms", "300"]) == 1


# kill


@pytest.mark.parametrize(
    ("peer", "settings", "refused"),
    [
        ("192.0.2.7", {}, True),
        ("unknown address", {}, True),
        ("::ffff:192.0.2.7", {}, True),
        ("::ffff:127.0.0.1", {}, False),
        ("::1", {}, False),
        ("192.0.2.7", {"api_token": "s3cret"}, False),
        ("192.0.2.7", {"keys": True}, False),
    ],
)
def test_another_host_may_kill_only_where_it_has_shown_who_it_is(
    peer, settings, refused, keys, monkeypatch, sockets
):
    for transport in ("curve_server", "tcp_server"):
        monkeypatch.setattr(
            f"gr00t_policy_core.serving.transport.{transport}._peer", lambda *_: peer
        )
    if "keys" in settings:
        settings = {"keys": keys}
    pair = {"server_key": keys / "server.key", "keys": keys / "robot1.key_secret"}
    with (
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, **settings) as server,
        client_of(
            server, api_token=settings.get("api_token"), **(pair if "keys" in settings else {})
        ) as client,
    ):
        reply = client.send_request("kill")
        assert ("accepts it from its own host only" in reply.get("error", "")) is refused
        assert server.state == ("ready" if refused else "stopping")
