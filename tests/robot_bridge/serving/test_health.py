"""Health: green only when a request would be answered; a dead thread turns it red and ends the process."""

import ctypes
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from policy.remote import PolicyClient, RemotePolicyError
from robot_bridge.keys import make_keys
from robot_bridge.server import PolicyServer, ServerFailed
from robot_bridge.serving import health
from tests.robot_bridge.policies import ConstantPolicy, Gate, observation, raw_client, send, serving, until

ROOT = Path(__file__).parents[3]


def kill(name: str) -> None:
    """Raises in the thread of that name what nothing catches, as soon as it runs."""
    number = next(thread.ident for thread in threading.enumerate() if thread.name == name)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(number), ctypes.py_object(SystemExit)) == 1


@pytest.mark.parametrize("name", ["door", "inference"])
def test_a_killed_thread_turns_health_red_and_ends_the_run(name: str):
    server = PolicyServer(ConstantPolicy(), "tcp://127.0.0.1:*")
    ended: list[str] = []

    def run() -> None:
        try:
            server.run()
        except ServerFailed as error:
            ended.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    with PolicyClient(server.endpoint) as client:
        client.get_action(observation())
    assert server.unhealthy() is None
    kill(name)
    raw = raw_client(server.endpoint)
    send(raw, 1)  # wakes both threads
    thread.join(10)
    raw.close()
    assert not thread.is_alive()
    assert f"the {name} thread died: SystemExit" in ended[0]
    assert f"the {name} thread died" in (server.unhealthy() or "")


PROCESS = """
import sys, threading
from robot_bridge.serve import serve
from robot_bridge.server import PolicyServer
from robot_bridge.serving.http import serve_http
from tests.robot_bridge.policies import ConstantPolicy
from tests.robot_bridge.serving.test_health import kill
policy = ConstantPolicy()
server = PolicyServer(policy, "tcp://127.0.0.1:*")
http = serve_http(server.metrics.text, server.unhealthy, "127.0.0.1", 0)
print(server.endpoint, http.server_address[1], flush=True)
def obey():
    for line in sys.stdin:
        kill(line.strip())
threading.Thread(target=obey, daemon=True).start()
sys.exit(serve(policy, server, (1,)))
"""


def status(port: str) -> int:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=15).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0  # the process has gone


@pytest.mark.parametrize("name", ["door", "inference"])
def test_a_killed_thread_ends_the_process_with_an_error(name: str):
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address, port = process.stdout.readline().split()
        with PolicyClient(address, timeout=15) as client:
            client.get_action(observation())
            assert status(port) == 200
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            client.timeout = 0.5
            client.ping()  # wakes the door, whose thread then ends
            if name == "inference":
                with pytest.raises(RemotePolicyError):
                    client.get_action(observation())
        assert status(port) in (0, 503)
        assert process.wait(15) == 1
    finally:
        process.kill()
        process.wait()


def test_health_asks_the_policy_itself_when_nobody_else_does(monkeypatch):
    gate = Gate()
    policy = ConstantPolicy()
    with serving(policy, token="secret") as server:
        until(lambda: server.metrics.ready)
        assert server.unhealthy() is None
        assert policy.batches == [1]
        assert server.unhealthy() is None
        assert policy.batches == [1]  # the last answer is proof enough for a while
        monkeypatch.setattr(health, "PROVEN", 0.0)
        monkeypatch.setattr(health, "TIMEOUT", 0.3)
        policy.before_act = gate
        assert server.unhealthy() == "get_action: no answer within 0.3 s"  # the policy hangs
        gate.opened.set()
        policy.before_act = lambda images: 1 / 0
        assert "division by zero" in (server.unhealthy() or "")


def test_health_is_red_before_and_after(tmp_path):
    make_keys(tmp_path, "arm")
    server = PolicyServer(ConstantPolicy(), "tcp://127.0.0.1:*", keys=tmp_path)
    assert "warming up" in (server.unhealthy() or "")
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.metrics.ready)
    assert server.unhealthy() is None  # encryption or not
    server.stop()
    thread.join(10)
    assert "stopped" in (server.unhealthy() or "")
