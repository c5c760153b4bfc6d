"""Both ways across the fence: a client written after Isaac-GR00T's against our server, ours against such a server."""

import io
import json
import threading

import msgpack
import numpy as np
import pytest
import zmq

from common.errors import UserError
from policy.remote import PolicyClient, RemotePolicy, RemotePolicyError, open_client
from robot_bridge.resize import resize
from tests.robot_bridge.policies import ConstantPolicy, observation, serving

NPY, MSGPACK_NUMPY = "npy", "msgpack-numpy"


def groot_pack(value, form: str) -> bytes:
    """What a GR00T client or server puts on the wire: N1.6's npy, or msgpack-numpy as the later copies do."""

    def default(array: np.ndarray):
        if form == NPY:
            stream = io.BytesIO()
            np.save(stream, array, allow_pickle=False)
            return {"__ndarray_class__": True, "as_npy": stream.getvalue()}
        return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.tobytes()}

    return msgpack.packb(value, default=default)


def groot_unpack(data: bytes, form: str):
    """Reads one form only, as the real ones do: a reply in the other form comes out as a dict."""

    def hook(fields: dict):
        if form == NPY and "__ndarray_class__" in fields:
            return np.load(io.BytesIO(fields["as_npy"]), allow_pickle=False)
        if form == MSGPACK_NUMPY and b"nd" in fields:
            return np.frombuffer(fields[b"data"], np.dtype(fields[b"type"])).reshape(fields[b"shape"])
        return fields

    return msgpack.unpackb(data, object_hook=hook)


class GrootClient:
    """REQ socket, one message a request, as serving.md's N1.6 column has it."""

    def __init__(self, address: str, form: str, token: str | None = None):
        self.form, self.token = form, token
        self.socket = zmq.Context.instance().socket(zmq.REQ)
        self.socket.linger = 0
        self.socket.rcvtimeo = 5000
        self.socket.connect(address)

    def call(self, endpoint: str | None, data: dict | None = None):
        request = {} if endpoint is None else {"endpoint": endpoint}
        if data is not None:
            request["data"] = data
        if self.token:
            request["api_token"] = self.token
        self.socket.send(groot_pack(request, self.form))
        reply = groot_unpack(self.socket.recv(), self.form)
        if isinstance(reply, dict) and "error" in reply:
            raise RuntimeError(reply["error"])
        return reply


def modality(entry: dict, release: str) -> dict:
    """A modality configuration as a client of that release reads it; anything else is an error there."""
    if release == "1.5":
        assert entry["__ModalityConfig_class__"]
        return json.loads(entry["as_json"])
    assert entry["__ModalityConfig__" if release == "1.7" else "__ModalityConfig_class__"]
    return dict(**entry["as_json"])


@pytest.mark.parametrize(("release", "form"), [("1.6", NPY), ("1.7", MSGPACK_NUMPY)])
def test_clients_of_n1_6_and_n1_7_work_with_our_server(release: str, form: str):
    with serving(ConstantPolicy(), token="key") as server:
        client = GrootClient(server.endpoint, form, "key")
        assert client.call("ping") == {"status": "ok", "message": "Server is running"}
        for endpoint in ("get_action", None):  # no endpoint means get_action
            action, info = client.call(endpoint, {"observation": observation(0.25), "options": None})
            assert action["action"].shape == (1, 16, 7)
            assert (action["action"] == 0.25).all()
            assert isinstance(info, dict)
        assert isinstance(client.call("reset", {"options": None}), dict)
        config = client.call("get_modality_config")
        assert modality(config["video"], release)["modality_keys"] == list(ConstantPolicy.views)
        assert len(modality(config["action"], release)["delta_indices"]) == 16
        with pytest.raises(RuntimeError, match=r"video\.agentview"):
            client.call("get_action", {"observation": {}})
        with pytest.raises(RuntimeError, match="Unknown endpoint"):
            client.call("kill")
        with pytest.raises(RuntimeError, match="Unauthorized: Invalid API token"):
            GrootClient(server.endpoint, form).call("ping")
        client.socket.close()


def flat(value: float, rows: int | None = None) -> dict:
    """An observation of N1.5: one without a batch dimension, (t, h, w, c), or ``rows`` of them, (b, t, h, w, c)."""
    shape = (1,) if rows is None else (rows, 1)
    return {
        "video.agentview": np.zeros((*shape, 32, 32, 3), np.uint8),
        "video.eye_in_hand": np.zeros((*shape, 32, 32, 3), np.uint8),
        "state.proprio": np.full((*shape, 9), value),
        "annotation.human.action.task_description": ["pick up the milk"] * (rows or 1),
    }


