"""The server over real sockets: who is answered, with what, and who cannot disturb whom."""

import io
import itertools
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import msgpack
import numpy as np
import pytest
import zmq
from PIL import Image

from common.errors import UserError
from policy.interface import Plan, Policy, inpaints
from policy.remote import PolicyClient, RemotePolicy, RemotePolicyError, wire
from robot_bridge.keys import make_keys
from robot_bridge.server import warm_up
from tests.robot_bridge.policies import (
    ConstantPolicy,
    ContinuingPolicy,
    Gate,
    observation,
    raw_client,
    receive,
    resident_bytes,
    send,
    serving,
    until,
)


def test_an_action_comes_back_with_its_own_time_stamp():
    with serving(ConstantPolicy()) as server, PolicyClient(server.endpoint) as client:
        action, info = client.get_action(observation(0.5), observed_at=12.25)
    assert action["action"].shape == (1, 16, 7)
    assert (action["action"] == 0.5).all()
    assert info["observed_at"] == 12.25


def test_every_client_gets_its_own_answer_while_requests_are_batched():
    policy = ConstantPolicy(lambda images: time.sleep(0.005))
    with serving(policy, max_batch=8, max_wait=0.02) as server:

        def ask(number: int) -> bool:
            with PolicyClient(server.endpoint) as client:
                values = [number + step / 100 for step in range(10)]
                return all(np.allclose(client.get_action(observation(value))[0]["action"], value) for value in values)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(8)))
    assert max(policy.batches) > 1
    assert sum(policy.batches) == 80


def test_the_policy_interface_over_the_wire():
    with serving(ConstantPolicy(), max_batch=4) as server:
        remote = RemotePolicy(server.endpoint)
        assert isinstance(remote, Policy)
        assert (remote.views, remote.image_size, remote.action_horizon) == (ConstantPolicy.views, (32, 32), 16)
        images = np.zeros((6, 2, 32, 32, 3), np.uint8)  # more than the server's batch
        proprio = np.arange(6, dtype=np.float32)[:, None].repeat(9, 1)
        np.testing.assert_array_equal(remote.act(images, proprio, ["a"] * 6)[:, 3, 2], np.arange(6))
        indices, codes = remote.predict_codes(images[:2], ["a"] * 2)
        assert indices.shape == (2, 15)
        assert codes.shape == (2, 15, 4)
        queries = np.random.default_rng(0).uniform(-1, 1, (1, 2, 1, 5, 2)).astype(np.float32)
        np.testing.assert_array_equal(remote.predict_traj(images[:1], queries, ["a"])[:, :, 7], queries[:, :, 0])
        assert remote.describe()["name"] == "constant"
        remote.close()


def a_plan(value: float, rows: int = 1) -> Plan:
    """The first half is to be kept, the second is free."""
    weights = np.repeat([[1.0, 0.0]], 8, axis=1).repeat(rows, 0).astype(np.float32)
    return Plan(np.full((rows, 16, 7), value, np.float32), weights)


def test_a_policy_that_goes_on_with_a_plan_is_told_it_and_others_in_the_batch_are_free():
    policy = ContinuingPolicy()
    with serving(policy) as server, PolicyClient(server.endpoint) as client:
        action = client.get_action(observation(0.5), plan=a_plan(-1.0))[0]["action"][0]
        free = client.get_action(observation(0.5))[0]["action"][0]
        remote = RemotePolicy(server.endpoint)
        assert inpaints(remote)
        images = np.zeros((3, 2, 32, 32, 3), np.uint8)
        several = remote.act(images, np.full((3, 9), 0.5), ["a"] * 3, a_plan(-1.0, rows=3))
        remote.close()
    assert (action[:8] == -1).all()
    assert (action[8:] == 0.5).all()
    assert (free == 0.5).all()
    np.testing.assert_array_equal(several, np.stack([action] * 3))


