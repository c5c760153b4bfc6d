"""Both ways across the fence: a client written after Isaac-GR00T's against our server, ours against such a server."""

import io
import threading

import msgpack
import numpy as np
import pytest
import zmq

from policy.remote import PolicyClient, RemotePolicy, RemotePolicyError
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


@pytest.mark.parametrize("form", [NPY, MSGPACK_NUMPY])
def test_a_groot_client_works_with_our_server(form: str):
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
        assert config["video"]["as_json"]["modality_keys"] == list(ConstantPolicy.views)
        assert len(config["action"]["as_json"]["delta_indices"]) == 16
        with pytest.raises(RuntimeError, match=r"video\.agentview"):
            client.call("get_action", {"observation": {}})
        with pytest.raises(RuntimeError, match="Unknown endpoint"):
            client.call("kill")
        with pytest.raises(RuntimeError, match="Unauthorized: Invalid API token"):
            GrootClient(server.endpoint, form).call("ping")
        client.socket.close()


def test_an_n1_5_client_sends_a_flat_observation_and_gets_a_bare_action():
    nested = observation(0.75)
    flat = {f"{group}.{key}": value for group, entries in nested.items() for key, value in entries.items()}
    with serving(ConstantPolicy()) as server:
        client = GrootClient(server.endpoint, NPY)
        assert (client.call("get_action", flat)["action"] == 0.75).all()
        client.socket.close()


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
                "video": {"__ModalityConfig_class__": True, "as_json": '{"modality_keys": ["agentview"]}'}
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
        self.socket.close(linger=0)


@pytest.mark.parametrize(("form", "encoding"), [(NPY, None), (MSGPACK_NUMPY, "msgpack-numpy-bytes")])
def test_our_client_works_with_a_groot_server(form: str, encoding: str | None):
    server = GrootServer(form, token="key")
    with PolicyClient(server.address, encoding=encoding, token="key") as client:
        assert client.ping()
        action, _ = client.get_action(observation(0.5))
        assert (action["arm"] == 0.5).all()
        assert client.reset() == {}
        assert client.get_modality_config()["video"] == {"modality_keys": ["agentview"]}
        with pytest.raises(RemotePolicyError, match="agentview"):
            client.get_action({"state": {"proprio": np.zeros((1, 1, 9), np.float32)}, "video": {}})
        with pytest.raises(RemotePolicyError, match="Unauthorized"), PolicyClient(server.address) as stranger:
            stranger.get_action(observation())
        client.call("kill")
    server.join(5)


def test_a_groot_server_is_a_policy_too():
    server = GrootServer(NPY)
    policy = RemotePolicy(server.address, views=("agentview",), image_size=(32, 32), action_horizon=16)
    actions = policy.act(np.zeros((2, 1, 32, 32, 3), np.uint8), np.full((2, 9), 0.5, np.float32), ["go", "go"])
    assert actions.shape == (2, 16, 7)
    assert (actions[..., :6] == 0.5).all()
    assert (actions[..., 6] == 1).all()
    policy.close()