def test_clients_of_n1_5_work_with_our_server():
    with serving(ConstantPolicy(), token="key", groot="1.5") as server:
        client = GrootClient(server.endpoint, NPY, "key")
        assert client.call("ping") == {"status": "ok", "message": "Server is running"}
        action = client.call("get_action", flat(0.75))
        assert action["action"].shape == (16, 7)
        assert (action["action"] == 0.75).all()
        assert client.call("get_action", flat(0.5, rows=3))["action"].shape == (3, 16, 7)
        config = client.call("get_modality_config")
        assert modality(config["video"], "1.5")["modality_keys"] == ["video.agentview", "video.eye_in_hand"]
        assert modality(config["state"], "1.5") == {"delta_indices": [0], "modality_keys": ["state.proprio"]}
        broken = flat(0.0) | {"video.agentview": np.zeros((32, 32, 3), np.uint8)}
        with pytest.raises(RuntimeError, match=r"video\.agentview must be"):
            client.call("get_action", broken)
        with pytest.raises(RuntimeError, match="Unauthorized: Invalid API token"):
            GrootClient(server.endpoint, NPY).call("ping")
        client.socket.close()


OTHER_NAMES = [
    "agentview=front",
    "eye_in_hand=wrist",
    "proprio=arm+gripper",
    "task=annotation.human.action.task_description",
    "action=arm:6+gripper:1",
]


@pytest.mark.parametrize("release", ["1.5", "1.6", "1.7"])
def test_another_set_up_s_names_and_image_sizes(release: str):
    image = np.random.default_rng(0).integers(0, 256, (1, 480, 640, 3), dtype=np.uint8)
    parts = {"video.front": image, "video.wrist": image[:, :64, :64]}
    parts |= {"state.arm": np.full((1, 7), 0.5), "state.gripper": np.full((1, 2), 0.5)}
    parts |= {"annotation.human.action.task_description": ["go"], "annotation.human.validity": ["valid"]}
    seen: list[np.ndarray] = []
    with serving(
        ConstantPolicy(lambda images: seen.append(images.copy())), rename=OTHER_NAMES, groot=release
    ) as server:
        client = GrootClient(server.endpoint, MSGPACK_NUMPY if release == "1.7" else NPY)
        if release == "1.5":
            action = client.call("get_action", parts)
            assert {name: part.shape for name, part in action.items()} == {
                "action.arm": (16, 6),
                "action.gripper": (16, 1),
            }
        else:
            nested: dict = {"video": {}, "state": {}, "language": {}}
            for name, value in parts.items():
                group, _, rest = name.partition(".")
                if group == "annotation":
                    nested["language"][name] = [value]
                else:
                    nested[group][rest] = value[None]
            action, _ = client.call("get_action", {"observation": nested})
            assert {name: part.shape for name, part in action.items()} == {"arm": (1, 16, 6), "gripper": (1, 16, 1)}
        config = client.call("get_modality_config")
        prefix = "video." if release == "1.5" else ""
        assert modality(config["video"], release)["modality_keys"] == [f"{prefix}front", f"{prefix}wrist"]
        assert modality(config["language"], release)["modality_keys"] == ["annotation.human.action.task_description"]
        client.socket.close()
        with PolicyClient(server.endpoint) as ours:  # our own names are understood beside them
            assert ours.get_action(observation(0.5))[0]["action"].shape == (1, 16, 7)
    np.testing.assert_array_equal(seen[0][0, 0], resize(image[0], (32, 32)))
    np.testing.assert_array_equal(seen[0][0, 1], resize(image[0, :64, :64], (32, 32)))