def test_a_plan_is_left_aside_by_a_policy_that_has_no_use_for_it():
    with serving(ConstantPolicy()) as server, PolicyClient(server.endpoint) as client:
        assert (client.get_action(observation(0.5), plan=a_plan(-1.0))[0]["action"] == 0.5).all()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("all of it", "plan.actions must be a float array of 3 dimensions"),
        ({"actions": np.zeros((1, 15, 7), np.float32)}, r"plan.actions must begin \(1, 16\)"),
        ({"actions": np.full((1, 16, 7), np.nan, np.float32)}, "plan.actions is NaN"),
        ({"actions": np.zeros((1, 16, 7), np.float32)}, "plan.weights must be a float array of 2 dimensions"),
    ],
)
def test_a_broken_plan_gets_a_clear_error(plan, message: str):
    with (
        serving(ContinuingPolicy()) as server,
        PolicyClient(server.endpoint) as client,
        pytest.raises(RemotePolicyError, match=message),
    ):
        client.get_action(observation(0.5), {"plan": plan})


def test_ping_and_metrics_are_answered_while_the_policy_computes():
    gate = Gate()
    with serving(ConstantPolicy(gate)) as server, PolicyClient(server.endpoint) as client:
        busy = raw_client(server.endpoint)
        client.ping()  # connected and negotiated
        send(busy, 1)
        assert gate.entered.wait(5)
        started = time.monotonic()
        assert client.ping()
        assert "policy_waiting_requests 0" in client.call("metrics")["metrics"]
        assert time.monotonic() - started < 0.5
        gate.opened.set()
        assert receive(busy)["id"] == 1
        busy.close()


def test_a_newer_request_replaces_the_older_one_that_waits():
    gate = Gate()
    with serving(ConstantPolicy(gate)) as server:
        first, second = raw_client(server.endpoint), raw_client(server.endpoint)
        send(first, 1)
        assert gate.entered.wait(5)
        send(second, 10)
        send(second, 11)
        dropped = receive(second)
        assert (dropped["id"], dropped["code"]) == (10, "superseded")
        gate.opened.set()
        served = receive(second)
        assert served["id"] == 11
        assert (served["reply"][0]["action"] == 11).all()
        assert receive(first)["id"] == 1
        first.close()
        second.close()


def test_an_expired_request_is_told_so_and_never_computed():
    gate = Gate()
    policy = ConstantPolicy(gate)
    with serving(policy) as server:
        first, late = raw_client(server.endpoint), raw_client(server.endpoint)
        send(first, 1)
        assert gate.entered.wait(5)
        send(late, 2, deadline=0.01)
        until(lambda: "policy_waiting_requests 1" in server.metrics.text())
        time.sleep(0.02)
        gate.opened.set()
        assert receive(late)["code"] == "expired"
        assert receive(first)["id"] == 1
        first.close()
        late.close()
    assert policy.batches == [1]


def test_a_reset_drops_what_the_same_client_has_waiting():
    gate = Gate()
    with serving(ConstantPolicy(gate)) as server:
        first, second = raw_client(server.endpoint), raw_client(server.endpoint)
        send(first, 1)
        assert gate.entered.wait(5)
        send(second, 2)
        send(second, 3, "reset")
        assert [receive(second).get("code"), receive(second)["reply"]["status"]] == ["superseded", "ok"]
        gate.opened.set()
        receive(first)
        first.close()
        second.close()


