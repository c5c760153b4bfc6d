"""How late the control loop's ticks are beside a busy policy."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.bridge.peers import SIZE, TimedPolicy, started
from common.conventions import CONTROL_FREQUENCY, VIEWS
from policy.remote import PolicyClient
from robot_bridge.realtime import DEFAULT_PRIORITY, prefer_this_process
from robot_bridge.server import PolicyServer


def jitter(seconds: float) -> None:
    """The twin, a server whose policy computes 80 ms a chunk, and the loop: each in a process of its own.

    The loop runs in turns with real-time priority, as ``robot_bridge.run`` does by default, and without.
    """
    _, address = started(_serve_busy)
    _, states = started(_run_twin)
    late: dict[int, list[float]] = {0: [], DEFAULT_PRIORITY: []}
    for priority in (*late, *late):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=_loop, args=(there, address, states, priority, seconds), daemon=True)
        process.start()
        late[priority] += here.recv()
        process.join()
    print(f"{'ticks at 20 Hz':22s}{'number':>8s}{'p50 ms':>9s}{'p99 ms':>9s}{'max ms':>9s}{'over 10 ms':>12s}")
    for priority, values in late.items():
        milliseconds = np.array(values) * 1e3
        p50, p99 = np.percentile(milliseconds, [50, 99])
        name = f"priority {priority}" if priority else "ordinary process"
        share = f"{(milliseconds > 10).mean():.2%}"
        print(f"{name:22s}{len(values):8d}{p50:9.3f}{p99:9.3f}{milliseconds.max():9.3f}{share:>12s}")


def _loop(parent: Connection, server: str, twin: str, priority: int, seconds: float) -> None:
    """Sends how late (s) each tick came."""
    from policy.chunks import OverlapBlend
    from robot_bridge.asker import Asker
    from robot_bridge.config import read_robot
    from robot_bridge.drivers.link import RobotLink
    from robot_bridge.kinematics import limbs_of
    from robot_bridge.loop import ControlLoop
    from robot_bridge.osc import references_of
    from robot_bridge.run import PolicyQuestion

    config = read_robot("twin")
    state_address, target_address = twin.split()
    limbs = limbs_of(config)
    prefer_this_process(priority)
    link = RobotLink(state_address, target_address, config.joint_map.real_dof)
    link.wait(VIEWS, 60)
    asker = Asker(PolicyQuestion(PolicyClient(server), VIEWS, "wave"))
    references = references_of(config, CONTROL_FREQUENCY)
    loop = ControlLoop(config, link, limbs, asker, OverlapBlend(), views=VIEWS, image_size=SIZE, references=references)
    parent.send(loop.run(seconds).late)
    asker.close()
    link.close()


class _BusyPolicy(TimedPolicy):
    """Computes 80 ms a chunk, on the processor."""

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Any) -> np.ndarray:
        ends = time.monotonic() + 0.08
        matrix = np.ones((300, 300), np.float32)
        while time.monotonic() < ends:
            matrix @ matrix
        phase = time.monotonic()
        actions = np.zeros((len(images), 16, 7), np.float32)
        actions[..., 1], actions[..., 2] = 0.5 * np.sin(phase), 0.3 * np.cos(phase)
        return actions


def _serve_busy(ready: Connection) -> None:
    server = PolicyServer(_BusyPolicy(), "tcp://127.0.0.1:*")
    ready.send(server.endpoint)
    server.run()


def _run_twin(ready: Connection) -> None:
    from robot_bridge.twin import Twin

    twin = Twin("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    ready.send(f"{twin.state_address} {twin.target_address}")
    twin.run()
