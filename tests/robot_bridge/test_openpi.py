"""openpi's websocket protocol, both ways: their client's messages at our server, ours at a server after theirs."""

import contextlib
import functools
import http.client
import os
import subprocess
import sys
import textwrap
import threading
import venv
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest

pytest.importorskip("websockets")

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

from common.errors import UserError
from policy.remote import RemotePolicy, RemotePolicyError, open_client
from policy.remote.names import Names
from policy.remote.openpi import LIBERO_NAMES
from robot_bridge.serving.openpi import OpenpiDoor
from tests.robot_bridge.policies import ConstantPolicy, observation, serving, until


def pack(value: Any) -> bytes:
    """As openpi_client.msgpack_numpy writes it."""

    def default(array: np.ndarray) -> dict:
        if isinstance(array, np.generic):
            return {b"__npgeneric__": True, b"data": array.item(), b"dtype": array.dtype.str}
        return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}

    return msgpack.packb(value, default=default)


def unpack(data: bytes | str) -> Any:
    """As openpi_client reads it; text is an error there."""

    def hook(fields: dict) -> Any:
        if b"__ndarray__" in fields:
            return np.ndarray(buffer=fields[b"data"], dtype=np.dtype(fields[b"dtype"]), shape=fields[b"shape"])
        return fields

    assert isinstance(data, bytes), data
    return msgpack.unpackb(data, object_hook=hook)


def libero(value: float, side: int = 32) -> dict[str, Any]:
    """What openpi's LIBERO client sends, with this policy's state."""
    return {
        "observation/image": np.zeros((side, side, 3), np.uint8),
        "observation/wrist_image": np.zeros((side, side, 3), np.uint8),
        "observation/state": np.full(9, value),
        "prompt": "pick up the milk",
    }


class NoisyPolicy(ConstantPolicy):
    """Every number of an observation tells in the action."""

    def act(self, images: np.ndarray, proprio: np.ndarray, text: list[str]) -> np.ndarray:
        seeds = [
            hash((image.tobytes(), state.tobytes(), line))
            for image, state, line in zip(images, proprio, text, strict=True)
        ]
        return np.stack([np.random.default_rng(abs(seed)).uniform(-1, 1, (16, 7)) for seed in seeds]).astype(np.float32)


@contextlib.contextmanager
def openpi_serving(policy: Any, token: str | None = None, rename: tuple[str, ...] = ()) -> Iterator[OpenpiDoor]:
    """Our server with its door for openpi's clients."""
    with serving(policy, token=token) as server:
        client = functools.partial(server.client, 5.0)
        names = Names.read(rename, policy.views, LIBERO_NAMES)
        door = OpenpiDoor("127.0.0.1", 0, names, client, server.description, server.unhealthy, token)
        server.before_the_end(door.close)
        door.start()
        until(lambda: server.unhealthy() is None)
        yield door


def health(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_client_gets_metadata_first_and_then_an_answer_to_each_observation():
    with openpi_serving(ConstantPolicy()) as door, connect(f"ws://127.0.0.1:{door.port}", compression=None) as client:
        metadata = unpack(client.recv())
        assert metadata["views"] == list(ConstantPolicy.views)
        assert metadata["action_horizon"] == 16
        for value in (0.25, 0.5):
            client.send(pack(libero(value)))
            reply = unpack(client.recv())
            assert reply["actions"].shape == (16, 7)
            assert (reply["actions"] == value).all()
        assert reply["server_timing"]["infer_ms"] >= reply["policy_timing"]["infer_ms"] > 0
        assert reply["server_timing"]["prev_total_ms"] > 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"observation/image": np.zeros((32, 32), np.uint8)}, "observation/image must be an image"),
        ({"observation/state": np.zeros(8)}, "7 joints and 2 fingers"),
        ({"observation/state": np.full(9, np.nan)}, "NaN"),
        ({"observation/state": "joints"}, "observation/state must be an array of numbers"),
        ({"prompt": ""}, "instruction"),
        ({"prompt": None}, "task"),
    ],
)
def test_what_is_wrong_with_an_observation_comes_back_as_text_and_the_next_is_answered(wrong: dict, says: str):
    with openpi_serving(ConstantPolicy()) as door, connect(f"ws://127.0.0.1:{door.port}", compression=None) as client:
        client.recv()
        client.send(pack(libero(0.5) | wrong))
        text = client.recv()
        assert isinstance(text, str)
        assert says in text
        for noise in (b"\xc1", "text", pack([1])):
            client.send(noise)
            assert isinstance(client.recv(), str)
        client.send(pack(libero(0.5)))
        assert (unpack(client.recv())["actions"] == 0.5).all()


