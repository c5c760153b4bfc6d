"""Drive an arm with a served policy, through the safety filter. Enter stops, r resets, q quits.

try it without hardware:
  python -m robot_bridge.twin & python -m robot_bridge.serve &
  python -m robot_bridge.run --robot twin --task 'pick up the can'
"""

import argparse
import functools
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from common.cli import CommandParser
from common.cli import run as run_command
from common.embodiment import Embodiment, disagreements
from common.errors import UserError
from policy.chunks import JOINERS
from policy.interface import batched_plan
from policy.remote import Client, RemotePolicyError, open_client
from robot_bridge import logs
from robot_bridge.actions import state_reader
from robot_bridge.asker import Answer, Asker, Observation, Reply
from robot_bridge.config import TEMPLATES, RobotConfig, read_robot
from robot_bridge.console import KEYS, Keyboard, StatusLine, why_no_key
from robot_bridge.drivers.link import RobotLink
from robot_bridge.loop import ControlLoop, Recorder, Tick
from robot_bridge.realtime import DEFAULT_PRIORITY, prefer_this_process

TOKEN_VARIABLE = "ROBOT_BRIDGE_TOKEN"
CONNECTIONS = 5
"""Requests under way at once: two over 300 ms there and back, and a lost answer occupies one for a while."""
PATIENCE = 5.0
"""Seconds for one answer while nothing moves: over a slow network a first connection takes many round trips."""


log = logging.getLogger("robot_bridge.run")


class PolicyQuestion:
    """Asks the server for a chunk (horizon, d) for one observation. Belongs to the asker's thread.

    ``state`` makes the policy's state (d,) of an observation; by default it is joints and fingers. ``horizon``: that of
    a policy which inpaints, else None.
    """

    def __init__(
        self,
        client: Client,
        views: tuple[str, ...],
        task: str,
        state: Callable[[Observation], np.ndarray] = lambda seen: np.concatenate([seen.q, seen.fingers]),
        horizon: int | None = None,
    ):
        self._client, self._views, self._task, self._state, self._horizon = client, views, task, state, horizon

    def __call__(self, observation: Observation) -> Reply:
        """The chunk; ``RemotePolicyError`` when there is none."""
        proprio = self._state(observation).astype(np.float32)
        message = {
            "video": {view: observation.images[None, None, number] for number, view in enumerate(self._views)},
            "state": {"proprio": proprio[None, None]},
            "language": {"task": [[self._task]]},
        }
        plan = None if self._horizon is None else batched_plan([observation.plan], self._horizon)
        action, info = self._client.get_action(message, observed_at=observation.at, plan=plan)
        parts = [part for part in action.values() if isinstance(part, np.ndarray) and part.ndim == 3]
        if not parts:
            raise UserError("the server sent no action (1, horizon, d)")
        if "warning" in info:
            warn(str(info["warning"]))
        milliseconds = info.get("infer_ms", 0.0) + info.get("wait_ms", 0.0)
        return Reply(np.concatenate([part[0] for part in parts], axis=-1), milliseconds / 1e3)


def questions(
    config: RobotConfig, policy: Embodiment | None, clients: Sequence[Client], about: Mapping[str, Any], task: str
) -> tuple[PolicyQuestion, ...]:
    """One for each client; ``policy`` is what ``check_policy`` gives, ``about`` what the server says."""
    state = state_reader(config, policy)
    horizon = int(about["action_horizon"]) if about["policy"].get("inpaints") else None
    return tuple(PolicyQuestion(client, tuple(about["views"]), task, state, horizon) for client in clients)


@functools.cache
def warn(text: str) -> None:
    """Logs what the server warns of, once."""
    log.warning("the policy server warns: %s", text)


class Printer:
    """``--dry-run``: prints what would be sent, and passes everything on."""

    def __init__(self, recorder: Recorder | None):
        self._recorder = recorder

    @property
    def failure(self) -> str:
        """That of the recorder behind it."""
        return "" if self._recorder is None else self._recorder.failure

    def tick(self, tick: Tick) -> None:
        """One line a control period."""
        joints = " ".join(f"{value:+.4f}" for value in tick.command.q_real)
        print(
            f"{tick.at:.3f} {tick.command.mode.value:8s} [{joints}] fingers {tick.openings.round(3).tolist()}",
            flush=True,
        )
        if self._recorder is not None:
            self._recorder.tick(tick)

    def answer(self, answer: Answer) -> None:
        """Passed on."""
        if self._recorder is not None:
            self._recorder.answer(answer)

    def event(self, at: float, kind: str, text: str) -> None:
        """Passed on."""
        if self._recorder is not None:
            self._recorder.event(at, kind, text)


