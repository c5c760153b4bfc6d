"""Holds of the control loop against delay, loss and stalls of the network between it and the policy server.

Server, loop and an ideal robot talk over real sockets, with the loop's defaults. In between is a proxy that delays,
loses whole messages (requests and answers alike), and freezes everything for a while every five seconds.
"""

import contextlib
import io
import multiprocessing
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from common.cli import CommandParser, run
from robot_bridge.run import CONNECTIONS

ROUND_TRIPS = (0, 50, 100, 200, 300)
"""Milliseconds."""
LOSSES = (0.0, 0.01, 0.05, 0.1)
STALLS = (0.2, 0.5, 1.0)
"""Seconds."""
STALL_EVERY = 5.0
INFERENCE = 0.03
"""Seconds that the policy takes."""


@dataclass(frozen=True)
class Condition:
    """A network: ms there and back, share of the messages that vanish, s that everything freezes."""

    round_trip: int
    loss: float = 0.0
    stall: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """Holds and stops in a minute, and how old (ms) the actions were when they were sent."""

    holds: float
    stops: float
    age_p50: float
    age_p99: float

    def __str__(self) -> str:
        stops = f" ({self.stops:.0f} stops)" if self.stops else ""
        return f"{self.holds:.0f}{stops}"


def drive(condition: Condition, seconds: float, connections: int) -> Outcome:
    """One loop over one network."""
    from policy.chunks import OverlapBlend
    from policy.remote import PolicyClient
    from robot_bridge.asker import Asker
    from robot_bridge.drivers.link import RobotLink
    from robot_bridge.loop import ControlLoop
    from robot_bridge.realtime import prefer_this_process
    from robot_bridge.run import PolicyQuestion
    from robot_bridge.safety import Limb, Mode
    from tests.robot_bridge.arms import DOF, LinearArm, LinearReference, robot_config, safety_config
    from tests.robot_bridge.policies import ConstantPolicy, serving
    from tests.robot_bridge.proxy import BadNetwork
    from tests.robot_bridge.robots import IdealRobot

    prefer_this_process()  # as the loop's command does: this is about the network, not about a busy machine
    views = ConstantPolicy.views
    with tempfile.TemporaryDirectory() as folder, serving(ConstantPolicy(lambda _: time.sleep(INFERENCE))) as server:
        network = BadNetwork(server.endpoint, condition.round_trip / 2000)
        robot = IdealRobot(folder)
        config = robot_config(robot.state_address, robot.target_address, safety=safety_config(state_timeout=2.0))
        link = RobotLink(robot.state_address, robot.target_address, DOF)
        link.wait(views, 20)
        clients = [PolicyClient(network.address, timeout=10.0) for _ in range(connections)]
        for client in clients:
            client.ping()
            client.timeout = 1.0
        asker = Asker(*(PolicyQuestion(client, views, "reach") for client in clients))
        loop = ControlLoop(
            config,
            link,
            [Limb(LinearArm())],
            asker,
            OverlapBlend(),
            views=views,
            image_size=ConstantPolicy.image_size,
            references=[LinearReference()],
        )
        thread = threading.Thread(target=loop.run, daemon=True)
        thread.start()
        while not loop.report.ages:
            time.sleep(0.1)
            if loop.safety.watchdog.mode is Mode.STOPPED:  # this machine was too busy
                loop.reset()
        time.sleep(1.0)
        before = len(loop.report.events)
        network.loss = condition.loss
        ends, stops = time.monotonic() + seconds, 0
        stalled = time.monotonic() if condition.stall else float("inf")
        while (now := time.monotonic()) < ends:
            if now - stalled > STALL_EVERY:
                network.stall(condition.stall)
                stalled = now
            if loop.safety.watchdog.mode is Mode.STOPPED:
                stops += 1
                loop.reset()
                time.sleep(1.0)
            time.sleep(0.05)
        holds = [kind for _, kind, reason in loop.report.events[before:] if kind == "holding" and "fresh" in reason]
        loop.quit()
        thread.join(10)
        for end in (asker, link, robot, network):
            end.close()
    ages = np.array(loop.report.ages) * 1e3
    minutes = seconds / 60
    return Outcome(len(holds) / minutes, stops / minutes, *np.percentile(ages, [50, 99]))


def _drive_quietly(condition: Condition, seconds: float, connections: int) -> Outcome:
    with contextlib.redirect_stderr(io.StringIO()):
        return drive(condition, seconds, connections)


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("benchmarks.network", __doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each network is tried")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="requests that may be under way at once")
    parser.add_argument("--together", type=int, default=3, help="networks that are tried at the same time")
    arguments = parser.parse_args(argv)
    conditions = [
        condition
        for trip in ROUND_TRIPS
        for condition in (
            *(Condition(trip, loss=loss) for loss in LOSSES),
            *(Condition(trip, stall=stall) for stall in STALLS),
        )
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.together, mp_context=context) as pool:
        results = {
            condition: pool.submit(_drive_quietly, condition, arguments.seconds, arguments.connections)
            for condition in conditions
        }
        outcomes = {condition: result.result() for condition, result in results.items()}
    heads = [f"{loss:.0%} lost" for loss in LOSSES] + [f"stalls of {stall:g} s" for stall in STALLS]
    print(f"| there and back | action's age p50, p99 | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 2) + "|")
    for trip in ROUND_TRIPS:
        row = [outcomes[condition] for condition in conditions if condition.round_trip == trip]
        print(f"| {trip} ms | {row[0].age_p50:.0f}, {row[0].age_p99:.0f} ms | {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    run(main)