def test_only_those_who_show_the_key_get_in_and_everybody_may_ask_for_health():
    with openpi_serving(ConstantPolicy(), token="key") as door:
        assert health(door.port) == (200, "OK\n")
        address = f"ws://127.0.0.1:{door.port}"
        for headers in ({}, {"Authorization": "Api-Key wrong"}):
            with pytest.raises(InvalidStatus, match="401"), connect(address, additional_headers=headers):
                pass
        with connect(address, additional_headers={"Authorization": "Api-Key key"}) as client:
            client.recv()
            client.send(pack(libero(0.5)))
            assert (unpack(client.recv())["actions"] == 0.5).all()


def test_health_is_told_while_the_policy_computes_and_requests_of_all_doors_are_batched():
    gate = threading.Event()
    gate.set()
    policy = ConstantPolicy(lambda images: gate.wait(5) and None)
    with openpi_serving(policy) as door:
        gate.clear()
        address = f"ws://127.0.0.1:{door.port}"
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connect(address, compression=None)) for _ in range(4)]
            for client in clients:
                client.recv()
                client.send(pack(libero(0.5)))
            with pytest.raises(TimeoutError):
                clients[0].recv(timeout=0.2)
            assert health(door.port) == (200, "OK\n")  # by the answer of a moment ago
            gate.set()
            for client in clients:
                assert (unpack(client.recv())["actions"] == 0.5).all()
    assert max(policy.batches) > 1


def test_another_set_up_s_names():
    rename = ("agentview=image", "proprio=joints+fingers", "action=arm:6+gripper:1")
    theirs = {"image": np.zeros((48, 64, 3), np.uint8), "eye_in_hand": np.zeros((32, 32, 3), np.uint8)}
    theirs |= {"joints": np.full(7, 0.5), "fingers": np.full(2, 0.5), "prompt": "go"}
    with openpi_serving(ConstantPolicy(), rename=rename) as door:
        with connect(f"ws://127.0.0.1:{door.port}", compression=None) as client:
            client.recv()
            client.send(pack(theirs))
            reply = unpack(client.recv())
            assert (reply["arm"].shape, reply["gripper"].shape) == ((16, 6), (16, 1))
        query = "agentview=image&proprio=joints:7+fingers:2&action=arm+gripper".replace(
            "arm+gripper", "arm:6+gripper:1"
        )
        ours = open_client(f"openpi://127.0.0.1:{door.port}?{query}")
        action, _ = ours.get_action(observation(0.5, rows=2))
        assert action["action"].shape == (2, 16, 7)
        ours.close()


@pytest.mark.parametrize("protocol", ["tcp", "groot", "openpi"])
def test_identical_observations_get_identical_actions_by_every_protocol(protocol: str):
    policy = NoisyPolicy()
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (3, 2, 32, 32, 3), dtype=np.uint8)
    proprio = generator.normal(size=(3, 9)).astype(np.float32)
    text = ["pick up the milk", "open the drawer", "go"]
    with serving(policy) as server:
        door = OpenpiDoor(
            "127.0.0.1", 0, LIBERO_NAMES, functools.partial(server.client, 5.0), server.description, server.unhealthy
        )
        server.before_the_end(door.close)
        door.start()
        place = server.endpoint.removeprefix("tcp://") if protocol != "openpi" else f"127.0.0.1:{door.port}"
        size = "" if protocol == "tcp" else "?image_size=32"
        remote = RemotePolicy(f"{protocol}://{place}{size}")
        assert (remote.views, remote.image_size, remote.action_horizon) == (policy.views, (32, 32), 16)
        np.testing.assert_array_equal(remote.act(images, proprio, text), policy.act(images, proprio, text))
        remote.close()


class ForeignServer:
    """A server after openpi's: no metadata to speak of, LIBERO's names, a traceback and the end for an answer."""

    def __init__(self, horizon: int = 10):
        self.seen: list[dict] = []
        self.horizon = horizon
        self.silent = threading.Event()
        self._server = serve(self._converse, "127.0.0.1", 0, compression=None, max_size=None)
        self.address = f"openpi://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _converse(self, connection: Any) -> None:
        connection.send(pack({}))
        for message in connection:
            request = unpack(message)
            self.seen.append(request)
            if self.silent.is_set():
                continue
            if request["prompt"] == "fail":
                connection.send("Traceback (most recent call last): ...")
                connection.close(1011)
                return
            state = request["observation/state"]
            actions = np.full((self.horizon, 7), state[0])
            connection.send(pack({"actions": actions, "server_timing": {"infer_ms": 20.0}}))

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def foreign() -> Iterator[ForeignServer]:
    server = ForeignServer()
    yield server
    server.close()


