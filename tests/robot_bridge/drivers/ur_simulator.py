"""A Universal Robots controller at its network protocols: RTDE (30004), dashboard (29999), scripts (30003), Robotiq.

It runs no script: of ur-rtde's control program it does what the registers of that program say, servoJ and servoStop.
Documented limits are kept: a protective stop ends the program and can be unlocked after 5 s at the earliest; a program
whose RTDE watchdog is not fed ends; a joint target that jumps further than the arm can follow makes a protective stop.

Standard input: protective | emergency | unlock_after SECONDS | drop (the network is gone for 2 s) | quit
"""

import contextlib
import math
import re
import socket
import socketserver
import struct
import sys
import threading
import time

STEP = 0.002
VECTORS = {"VECTOR6D": ("6d", 6), "VECTOR3D": ("3d", 3), "VECTOR6INT32": ("6i", 6), "DOUBLE": ("d", 1)}
PLAIN = {"INT32": "i", "UINT32": "I", "UINT64": "Q"}
JUMP = 0.5
"""Rad from one servoJ to the next that no arm can do."""
RUNNING = 7
SERVOJ, SERVO_STOP, SET_WATCHDOG, STOP_SCRIPT = 11, 16, 35, 255
"""Commands of ur-rtde's control program, in its first integer register."""


def kind_of(name: str) -> str:
    """The type of an RTDE variable."""
    if name in ("actual_tool_accelerometer", "payload_cog"):
        return "VECTOR3D"
    if name == "joint_mode":
        return "VECTOR6INT32"
    if re.match(r"(in|out)put_int_register|robot_mode|safety_mode", name):
        return "INT32"
    if re.match(r"runtime_state|robot_status_bits|safety_status_bits", name):
        return "UINT32"
    if name.startswith("actual_digital"):
        return "UINT64"
    doubles = (
        "timestamp|(in|out)put_double_register|actual_(execution_time|momentum|main_voltage|robot_.*)|speed_scaling"
    )
    if re.match(f"{doubles}|target_speed_fraction|standard_analog|payload$", name):
        return "DOUBLE"
    return "VECTOR6D"


def names_in(payload: bytes) -> list[str]:
    """The variables of a recipe."""
    return [name for name in payload.decode().split(",") if name]


def code_of(kind: str) -> tuple[str, int]:
    """Its letters for ``struct``, and how many numbers it is."""
    return VECTORS.get(kind) or (PLAIN[kind], 1)