def check_replan(config: RobotConfig, replan: int, rate: float, horizon: int, seconds: float = 0.0) -> None:
    """A loop whose watchdog would bite in normal running is a mistake in the configuration.

    ``seconds`` is what it takes to the server and back.
    """
    if not 1 <= replan < horizon:
        raise UserError(f"--replan must be 1 to {horizon - 1}, one less than the policy's horizon")
    passed = math.ceil((config.latency.camera + config.latency.arm + seconds) * rate)
    if replan + passed >= horizon:
        way = f" and the {seconds * 1e3:.0f} ms to the server and back" if seconds else ""
        raise UserError(
            f"of a chunk's {horizon} actions the latencies in robot.yaml{way} skip {passed}, the next is asked for "
            f"after {replan}: none are left; lower --replan or --rate"
        )
    if replan / rate >= config.safety.hold_after:
        raise UserError(
            f"--replan {replan} asks every {replan / rate:g} s, safety.hold_after is {config.safety.hold_after:g} s; "
            "lower --replan or raise hold_after"
        )


def check_policy(config: RobotConfig, about: dict[str, Any], rate: float, forced: bool) -> Embodiment | None:
    """What the policy says that its numbers mean; None where it does not say.

    Raises:
        UserError: they mean something else than the robot's; or it gives actions at another ``rate`` (Hz), which no
            ``--rate`` has asked for (``forced``).
    """
    if about.get("embodiment") is None:
        log.warning("the server does not say what its numbers mean; they are taken for %s", config.mode)
        return None
    policy = Embodiment.from_dict(about["embodiment"])
    found = disagreements(config.embodiment, policy)
    if policy.rate != rate and not forced:
        found.append(f"its actions are meant for {policy.rate:g} Hz, the robot's rate is {rate:g}; or say --rate")
    if found:
        raise UserError(f"this policy cannot drive {config.name}: " + "; ".join(found))
    return policy


def check_cameras(config: RobotConfig, link: RobotLink) -> None:
    """``UserError`` when a camera sends another size than robot.yaml says."""
    images = link.images()
    for view, size in config.camera_sizes.items():
        name = config.cameras[view]
        if name in images and images[name].pixels.shape[:2] != size:
            height, width = images[name].pixels.shape[:2]
            raise UserError(
                f"camera {name} sends {height} x {width} pixels, robot.yaml says {size[0]} x {size[1]} for {view}"
            )


def wait_for_server(client: Client, seconds: float) -> dict[str, Any]:
    """What the server says about its policy, as soon as it is warm.

    Raises:
        UserError: it does not answer within ``seconds``, or refuses.
    """
    ends, told = time.monotonic() + seconds, False
    while True:
        try:
            return client.describe()
        except RemotePolicyError as error:
            if error.code != "timeout":
                raise
            if time.monotonic() >= ends:
                text = f"no answer from {client.address} within {seconds:g} s; is the policy server running?"
                raise UserError(text) from None
            if not told:
                print(f"waiting for the policy server at {client.address} ...", flush=True)
                told = True
            time.sleep(0.2)


def round_trip(client: Client) -> float:
    """Seconds to the server and back, the best of three."""
    times = []
    for _ in range(3):
        started = time.monotonic()
        client.ping()
        times.append(time.monotonic() - started)
    return min(times)


def connect(arguments: argparse.Namespace) -> tuple[list[Client], dict[str, Any], float]:
    """Clients that are connected, what the server says about its policy, and the seconds there and back."""
    options: dict[str, Any] = {
        "token": os.environ.get(TOKEN_VARIABLE),
        "keys": arguments.keys,
        "server_key": arguments.server_key,
        "jpeg_quality": arguments.jpeg,
    }
    clients = [open_client(arguments.server, timeout=PATIENCE, **options) for _ in range(CONNECTIONS)]
    about = wait_for_server(clients[0], arguments.wait)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        seconds = min(pool.map(round_trip, clients))
    for client in clients:
        client.timeout = arguments.timeout
    return clients, about, seconds


def introduce(config: RobotConfig, about: dict[str, Any], address: str, seconds: float, task: str) -> None:
    """Tells the person at the keyboard what is connected to what."""
    policy, (height, width) = about["policy"], about["image_size"]
    print(f"policy  {policy.get('name', 'unnamed')} ({policy.get('hash', 'unknown')}) at {address}")
    print(
        f"        {' and '.join(about['views'])} at {height} x {width}, {about['action_horizon']} actions; "
        f"round trip {seconds * 1e3:.1f} ms"
    )
    arms = f"{len(config.arms)} arms, " * (len(config.arms) > 1)
    print(f"robot   {config.name} at {config.state_address}: {arms}{config.joint_map.real_dof} joints, {config.mode}")
    print(f"task    {task!r}", flush=True)


def stop_key(optional: bool) -> str:
    """Why no key can stop the arm; empty where one can.

    Raises:
        UserError: none can, and it is not optional.
    """
    no_key = why_no_key(sys.stdin)
    if no_key and not optional:
        raise UserError(
            f"nobody could stop the arm with a key: {no_key}; run in a terminal, or say --no-stop-key if something "
            "else can (SIGTERM brakes and ends)"
        )
    return no_key


