"""Too many connections: closed, without a busy core and without a word lost for those who are in."""

import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from policy.remote import PolicyClient
from robot_bridge.serving.connections import MOST, room
from tests.robot_bridge.policies import observation

ROOT = Path(__file__).parents[3]
SERVER = """
import resource, sys, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from robot_bridge.server import PolicyServer
from tests.robot_bridge.policies import ConstantPolicy
server = PolicyServer(ConstantPolicy(), "tcp://127.0.0.1:*")
print(server.endpoint, flush=True)
threading.Thread(target=server.run, daemon=True).start()
for line in sys.stdin:  # the processor time of the last half a second, and the connections
    before = time.process_time()
    time.sleep(0.5)
    print(time.process_time() - before, server.metrics.connections(), flush=True)
"""


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1024, reason="needs 1,024 files")
def test_at_the_limit_of_open_files_the_server_is_idle_and_serves_those_who_are_in():
    command = [sys.executable, "-c", SERVER]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    place = (urlsplit(address).hostname, urlsplit(address).port)
    try:
        with PolicyClient(address) as early:
            early.ping()
            strangers = [socket.create_connection(place, timeout=5) for _ in range(300)]
            time.sleep(1.0)
            process.stdin.write("how are you\n")
            process.stdin.flush()
            busy, connections = process.stdout.readline().split()
            assert float(busy) < 0.1
            assert 20 < int(connections) < 128
            assert early.get_action(observation(3))[0]["action"][0, 0, 0] == 3
            for stranger in strangers:
                stranger.close()
        with PolicyClient(address, timeout=10) as late:
            assert late.get_action(observation(4))[0]["action"][0, 0, 0] == 4
    finally:
        process.kill()
        process.wait()


def test_there_is_room_for_as_many_as_the_limit_on_open_files_leaves():
    assert 1 <= room() <= MOST