class GrootServer(threading.Thread):
    """A REP loop after Isaac-GR00T's: one request at a time, no envelope but theirs, one array form."""

    def __init__(self, form: str, token: str | None = None):
        super().__init__(daemon=True)
        self.form, self.token = form, token
        self.socket = zmq.Context.instance().socket(zmq.REP)
        self.address = f"tcp://127.0.0.1:{self.socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.handlers = {
            "ping": lambda: {"status": "ok", "message": "Server is running"},
            "kill": self._kill,
            "get_action": self._get_action,
            "reset": lambda options=None: {},
            "get_modality_config": lambda: {
                group: {"__ModalityConfig_class__": True, "as_json": {"delta_indices": steps, "modality_keys": keys}}
                for group, steps, keys in (
                    ("video", [0], ["agentview"]),
                    ("state", [0], ["proprio"]),
                    ("action", list(range(16)), ["arm", "gripper"]),
                    ("language", [0], ["annotation.human.action.task_description"]),
                )
            },
        }
        self.running = True
        self.start()

    def _kill(self) -> dict:
        self.running = False
        return {}

    def _get_action(self, observation: dict, options: dict | None = None) -> list:
        state = observation["state"]["proprio"]
        assert isinstance(state, np.ndarray), "must be a numpy array. Got dict"
        assert observation["video"]["agentview"].dtype == np.uint8
        return [{"arm": np.full((1, 16, 6), state[0, -1, 0]), "gripper": np.ones((1, 16, 1), np.float32)}, {}]

    def run(self) -> None:
        while self.running:
            try:
                request = groot_unpack(self.socket.recv(), self.form)
                while self.socket.getsockopt(zmq.RCVMORE):  # it knows single messages only
                    self.socket.recv()
                if self.token and request.get("api_token") != self.token:
                    reply = {"error": "Unauthorized: Invalid API token"}
                else:
                    handler = self.handlers.get(request.get("endpoint", "get_action"))
                    if handler is None:
                        raise ValueError(f"Unknown endpoint: {request['endpoint']}")
                    reply = handler(**request.get("data", {}))
                self.socket.send(groot_pack(reply, self.form))
            except Exception as error:
                self.socket.send(groot_pack({"error": str(error)}, self.form))


@pytest.mark.parametrize(("form", "encoding"), [(NPY, None), (MSGPACK_NUMPY, "msgpack-numpy-bytes")])
def test_our_client_works_with_a_groot_server(form: str, encoding: str | None):
    server = GrootServer(form, token="key")
    with PolicyClient(server.address, encoding=encoding, token="key") as client:
        assert client.ping()
        action, _ = client.get_action(observation(0.5))
        assert (action["arm"] == 0.5).all()
        assert client.reset() == {}
        assert client.get_modality_config()["video"]["modality_keys"] == ["agentview"]
        with pytest.raises(RemotePolicyError, match="agentview"):
            client.get_action({"state": {"proprio": np.zeros((1, 1, 9), np.float32)}, "video": {}})
        with pytest.raises(RemotePolicyError, match="Unauthorized"), PolicyClient(server.address) as stranger:
            stranger.get_action(observation())
        client.call("kill")
    server.join(5)
    server.socket.close(linger=0)  # not in its thread: a client loses what it has not read when the connection ends


@pytest.mark.parametrize(("form", "release"), [(NPY, "1.6"), (MSGPACK_NUMPY, "1.7")])
def test_a_groot_server_is_a_policy_too(form: str, release: str):
    server = GrootServer(form)
    address = server.address.replace("tcp://", "groot://")
    policy = RemotePolicy(f"{address}?release={release}&image_size=32")
    assert (policy.views, policy.image_size, policy.action_horizon) == (("agentview",), (32, 32), 16)
    actions = policy.act(np.zeros((2, 1, 32, 32, 3), np.uint8), np.full((2, 9), 0.5, np.float32), ["go", "go"])
    assert actions.shape == (2, 16, 7)
    assert (actions[..., :6] == 0.5).all()
    assert (actions[..., 6] == 1).all()
    policy.close()


@pytest.mark.parametrize("release", ["1.5", "1.6", "1.7"])
def test_our_groot_client_speaks_every_release_with_another_set_up_s_names(release: str):
    with serving(ConstantPolicy(), rename=OTHER_NAMES, groot=release, token="key") as server:
        place = server.endpoint.replace("tcp://", "groot://")
        names = "agentview=front&eye_in_hand=wrist&proprio=arm:7+gripper:2"
        client = open_client(f"{place}?release={release}&image_size=24x32&{names}", token="key")
        described = client.describe()
        assert (described["views"], described["image_size"]) == (["agentview", "eye_in_hand"], [24, 32])
        action, _ = client.get_action(observation(0.5, rows=2))
        assert {name: part.shape for name, part in action.items()} == {"arm": (2, 16, 6), "gripper": (2, 16, 1)}
        assert client.ping()
        client.close()
        with pytest.raises(UserError, match=r"write \?proprio=arm:WIDTH\+gripper:WIDTH"):
            open_client(f"{place}?release={release}", token="key").describe()


def test_what_is_no_groot_server_is_named():
    with pytest.raises(UserError, match=r"release is 1\.5, 1\.6, 1\.7"):
        open_client("groot://127.0.0.1:9?release=2")
    with pytest.raises(RemotePolicyError, match="no answer"):
        open_client("groot://127.0.0.1:9", timeout=0.1).describe()