BROKEN = {
    "lacks video.eye_in_hand": lambda o: o["video"].pop("eye_in_hand"),
    "must be (b, t, h, w, 3)": lambda o: o["video"].update(agentview=np.zeros((1, 1, 32, 32, 4), np.uint8)),
    "8 to 4096 pixels a side": lambda o: o["video"].update(agentview=np.zeros((1, 1, 4, 32, 3), np.uint8)),
    "must be a uint8 array": lambda o: o["video"].update(agentview=np.zeros((1, 1, 32, 32, 3), np.float32)),
    "cameras disagree": lambda o: o["video"].update(agentview=np.zeros((2, 1, 32, 32, 3), np.uint8)),
    "state.proprio must be (1, t, 9)": lambda o: o["state"].update(proprio=np.zeros((1, 1, 7), np.float32)),
    "NaN": lambda o: o["state"]["proprio"].__setitem__((0, 0, 0), np.nan),
    "state.proprio must be an array": lambda o: o.pop("state"),
    "language.task": lambda o: o.update(language={"task": 3}),
    "no joint positions": lambda o: o["state"]["proprio"].__setitem__((0, 0, 0), 1e38),
    "an instruction must say": lambda o: o.update(language={"task": [[" "]]}),
    "in 1 to 1000 characters": lambda o: o.update(language={"task": [["go " * 1000]]}),
    "'video' must be a dict": lambda o: o.update(video="x"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_observation_gets_a_clear_error(message: str):
    broken = observation()
    BROKEN[message](broken)
    with serving(ConstantPolicy()) as server, PolicyClient(server.endpoint) as client:
        with pytest.raises(RemotePolicyError) as caught:
            client.get_action(broken)
        assert message in str(caught.value)
        assert caught.value.code == "bad_request"
        client.get_action(observation())  # the server lives


def deep(levels: int) -> list:
    nested: list = []
    for _ in range(levels):
        nested = [nested]
    return nested


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG of a few hundred bytes whose header claims so many pixels."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    data = stream.getvalue()
    sizes = data.index(b"\xff\xc0") + 5
    return data[:sizes] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[sizes + 4 :]


JPEG = jpeg_of(20_000, 20_000)
SILENCERS = {
    "a JPEG that claims 20,000 x 20,000 pixels": [
        msgpack.packb({"data": {"observation": {"x": {"__jpeg__": [[0, len(JPEG)]], "shape": [8, 8, 3]}}}}),
        JPEG,
    ],
    "an array for a version": wire.encode({"v": np.arange(3), "endpoint": "ping"}),
    "another array for a version": wire.encode({"v": np.arange(3), "endpoint": "ping"}, wire.Encoding.NPY),
    "a time stamp a thousand deep": [msgpack.packb({"v": 1, "observed_at": deep(500), "endpoint": "ping"})],
    "an id a thousand deep": [msgpack.packb({"v": 1, "id": deep(500), "endpoint": "ping"})],
    "data a thousand deep": [b"\x81\xa4data" + b"\x91" * 1000 + b"\xc0"],
    "too deep to read": [b"\x91" * 100_000 + b"\xc0"],
    "an array for a token": wire.encode({"api_token": np.arange(3), "endpoint": "ping"}, wire.Encoding.NPY),
    "an array for an endpoint": wire.encode({"endpoint": np.arange(3)}, wire.Encoding.NPY),
    "an array for a deadline": wire.encode({"deadline": np.arange(3)}, wire.Encoding.NPY),
    "a list for an endpoint": wire.encode({"endpoint": ["ping"]}),
    "a number for a message": wire.encode(3),
    "nothing": [b""],
    "16 MiB of empty maps": [b"\xdd\x00\x00\x03\xe8" + (b"\xdc\x03\xe8" + b"\x80" * 1000) * (16 << 10)],
}


@pytest.mark.parametrize("token", [None, "secret"])
@pytest.mark.parametrize("name", SILENCERS)
def test_no_single_message_silences_the_server(name: str, token: str | None):
    with serving(ConstantPolicy(), token=token) as server:
        socket = raw_client(server.endpoint)
        begun = time.monotonic()
        socket.send_multipart([b"", *SILENCERS[name]])
        assert {"error", "status"} & receive(socket).keys()
        assert time.monotonic() - begun < 1.0
        with PolicyClient(server.endpoint, token=token) as client:
            assert client.get_action(observation(5))[0]["action"][0, 0, 0] == 5
        until(lambda: server.metrics.ready)
        assert server.unhealthy() is None
        socket.close()


def test_a_mistake_of_the_server_s_own_is_an_error_too():
    with serving(ConstantPolicy(), limits=replace(wire.DEFAULT_LIMITS, frames="two")) as server:
        socket = raw_client(server.endpoint)
        for number in range(3):
            send(socket, number)
            reply = receive(socket)
            assert reply["code"] == "internal"
            assert "the server failed on this message: TypeError" in reply["error"]
        until(lambda: server.metrics.ready)
        assert "the server failed" in (server.unhealthy() or "")
        socket.close()


def test_an_answer_that_cannot_travel_is_an_error():
    policy = ConstantPolicy()
    policy.predict_codes = lambda *_: ({1, 2}, object())
    with serving(policy) as server, PolicyClient(server.endpoint) as client:
        with pytest.raises(RemotePolicyError, match="cannot travel"):
            client.call("predict_codes", {"observation": observation()})
        client.get_action(observation())


def test_one_client_s_poison_does_not_fail_its_batch():
    def choke(images: np.ndarray) -> None:
        if images.max() > 0:
            raise RuntimeError("a pixel too bright")

    with serving(ConstantPolicy(choke), max_wait=0.2) as server:
        good, bad = raw_client(server.endpoint), raw_client(server.endpoint)
        for socket in (good, bad):  # both are known as active, so the first waits for the second
            send(socket, 1)
            receive(socket)
        bright = observation()
        bright["video"]["agentview"][:] = 255
        send(good, 2)
        send(bad, 2, data={"observation": bright})
        assert "reply" in receive(good)
        assert "a pixel too bright" in receive(bad)["error"]
        good.close()
        bad.close()


def test_actions_that_are_not_finite_are_an_error():
    policy = ConstantPolicy()
    policy.act = lambda *_: np.full((1, 16, 7), np.nan)
    with (
        serving(policy) as server,
        PolicyClient(server.endpoint) as client,
        pytest.raises(RemotePolicyError, match="finite"),
    ):
        client.get_action(observation())


def test_what_the_policy_asks_the_user_to_mend_is_no_failure_of_the_policy(caplog):
    def refuse(images: np.ndarray) -> None:
        raise UserError("this policy knows no such instruction")

    with serving(ConstantPolicy(refuse)) as server, PolicyClient(server.endpoint) as client:
        with pytest.raises(RemotePolicyError, match="knows no such instruction") as caught:
            client.get_action(observation())
        assert caught.value.code == "bad_request"
    assert not any(record.exc_info for record in caplog.records)


def test_an_instruction_that_the_policy_never_learned_is_told_with_the_answer():
    policy = ConstantPolicy()
    policy.describe = lambda: {"name": "constant", "instructions": ["pick up the milk", "open the drawer"]}
    with serving(policy) as server, PolicyClient(server.endpoint) as client:
        assert "warning" not in client.get_action(observation())[1]
        unheard = observation() | {"language": {"task": [["pick up a cup of milk"]]}}
        assert "nearest that it knows is 'pick up the milk'" in client.get_action(unheard)[1]["warning"]
        remote = RemotePolicy(server.endpoint)
        with pytest.warns(UserWarning, match="never learned 'close it'"):
            remote.act(np.zeros((1, 2, 32, 32, 3), np.uint8), None, ["close it"])
        remote.close()


def test_a_wrong_token_opens_nothing():
    with serving(ConstantPolicy(), token="secret") as server:
        for token in (None, "wrong", "sécret"):
            with PolicyClient(server.endpoint, token=token, encoding="npy") as client:
                for call in (client.ping, client.describe, lambda c=client: c.get_action(observation())):
                    with pytest.raises(RemotePolicyError, match="Unauthorized: Invalid API token"):
                        call()
        with PolicyClient(server.endpoint, token="secret") as client:
            assert client.ping()


def test_only_clients_with_admitted_keys_get_through(tmp_path):
    make_keys(tmp_path / "here", "arm")
    make_keys(tmp_path / "elsewhere", "stranger")
    server_key = tmp_path / "here" / "server.key"
    with serving(ConstantPolicy(), keys=tmp_path / "here") as server:
        with PolicyClient(server.endpoint, keys=tmp_path / "here" / "arm.key_secret", server_key=server_key) as client:
            assert client.ping()
        stranger = tmp_path / "elsewhere" / "stranger.key_secret"
        with PolicyClient(server.endpoint, keys=stranger, server_key=server_key, timeout=0.3) as client:
            assert not client.ping()
        with PolicyClient(server.endpoint, timeout=0.3) as client:
            assert not client.ping()
    assert (tmp_path / "here" / "server.key_secret").stat().st_mode & 0o077 == 0
    with pytest.raises(UserError, match="exists"):
        make_keys(tmp_path / "here", "arm")


def test_two_hundred_clients_are_served():
    with serving(ConstantPolicy(), max_batch=32) as server:
        sockets = [raw_client(server.endpoint) for _ in range(200)]
        for number, socket in enumerate(sockets):
            send(socket, number)
        for number, socket in enumerate(sockets):
            reply = receive(socket)
            assert reply["id"] == number
            assert (reply["reply"][0]["action"] == number).all()
            socket.close()


def test_a_client_that_never_reads_disturbs_nobody():
    with serving(ConstantPolicy()) as server, PolicyClient(server.endpoint) as client:
        deaf = raw_client(server.endpoint, rcvhwm=1, sndhwm=1, rcvbuf=4096, sndtimeo=100)
        numbers = itertools.count()

        def has_lost_a_reply_by_now() -> bool:
            with suppress(zmq.Again):
                send(deaf, next(numbers), "metrics")
            return server.metrics.lost() > 0

        until(has_lost_a_reply_by_now, timeout=60)
        assert client.ping()
        assert client.get_action(observation(1))[0]["action"][0, 0, 0] == 1
        deaf.close()


def test_stop_answers_what_is_in_and_refuses_what_comes():
    gate = Gate()
    with serving(ConstantPolicy(gate)) as server:
        first, second, third = (raw_client(server.endpoint) for _ in range(3))
        send(first, 1)
        assert gate.entered.wait(5)
        send(second, 2)
        until(lambda: "policy_waiting_requests 1" in server.metrics.text())
        server.stop()
        send(third, 3)
        assert receive(third)["code"] == "stopping"
        gate.opened.set()
        assert receive(first)["id"] == 1
        assert (receive(second)["reply"][0]["action"] == 2).all()
        for socket in (first, second, third):
            socket.close()


def test_warm_up_calls_the_policy_once_a_size():
    policy = ConstantPolicy()
    warm_up(policy, (1, 4))
    assert policy.batches == [1, 4]


def test_warm_up_says_an_instruction_that_the_policy_knows():
    class Listening(ConstantPolicy):
        def act(self, images, proprio, text):
            assert list(text) == ["open it"] * len(images)
            return super().act(images, proprio, text)

        def describe(self):
            return super().describe() | {"instructions": ["open it", "close it"]}

    warm_up(Listening(), (2,))


@pytest.fixture
def nothing_kept(monkeypatch):
    """Lets no log record reach pytest, which keeps all of them."""
    monkeypatch.setattr(logging.getLogger("robot_bridge.server"), "filters", [lambda record: False])


@pytest.mark.slow
def test_a_soak_of_ten_minutes_at_200_requests_a_second(nothing_kept):
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    with serving(ConstantPolicy()) as server, PolicyClient(server.endpoint) as client:
        memory = []
        started = time.monotonic()
        for number in range(int(seconds * 200)):
            time.sleep(max(0.0, started + number / 200 - time.monotonic()))
            assert client.get_action(observation(number))[0]["action"][0, 0, 0] == np.float32(number)
            if number % 1000 == 999:
                memory.append(resident_bytes())
    assert memory[-1] / memory[len(memory) // 4] - 1 < 0.02


def test_a_message_from_the_future_is_refused_by_version():
    with serving(ConstantPolicy()) as server:
        socket = raw_client(server.endpoint)
        socket.send_multipart([b"", msgpack.packb({"v": 2, "id": 5, "endpoint": "ping"})])
        reply = receive(socket)
        assert (reply["id"], reply["code"]) == (5, "version")
        socket.close()
