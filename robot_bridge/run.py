"""The control loop's command: ``python -m robot_bridge.run --server tcp://HOST:5555 --robot robot.yaml``."""

import argparse
import json
import math
import os
import signal
import sys
import threading
from typing import Any

import numpy as np

from common.cli import run as run_command
from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from policy.remote import PolicyClient
from robot_bridge import logs
from robot_bridge.asker import Answer, Asker, Observation
from robot_bridge.chunks import Joiner, OverlapBlend, TemporalEnsemble
from robot_bridge.config import RobotConfig, read_robot
from robot_bridge.drivers.link import RobotLink
from robot_bridge.loop import ControlLoop, Recorder, Tick
from robot_bridge.realtime import DEFAULT_PRIORITY, prefer_this_process

TOKEN_VARIABLE = "ROBOT_BRIDGE_TOKEN"


class PolicyQuestion:
    """Asks the server for a chunk (horizon, d) for one observation. Belongs to the asker's thread."""

    def __init__(self, client: PolicyClient, views: tuple[str, ...], task: str):
        self._client, self._views, self._task = client, views, task

    def __call__(self, observation: Observation) -> np.ndarray:
        """The chunk; ``RemotePolicyError`` when there is none."""
        proprio = np.concatenate([observation.q[:7], observation.fingers]).astype(np.float32)
        message = {
            "video": {view: observation.images[None, None, number] for number, view in enumerate(self._views)},
            "state": {"proprio": proprio[None, None]},
            "language": {"task": [[self._task]]},
        }
        action, _ = self._client.get_action(message, observed_at=observation.at)
        parts = [part for part in action.values() if isinstance(part, np.ndarray) and part.ndim == 3]
        if not parts:
            raise UserError("the server sent no action (1, horizon, d)")
        return np.concatenate([part[0] for part in parts], axis=-1)


class Printer:
    """``--dry-run``: prints what would be sent, and passes everything on."""

    def __init__(self, recorder: Recorder | None):
        self._recorder = recorder

    def tick(self, tick: Tick) -> None:
        """One line a control period."""
        joints = " ".join(f"{value:+.4f}" for value in tick.command.q_real)
        print(f"{tick.at:.3f} {tick.command.mode.value:8s} [{joints}] fingers {tick.opening:.3f}", flush=True)
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


def check_replan(config: RobotConfig, replan: int, rate: float, horizon: int) -> None:
    """A loop whose watchdog would bite in normal running is a mistake in the configuration."""
    if not 1 <= replan < horizon:
        raise UserError(f"--replan must be 1 to {horizon - 1}, one less than the policy's horizon")
    passed = math.ceil((config.latency.camera + config.latency.arm) * rate)
    if replan + passed >= horizon:
        raise UserError(
            f"of a chunk's {horizon} actions the latencies in robot.yaml skip {passed}, the next is asked for after "
            f"{replan}: none are left; lower --replan or --rate"
        )
    if replan / rate >= config.safety.hold_after:
        raise UserError(
            f"--replan {replan} asks every {replan / rate:g} s, safety.hold_after is {config.safety.hold_after:g} s; "
            "lower --replan or raise hold_after"
        )


def listen(loop: ControlLoop) -> None:
    """The operator's keys, one a line; losing standard input changes nothing."""
    for line in sys.stdin:
        key = line.strip().lower()
        if key in ("", "s", "stop"):  # the enter key alone stops: it is the one that a hand finds
            loop.stop()
        elif key in ("r", "reset"):
            loop.reset()
        elif key in ("q", "quit"):
            loop.quit()


def main(argv: list[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m robot_bridge.run",
        description="Drive an arm with a served policy, through the safety filter. Enter stops, r resets, q quits.",
        epilog="try it without hardware: python -m robot_bridge.twin & python -m robot_bridge.serve & "
        "python -m robot_bridge.run --robot twin --task 'pick up the can'",
    )
    parser.add_argument("--server", default="tcp://127.0.0.1:5555", help="the policy server")
    parser.add_argument("--robot", default="twin", help="robot.yaml, or 'twin' (docs/robot.md)")
    parser.add_argument("--task", default="pick up the can", help="the instruction for the policy")
    parser.add_argument("--rate", type=float, default=CONTROL_FREQUENCY, help="control rate in Hz; 20 as in training")
    parser.add_argument("--replan", type=int, default=4, help="ask for the next chunk after this many ticks")
    parser.add_argument("--join", choices=("blend", "ensemble"), default="blend", help="how chunks are joined")
    parser.add_argument("--seconds", type=float, help="run so long; without it until q or Ctrl-C")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds to wait for one answer of the server")
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
    if not 1 <= arguments.rate <= 1000:
        raise UserError("--rate must be 1 to 1000 Hz")
    if not 0 <= arguments.priority <= 99:
        raise UserError("--priority must be 0 to 99")
    logs.configure()
    config = read_robot(arguments.robot)

    from robot_bridge.kinematics import Kinematics  # these bring MuJoCo; not for --help
    from robot_bridge.osc import OscReference
    from robot_bridge.panda import load_model

    model = load_model(config.model)
    base = "base" if config.is_training_arm else None
    arm = Kinematics(model, config.joints, config.site, base)
    prefer_this_process(arguments.priority)  # before the threads that serve the loop start, so that they inherit it
    client = PolicyClient(
        arguments.server,
        timeout=arguments.timeout,
        token=os.environ.get(TOKEN_VARIABLE),
        keys=arguments.keys,
        server_key=arguments.server_key,
        jpeg_quality=arguments.jpeg,
    )
    about = client.describe()
    views, horizon = tuple(about["views"]), int(about["action_horizon"])
    check_replan(config, arguments.replan, arguments.rate, horizon)
    client.close()  # the asker's thread opens its own connection
    link = RobotLink(config.state_address, config.target_address, config.joint_map.real_dof, config.camera_address)
    link.wait(tuple(config.cameras.get(view, view) for view in views), timeout=10.0)
    if not arguments.dry_run:
        link.wait_until_free()
    session: Any = None
    if arguments.record:
        from robot_bridge.recorder import SessionRecorder, recover

        for path in recover(arguments.record):
            print(f"recovered a session that was cut off: {path}")
        own_arm = Kinematics(model, config.joints, config.site, base)
        session = SessionRecorder(arguments.record, config, arguments.task, views, own_arm)
    joiner: Joiner = OverlapBlend() if arguments.join == "blend" else TemporalEnsemble()
    asker = Asker(PolicyQuestion(client, views, arguments.task))
    loop = ControlLoop(
        config,
        link,
        arm,
        asker,
        joiner,
        views=views,
        image_size=tuple(about["image_size"]),
        rate=arguments.rate,
        replan=arguments.replan,
        reference=OscReference(config.osc, 1 / arguments.rate) if config.mode == "osc_delta" else None,
        send=not arguments.dry_run,
        recorder=Printer(session) if arguments.dry_run else session,
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: loop.quit())
    threading.Thread(target=listen, args=(loop,), daemon=True).start()
    try:
        loop.run(arguments.seconds)
    finally:  # whatever ended it
        asker.close()
        link.close()
        print(json.dumps(loop.report.summary()))
        if session is not None:
            print(f"recorded {session.save()}")


if __name__ == "__main__":
    run_command(main)