class Controller:
    """The arm and what runs on it."""

    def __init__(self) -> None:
        self.q = [0.0, -1.57, 1.57, -1.57, -1.57, 0.0]
        self.qd = [0.0] * 6
        self.goal = list(self.q)
        self.mode, self.safety = RUNNING, 1
        self.program = False
        self.inputs: dict[str, float] = {}
        self.outputs: dict[str, float] = {}
        self.began = self.fed = time.monotonic()
        self.period: float | None = None
        self.stopped_at = 0.0
        self.unlock_after = 5.0
        self.dark_until = 0.0
        self.serving = False
        self.gripper = 0.0
        self.gripper_goal = 0
        self.lock = threading.RLock()

    def run(self) -> None:
        due = time.monotonic()
        while True:
            due += STEP
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - 0.05)
            with self.lock:
                self.step()

    def step(self) -> None:
        now = time.monotonic()
        if self.program:
            self.obey()
            if self.period is not None and now - self.fed > self.period:
                self.end("watchdog")
        self.gripper += max(-2.0, min(2.0, self.gripper_goal - self.gripper))
        for joint in range(6):
            wish = (self.goal[joint] - self.q[joint]) * 25.0 if self.serving else 0.0
            wish = max(-3.14, min(3.14, wish))
            change = max(-40 * STEP, min(40 * STEP, wish - self.qd[joint]))
            self.qd[joint] += change
            self.q[joint] += self.qd[joint] * STEP

    def obey(self) -> None:
        """What the control program does with its registers."""
        command, state = int(self.inputs.get("input_int_register_0", 0)), self.outputs.get("output_int_register_0", 0)
        if command == 0:
            self.outputs["output_int_register_0"] = 1  # ready
        elif command == SERVOJ:
            goal = [self.inputs.get(f"input_double_register_{joint}", 0.0) for joint in range(6)]
            jump = max(abs(new - old) for new, old in zip(goal, self.goal, strict=True))
            if not all(map(math.isfinite, goal)) or jump > JUMP:
                self.stop(3)
            else:
                self.goal, self.serving = goal, True
        elif command == STOP_SCRIPT:
            self.end("script")
        elif state != 2:
            if command == SERVO_STOP:
                self.serving, self.goal = False, list(self.q)
            self.outputs["output_int_register_0"] = 2  # done

    def stop(self, safety: int) -> None:
        """A protective (3) or emergency (7) stop."""
        self.safety, self.stopped_at = safety, time.monotonic()
        self.qd = [0.0] * 6
        self.end("stop")

    def end(self, why: str) -> None:
        print(f"program ended: {why}", flush=True)
        self.program, self.serving, self.goal, self.period = False, False, list(self.q), None
        self.outputs["output_int_register_0"] = 0

    def load(self, script: str) -> None:
        if self.safety == 1 and "def " in script:
            self.program, self.inputs, self.fed = True, {}, time.monotonic()
            self.goal = list(self.q)
            self.outputs["output_int_register_0"] = 1
            print("program started", flush=True)

    def value(self, name: str) -> list[float]:
        """An output."""
        kind = kind_of(name)
        count = code_of(kind)[1]
        known = {
            "timestamp": [time.monotonic() - self.began],
            "actual_q": self.q,
            "target_q": self.goal,
            "actual_qd": self.qd,
            "robot_mode": [self.mode],
            "safety_mode": [self.safety],
            "runtime_state": [2 if self.program else 1],
            "robot_status_bits": [1 | (2 if self.program else 0)],
            "safety_status_bits": [1 if self.safety == 1 else 4 if self.safety == 3 else 128],
            "speed_scaling": [1.0],
            "target_speed_fraction": [1.0],
        }
        return list(known.get(name, [self.outputs.get(name, 0)] * count))


ARM = Controller()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