def operate(loop: ControlLoop, seconds: float | None, *, optional_key: bool, live: bool) -> None:
    """Runs the loop for ``seconds`` or until somebody ends it, under the eyes and the keys of a person.

    ``live``: with a line that says how it goes.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: loop.quit())
    print(KEYS if not why_no_key(sys.stdin) else "no stop key", flush=True)
    Keyboard(loop, optional=optional_key).start()
    status = StatusLine(loop, sys.stdout)
    if live:
        status.start()
    try:
        loop.run(seconds)
    finally:
        status.close()


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = CommandParser("robot_bridge.run", __doc__)
    parser.add_argument(
        "--server",
        default="tcp://127.0.0.1:5555",
        help="the policy server: tcp://, groot:// or openpi://HOST:PORT (docs/wire.md)",
    )
    parser.add_argument("--robot", default="twin", help=f"robot.yaml, or {', '.join(TEMPLATES)} (docs/robot.md)")
    parser.add_argument("--task", default="pick up the can", help="the instruction for the policy")
    parser.add_argument("--rate", type=float, help="control rate in Hz, if not robot.yaml's (20, as in training)")
    parser.add_argument("--replan", type=int, default=4, help="ask for the next chunk after this many ticks")
    parser.add_argument(
        "--join",
        choices=("blend", "ensemble", "realtime"),
        default="blend",
        help="how a chunk takes over from the one before: blended within 4 ticks, by the mean of all predictions, or "
        "by real-time chunking (docs/robot.md)",
    )
    parser.add_argument("--seconds", type=float, help="run so long; without it until q or Ctrl-C")
    parser.add_argument("--wait", type=float, default=120.0, help="seconds to wait for a server that is starting")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds to wait for one answer of the server")
    parser.add_argument(
        "--no-stop-key",
        action="store_true",
        help="run although no key can stop the arm: something else must be able to",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent, send nothing")
    parser.add_argument("--record", metavar="DIR", help="write the session here, in the demonstration layout")
    parser.add_argument("--keys", help="this client's .key_secret file, for an encrypted server")
    parser.add_argument("--server-key", help="the server's server.key file")
    parser.add_argument("--jpeg", type=int, metavar="QUALITY", help="send images as JPEG, 1 to 100, on slow networks")
    parser.add_argument(
        "--priority",
        type=int,
        default=DEFAULT_PRIORITY,
        help=f"real-time priority, 1 to 99; 0: as any process (default {DEFAULT_PRIORITY}, where the system grants it)",
    )
    arguments = parser.parse_args(argv)
    if arguments.rate is not None and not 1 <= arguments.rate <= 1000:
        raise UserError("--rate must be 1 to 1000 Hz")
    if not 0 <= arguments.priority <= 99:
        raise UserError("--priority must be 0 to 99")
    return arguments


def main(argv: list[str]) -> None:
    """The command."""
    arguments = _arguments(argv)
    stop_key(arguments.no_stop_key or arguments.dry_run)
    logs.configure()
    config = read_robot(arguments.robot)

    from robot_bridge.kinematics import limbs_of  # these bring MuJoCo; not for --help
    from robot_bridge.osc import references_of

    rate = arguments.rate or config.rate
    limbs = limbs_of(config)
    prefer_this_process(arguments.priority)  # before the threads that serve the loop start, so that they inherit it
    clients, about, seconds = connect(arguments)
    views = tuple(about["views"])
    policy = check_policy(config, about, rate, forced=arguments.rate is not None)
    check_replan(config, arguments.replan, rate, int(about["action_horizon"]), seconds)
    link = RobotLink.to(config)
    link.wait(tuple(config.cameras.get(view, view) for view in views), timeout=10.0)
    check_cameras(config, link)
    if not arguments.dry_run:
        link.wait_until_free()
    introduce(config, about, arguments.server, seconds, arguments.task)
    if link.note:
        print(f"warning: the robot says: {link.note}", flush=True)
    session: Any = None
    if arguments.record:
        from robot_bridge.recorder import SessionRecorder, recover

        for path in recover(arguments.record):
            print(f"recovered a session that was cut off: {path}")
        session = SessionRecorder(arguments.record, config, arguments.task, views, rate=rate)
    asker = Asker(*questions(config, policy, clients, about, arguments.task))
    loop = ControlLoop(
        config,
        link,
        limbs,
        asker,
        JOINERS[arguments.join](),
        views=views,
        image_size=tuple(about["image_size"]),
        rate=rate,
        replan=arguments.replan,
        references=references_of(config, rate),
        send=not arguments.dry_run,
        recorder=Printer(session) if arguments.dry_run else session,
    )
    try:
        operate(
            loop, arguments.seconds, optional_key=arguments.no_stop_key or arguments.dry_run, live=not arguments.dry_run
        )
    finally:  # whatever ended it, and before anything is said: the terminal may be gone
        asker.close()
        link.close()
        recorded = None if session is None else session.save()
        print(json.dumps(loop.report.summary()))
        if recorded is not None:
            print(f"recorded {recorded}")


if __name__ == "__main__":
    run_command(main)
