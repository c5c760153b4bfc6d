"""franky-sim's Franka with what it does not have: reflexes. Runs in franky-sim's environment; 127.0.0.1 is the arm.

It simulates no errors, so ``reflex`` on standard input does at libfranka's protocol what an arm does that hits
something: the motion is aborted, the state shows error and mode until automatic error recovery, and the arm holds.
Joint positions (rad) as arguments say where the arm begins. Its world has no things; nor has it a floor.
"""

import contextlib
import dataclasses
import os
import sys
import threading

import franky_sim
import franky_sim.simulation_server
from franky_sim.franka_robot_protocol import (
    AutomaticErrorRecoveryCommand,
    MoveStatus,
    RobotCommand,
    RobotMode,
)
from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.franka_server import BaseCommand
from franky_sim.mujoco_simulator import MujocoSimulator

CARTESIAN_REFLEX = 7
"""Place among libfranka's 41 errors."""


class ReflexServer(FrankaRobotServer):
    """An arm's server whose ``hit`` is done in its own thread of control."""

    hit = threading.Event()
    reflex = False

    def process_commands(self) -> None:
        if self.hit.is_set():
            self.hit.clear()
            motion = self.current_motion_id
            self.stop_motion(send_preemption_signal=False)
            self.reset_current_motion_id()
            if motion:
                socket = self._tcp_socket
                BaseCommand.send_response(socket, RobotCommand.kMove, motion, MoveStatus.kReflexAborted)
            ReflexServer.reflex = True
        super().process_commands()

    @property
    def robot_state(self):
        state = super().robot_state
        if not self.reflex:
            return state
        errors = tuple(number == CARTESIAN_REFLEX for number in range(41))
        return dataclasses.replace(state, robot_mode=RobotMode.kReflex, errors=errors, reflex_reason=errors)


def recover(command: AutomaticErrorRecoveryCommand, server: ReflexServer) -> None:
    """Automatic error recovery ends a reflex."""
    ReflexServer.reflex = False
    handle(command, server)


handle = AutomaticErrorRecoveryCommand.handle
AutomaticErrorRecoveryCommand.handle = recover
franky_sim.simulation_server.FrankaRobotServer = ReflexServer


def read() -> None:
    for line in sys.stdin:
        if line.strip() == "reflex":
            ReflexServer.hit.set()


with contextlib.suppress(PermissionError):  # an arm does not wait for other programs
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(30))
threading.Thread(target=read, daemon=True).start()
with MujocoSimulator() as simulator:
    home = [float(position) for position in sys.argv[1:]]
    simulator.add_robot(**({"initial_q": home} if home else {}), initial_hand_width=0.08)
    simulator.worldbody.remove(simulator.worldbody.find("geom[@name='ground']"))
    with franky_sim.SimulationServer(simulator, hostname_candidates=["127.0.0.1"]) as arm:
        print("ready", flush=True)
        arm.run_forever()