def test_our_client_learns_a_foreign_server_s_horizon_and_asks_row_by_row(foreign: ForeignServer):
    policy = RemotePolicy(foreign.address)
    assert (policy.image_size, policy.action_horizon) == ((224, 224), 10)
    assert foreign.seen[0]["observation/image"].shape == (224, 224, 3)
    images = np.zeros((2, 2, 224, 224, 3), np.uint8)
    actions = policy.act(images, np.array([[0.25] * 9, [0.5] * 9]), ["go", "go"])
    assert [float(rows[0, 0]) for rows in actions] == [0.25, 0.5]
    policy.close()


def test_a_foreign_server_s_error_is_told_and_the_next_request_connects_anew(foreign: ForeignServer):
    client = open_client(foreign.address, timeout=2.0)
    message = observation(0.5)
    with pytest.raises(RemotePolicyError, match="Traceback"):
        client.get_action(message | {"language": {"task": [["fail"]]}})
    with contextlib.suppress(RemotePolicyError):  # the connection is found to be gone
        client.get_action(message)
    action, info = client.get_action(message, observed_at=3.5)
    assert action["action"].shape == (1, 10, 7)
    assert info == {"infer_ms": 20.0, "observed_at": 3.5}
    assert client.ping()
    client.close()


def test_a_late_answer_is_never_taken_for_the_next_request_s(foreign: ForeignServer):
    client = open_client(foreign.address, timeout=0.3)
    client.get_action(observation(0.25))
    foreign.silent.set()
    with pytest.raises(RemotePolicyError, match=r"no answer .* within 0.3 s") as caught:
        client.get_action(observation(0.5))
    assert caught.value.code == "timeout"
    foreign.silent.clear()
    client.timeout = 5.0
    assert (client.get_action(observation(0.75))[0]["action"] == 0.75).all()
    client.close()


def test_a_server_that_is_not_there_and_one_that_refuses_are_told_apart():
    with pytest.raises(RemotePolicyError, match=r"no policy server at openpi://127\.0\.0\.1:9") as caught:
        open_client("openpi://127.0.0.1:9", timeout=0.5).describe()
    assert caught.value.code == "timeout"
    with openpi_serving(ConstantPolicy(), token="key") as door:
        with pytest.raises(RemotePolicyError, match="Api-Key") as caught:
            open_client(f"openpi://127.0.0.1:{door.port}", token="wrong").describe()
        assert caught.value.code == "unauthorized"


@pytest.mark.parametrize(
    "address", ["openpi:127.0.0.1", "http://x:1", "openpi://x:1?front=a", "openpi://x:1?image_size=2"]
)
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(UserError):
        open_client(address)


def test_options_that_a_protocol_does_not_have_are_refused():
    with pytest.raises(UserError, match="openpi:// has no jpeg_quality, keys"):
        open_client("openpi://x:1", keys="a", server_key=None, jpeg_quality=80)


@pytest.mark.slow
def test_openpi_s_own_client_gets_actions_from_our_server(tmp_path):
    """Their package wants numpy < 2, so it gets an environment of its own; it does not name all that it imports."""
    folder = tmp_path / "theirs"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "openpi-client", "typing-extensions"], check=True, timeout=600
    )
    script = """
        import sys, numpy as np
        from openpi_client.websocket_client_policy import WebsocketClientPolicy
        policy = WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]), api_key="key")
        assert policy.get_server_metadata()["action_horizon"] == 16
        observation = {
            "observation/image": np.zeros((224, 224, 3), np.uint8),
            "observation/wrist_image": np.zeros((224, 224, 3), np.uint8),
            "observation/state": np.full(9, 0.5),
            "prompt": "pick up the milk",
        }
        for _ in range(3):
            actions = policy.infer(observation)["actions"]
            assert actions.shape == (16, 7) and (actions == 0.5).all()
        try:
            policy.infer({**observation, "observation/state": np.zeros(3)})
        except RuntimeError as error:
            assert "7 joints and 2 fingers" in str(error)
        else:
            raise AssertionError("no error")
        print("actions", np.__version__)
    """
    with openpi_serving(ConstantPolicy(), token="key") as door:
        command = [python, "-c", textwrap.dedent(script), str(door.port)]
        bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=bare, check=False)
    print(done.stdout, done.stderr, file=sys.stderr)
    assert done.returncode == 0
    assert done.stdout.startswith("actions 1.")
