"""A robot of ros2_control behind a rosbridge: an SO-101's joints, its broadcaster and its forward controllers.

Of rosbridge's protocol v2 it speaks what concerns topics and services, with the documented errors as status messages.
A forward_command_controller ignores what has another number of joints than its own, ignores everything while it is not
active, and keeps its last command for ever. Joint states come in another order than anybody asked for, with a joint
too many, and without the velocities of some (NaN, which is null in JSON).

ros2_simulator.py PORT [--separate-gripper]
Standard input: mute | speak | late SECONDS | stall SECONDS | hang_up SECONDS | deactivate | say | quit
"""

import contextlib
import json
import math
import sys
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

BROADCAST = ("wheel", "wrist_roll", "gripper", "elbow_flex", "shoulder_pan", "wrist_flex", "shoulder_lift")
ARM = ("wrist_flex", "shoulder_pan", "elbow_flex", "wrist_roll", "shoulder_lift")
WITHOUT_VELOCITY = ("gripper", "shoulder_lift", "wrist_roll")
STEP, STATE_PERIOD = 0.002, 0.005
LAG, FASTEST = 0.03, 4.0
"""Seconds and rad/s of every joint's own position control."""
COMMANDS = "std_msgs/msg/Float64MultiArray"
LIST_CONTROLLERS = "/controller_manager/list_controllers"


class Controller:
    """A forward_command_controller of ``joints``."""

    def __init__(self, name: str, joints: tuple[str, ...]):
        self.name, self.joints = name, joints
        self.topic, self.state, self.taken = f"/{name}/commands", "active", 0

    def take(self, data: list[float], robot: "Robot") -> None:
        if self.state == "active" and len(data) == len(self.joints):
            self.taken += 1
            robot.goals.update(zip(self.joints, data, strict=True))

    def described(self) -> dict:
        interfaces = [f"{joint}/position" for joint in self.joints]
        return {
            "name": self.name,
            "state": self.state,
            "type": "forward_command_controller/ForwardCommandController",
            "claimed_interfaces": sorted(interfaces) if self.state == "active" else [],
            "required_command_interfaces": interfaces,
        }