class Rtde(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.names: list[str] = []
        self.recipes: dict[int, list[str]] = {}
        self.frequency, self.sends = 500.0, False
        self.mine = threading.Lock()
        threading.Thread(target=self.publish, daemon=True).start()
        buffer = b""
        with contextlib.suppress(OSError):
            while chunk := self.request.recv(4096):
                buffer += chunk
                while len(buffer) >= 3 and len(buffer) >= (size := struct.unpack(">H", buffer[:2])[0]):
                    self.take(buffer[2], buffer[3:size])
                    buffer = buffer[size:]
        self.sends = False

    def send(self, kind: int, payload: bytes) -> None:
        with self.mine:
            self.request.sendall(struct.pack(">HB", len(payload) + 3, kind) + payload)

    def take(self, kind: int, payload: bytes) -> None:
        if time.monotonic() < ARM.dark_until:
            return
        if kind == ord("V"):
            self.send(kind, b"\x01")
        elif kind == ord("v"):
            self.send(kind, struct.pack(">4I", 5, 11, 0, 0))
        elif kind == ord("O"):
            self.frequency = struct.unpack(">d", payload[:8])[0]
            self.names = names_in(payload[8:])
            self.send(kind, b"\x01" + ",".join(map(kind_of, self.names)).encode())
        elif kind == ord("I"):
            number = len(self.recipes) + 1
            self.recipes[number] = names_in(payload)
            self.send(kind, bytes([number]) + ",".join(map(kind_of, self.recipes[number])).encode())
        elif kind == ord("S"):
            self.send(kind, b"\x01")
            self.sends = True
        elif kind == ord("P"):
            self.sends = False
            self.send(kind, b"\x01")
        elif kind == ord("U"):
            self.read(payload)

    def read(self, payload: bytes) -> None:
        names = self.recipes.get(payload[0], [])
        with ARM.lock:
            place = 1
            for name in names:
                letters, count = code_of(kind_of(name))
                size = struct.calcsize(f">{letters}")
                values = struct.unpack(f">{letters}", payload[place : place + size])
                place += size
                if count == 1:
                    ARM.inputs[name] = values[0]
            ARM.fed = time.monotonic()
            if ARM.inputs.get("input_int_register_0") == SET_WATCHDOG:
                ARM.period = 1.0 / ARM.inputs["input_double_register_0"]

    def publish(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                time.sleep(max(1 / self.frequency, STEP))
                if not self.sends or time.monotonic() < ARM.dark_until:
                    continue
                with ARM.lock:
                    parts = [
                        struct.pack(f">{code_of(kind_of(name))[0]}", *map(cast(kind_of(name)), ARM.value(name)))
                        for name in self.names
                    ]
                self.send(ord("U"), b"\x01" + b"".join(parts))


def cast(kind: str) -> type:
    return float if kind in ("DOUBLE", "VECTOR6D", "VECTOR3D") else int


class Dashboard(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.say("Connected: Universal Robots Dashboard Server")
        for line in self.rfile:
            self.say(self.answer(line.decode().strip().lower()))

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\n".encode())

    def answer(self, line: str) -> str:
        with ARM.lock:
            if line == "unlock protective stop":
                if ARM.safety == 3 and time.monotonic() - ARM.stopped_at < ARM.unlock_after:
                    return "Cannot unlock protective stop until 5s after occurrence. Always inspect cause of stop."
                ARM.safety = 1 if ARM.safety == 3 else ARM.safety
                return "Protective stop releasing"
            answers = {
                "polyscopeversion": "URSoftware 5.11.0.108249 (Apr 21 2021)",
                "is in remote control": "true",
                "running": f"Program running: {str(ARM.program).lower()}",
                "programstate": "PLAYING" if ARM.program else "STOPPED",
                "robotmode": "Robotmode: RUNNING",
                "safetymode": f"Safetymode: {'NORMAL' if ARM.safety == 1 else 'PROTECTIVE_STOP'}",
                "close safety popup": "closing safety popup",
                "close popup": "closing popup",
                "get serial number": "20205501234",
                "get robot model": "UR5",
                "quit": "Disconnected",
            }
            if line == "stop":
                ARM.end("dashboard")
                return "Stopped"
            return answers.get(line, f"could not understand: '{line}'")


class Scripts(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        text = ""
        with contextlib.suppress(OSError):
            while chunk := self.request.recv(65536):
                text += chunk.decode("utf-8", "replace")
                if text.rstrip().endswith("end"):
                    with ARM.lock:
                        ARM.load(text)
                    text = ""


class Robotiq(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            words = line.decode().split()
            if words[:2] == ["GET", "POS"]:
                self.wfile.write(f"POS {round(ARM.gripper)}\n".encode())
                continue
            if "POS" in words:
                ARM.gripper_goal = int(words[words.index("POS") + 1])
            self.wfile.write(b"ack")


def listen(host: str) -> None:
    for port, handler in ((30004, Rtde), (29999, Dashboard), (30003, Scripts), (30002, Scripts), (63352, Robotiq)):
        server = Server((host, port), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    listen(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1")
    threading.Thread(target=ARM.run, daemon=True).start()
    socket.setdefaulttimeout(None)
    print("ready", flush=True)
    for line in sys.stdin:
        word, _, value = line.strip().partition(" ")
        with ARM.lock:
            if word in ("protective", "emergency"):
                ARM.stop(3 if word == "protective" else 7)
            elif word == "unlock_after":
                ARM.unlock_after = float(value)
            elif word == "drop":
                ARM.dark_until = time.monotonic() + 2.0
            elif word == "quit":
                return


if __name__ == "__main__":
    main()
