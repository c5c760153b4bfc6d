"""The client when things go wrong: it always comes back, in time, with a reason."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

from common.errors import UserError
from policy.remote import PolicyClient, RemotePolicyError, wire
from tests.robot_bridge.policies import ConstantPolicy, observation, serving


def test_a_dead_address_times_out_and_says_so():
    with PolicyClient("tcp://127.0.0.1:9", timeout=0.2) as client:
        started = time.monotonic()
        with pytest.raises(RemotePolicyError, match=r"no answer from tcp://127.0.0.1:9 .* within 0.2 s") as caught:
            client.get_action(observation())
        assert caught.value.code == "timeout"
        assert not client.ping()
        assert time.monotonic() - started < 1.0


def test_an_address_that_is_none_is_a_user_error():
    with pytest.raises(UserError, match="tcp://HOST:PORT"), PolicyClient("localhost:5555") as client:
        client.ping()


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_server_and_client_meet_over_ipv6():
    with serving(ConstantPolicy(), "tcp://[::1]:*") as server, PolicyClient(server.endpoint) as client:
        assert server.endpoint.startswith("tcp://[::1]:")
        assert client.ping()


def test_a_late_reply_is_never_taken_for_the_next_one():
    slow = threading.Event()

    def first_is_slow(images: np.ndarray) -> None:
        if not slow.is_set():
            slow.set()
            time.sleep(0.4)

    with serving(ConstantPolicy(first_is_slow)) as server, PolicyClient(server.endpoint, timeout=0.2) as client:
        with pytest.raises(RemotePolicyError, match="within"):
            client.get_action(observation(1))
        client.timeout = 5.0
        assert client.get_action(observation(2))[0]["action"][0, 0, 0] == 2


def test_replies_with_another_id_are_passed_over():
    router = zmq.Context.instance().socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    def answer() -> None:
        peer, _, header = router.recv_multipart()
        request_id = wire.decode([header])[0]["id"]
        for number in (request_id - 1, request_id + 1, request_id):
            router.send_multipart([peer, b"", *wire.encode({"v": 1, "id": number, "reply": {"number": number}})])

    thread = threading.Thread(target=answer)
    thread.start()
    with PolicyClient(f"tcp://127.0.0.1:{port}", encoding="raw") as client:
        assert client.call("anything") == {"number": 1}
    thread.join(5)
    router.close()


def test_garbage_from_a_server_is_a_clear_error():
    router = zmq.Context.instance().socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    def answer() -> None:
        for garbage in (b"ERROR", b"\xc1\xff", b"\xc0"):
            peer, *_ = router.recv_multipart()
            router.send_multipart([peer, b"", garbage])

    thread = threading.Thread(target=answer)
    thread.start()
    with PolicyClient(f"tcp://127.0.0.1:{port}", encoding="raw") as client:
        for expected in ("error and no reason", "cannot be read", "without an envelope"):
            with pytest.raises(RemotePolicyError, match=expected):
                client.call("ping")
    thread.join(5)
    router.close()


SERVE = """
import sys; from tests.robot_bridge.policies import ConstantPolicy; from robot_bridge.server import PolicyServer
server = PolicyServer(ConstantPolicy(), sys.argv[1]); print("up", flush=True); server.run()
"""


def start_server(address: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", SERVE, address], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_the_client_outlives_a_server_killed_in_mid_request(tmp_path):
    address = f"ipc://{tmp_path}/policy"
    server = start_server(address)
    with PolicyClient(address, timeout=1.0) as client:
        assert client.get_action(observation(1))[0]["action"][0, 0, 0] == 1
        server.kill()
        server.wait()
        client.timeout = 0.2
        with pytest.raises(RemotePolicyError, match="no answer"):
            client.get_action(observation(2))
        server = start_server(address)
        client.timeout = 5.0
        assert client.get_action(observation(3))[0]["action"][0, 0, 0] == 3
    server.kill()
    server.wait()


def test_half_a_key_pair_is_refused(tmp_path):
    with pytest.raises(UserError, match="needs both keys"):
        PolicyClient("tcp://127.0.0.1:1", keys=tmp_path / "x")
    with pytest.raises(UserError, match=r"robot_bridge\.keys"):
        PolicyClient("tcp://127.0.0.1:1", keys=tmp_path / "x", server_key=tmp_path / "y")


def test_the_client_needs_numpy_pyzmq_and_msgpack_only():
    # Run without the site's start-up hooks counting: what was loaded before does not come from us.
    code = (
        "import sys; before = set(sys.modules); import robot_bridge.client; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ours = {"robot_bridge", "policy", "common"}
    compiled = {name for name in out.split() if name.startswith(("_cython", "cython"))}
    assert set(out.split()) - ours - compiled == {"numpy", "zmq", "msgpack"}