class Robot:
    """Joints that go to their goals by themselves, and all who listen to them."""

    def __init__(self, controllers: list[Controller]):
        self.controllers = {controller.topic: controller for controller in controllers}
        self.goals = dict.fromkeys(BROADCAST, 0.0)
        self.places, self.speeds = dict(self.goals), dict.fromkeys(BROADCAST, 0.0)
        self.lock = threading.Lock()
        self.clients: dict[ServerConnection, float] = {}  # with the ms that are to be between two messages
        self.mute, self.late, self.stalled_until, self.deaf_until = False, 0.0, 0.0, 0.0

    def run(self) -> None:
        before = told = time.monotonic()
        sent: dict[ServerConnection, float] = {}
        while True:
            time.sleep(STEP)
            now = time.monotonic()
            with self.lock:
                for joint, goal in self.goals.items():
                    speed = min(max((goal - self.places[joint]) / LAG, -FASTEST), FASTEST)
                    self.speeds[joint] = speed
                    self.places[joint] += speed * min(now - before, LAG)
                text = self._joint_states()
            before = now
            if now - told < STATE_PERIOD or self.mute or now < self.stalled_until:
                continue
            told = now
            for client, throttle in self.clients.copy().items():
                if now - sent.get(client, 0.0) >= throttle / 1000:
                    sent[client] = now
                    with contextlib.suppress(ConnectionClosed, OSError):
                        client.send(text)

    def _joint_states(self) -> str:
        nanoseconds = time.time_ns() - int(self.late * 1e9)
        message = {
            "header": {
                "stamp": {"sec": nanoseconds // 10**9, "nanosec": nanoseconds % 10**9},
                "frame_id": "",
            },
            "name": list(BROADCAST),
            "position": [self.places[joint] for joint in BROADCAST],
            "velocity": [None if joint in WITHOUT_VELOCITY else self.speeds[joint] for joint in BROADCAST],
            "effort": [],
        }
        return json.dumps({"op": "publish", "topic": "/joint_states", "msg": message})


class Bridge:
    """One client of rosbridge_server."""

    def __init__(self, robot: Robot, connection: ServerConnection):
        self._robot, self._connection = robot, connection
        self._advertised: set[str] = set()

    def serve(self) -> None:
        try:
            for text in self._connection:
                if (wait := self._robot.stalled_until - time.monotonic()) > 0:
                    time.sleep(wait)
                message = json.loads(text)
                handle = getattr(self, f"_{message.get('op')}", None)
                if handle is None:
                    self._complain(f"Unknown operation: {message.get('op')}")
                else:
                    handle(message)
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._robot.clients.pop(self._connection, None)

    def _advertise(self, message: dict) -> None:
        if message["topic"] in self._robot.controllers and message["type"] != COMMANDS:
            self._complain(f"advertise TypeConflictException: {message['topic']} is a {COMMANDS}")
            return
        self._advertised.add(message["topic"])

    def _subscribe(self, message: dict) -> None:
        if message["topic"] == "/joint_states":
            self._robot.clients[self._connection] = message.get("throttle_rate", 0)
        elif not message.get("type"):
            self._complain(f"subscribe TopicNotEstablishedException: {message['topic']}")

    def _publish(self, message: dict) -> None:
        topic, data = message["topic"], message["msg"].get("data")
        controller = self._robot.controllers.get(topic)
        if controller is None and topic not in self._advertised:
            self._complain(f"publish TopicNotEstablishedException: {topic}")
        elif not isinstance(data, list) or not all(isinstance(value, int | float) for value in data):
            self._complain(f"publish FieldTypeMismatchException: {topic} requires a double[] for field data")
        elif controller is not None and all(map(math.isfinite, data)):
            with self._robot.lock:
                controller.take(data, self._robot)

    def _call_service(self, message: dict) -> None:
        known = message["service"] == LIST_CONTROLLERS
        controllers = [controller.described() for controller in self._robot.controllers.values()]
        values = {"controller": controllers} if known else f"Service {message['service']} does not exist"
        answer = {"op": "service_response", "service": message["service"], "values": values, "result": known}
        self._connection.send(json.dumps(answer | {key: message[key] for key in ("id",) if key in message}))

    def _complain(self, text: str) -> None:
        self._connection.send(json.dumps({"op": "status", "level": "error", "msg": text}))


def main() -> None:
    separate = "--separate-gripper" in sys.argv
    controllers = [Controller("forward_position_controller", ARM if separate else (*ARM[:2], "gripper", *ARM[2:]))]
    if separate:
        controllers.append(Controller("gripper_controller", ("gripper",)))
    robot = Robot(controllers)

    def accept(connection: ServerConnection) -> None:
        if time.monotonic() >= robot.deaf_until:
            Bridge(robot, connection).serve()

    server = serve(accept, "127.0.0.1", int(sys.argv[1]), compression=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=robot.run, daemon=True).start()
    print(f"ready ws://127.0.0.1:{server.socket.getsockname()[1]}", flush=True)
    for line in sys.stdin:
        word, _, value = line.strip().partition(" ")
        if word in ("mute", "speak"):
            robot.mute = word == "mute"
        elif word == "late":
            robot.late = float(value)
        elif word == "stall":
            robot.stalled_until = time.monotonic() + float(value)
        elif word == "hang_up":
            robot.deaf_until = time.monotonic() + float(value)
            for client in list(robot.clients):
                client.close()
        elif word == "deactivate":
            controllers[0].state = "inactive"
        elif word == "say":
            taken = sum(controller.taken for controller in controllers)
            print(json.dumps({"taken": taken, "places": robot.places, "goals": robot.goals}), flush=True)
        elif word == "quit":
            return


if __name__ == "__main__":
    main()
