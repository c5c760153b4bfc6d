"""Serve a policy over ZeroMQ to our clients and Isaac-GR00T's, over websockets to openpi's (docs/wire.md).

try it: python -m robot_bridge.serve & python -m sim.eval --policy tcp://127.0.0.1:5555 --episodes 2
"""

import functools
import logging
import math
import os
import re
import signal
import sys
from contextlib import ExitStack
from urllib.parse import urlsplit

from common.cli import CommandParser, run
from common.errors import UserError
from policy import DEFAULT_BUNDLE
from policy.interface import Policy
from policy.remote.names import Names
from policy.remote.openpi import LIBERO_NAMES
from policy.runtimes.opening import load_runtime
from policy.runtimes.options import add_runtime_options, runtime_options
from robot_bridge import logs
from robot_bridge.logs import fields
from robot_bridge.realtime import prefer_this_process
from robot_bridge.server import PolicyServer, ServerFailed, warm_up
from robot_bridge.serving.http import serve_http
from robot_bridge.serving.modality import RELEASES
from robot_bridge.serving.openpi import OpenpiDoor

TOKEN_VARIABLE = "ROBOT_BRIDGE_TOKEN"
OPENPI_TIMEOUT = 30.0
"""Seconds for which a request of openpi's clients, who wait without end, waits for the policy."""

log = logging.getLogger("robot_bridge.serve")


def is_local(bind: str) -> bool:
    """Whether only this machine can reach ``bind``."""
    parts = urlsplit(bind)
    if parts.scheme in ("ipc", "inproc"):
        return True
    host = parts.hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def check_bind(bind: str, protected: bool, forced: bool) -> None:
    """Refuses what is no address, and to let a whole network drive the robot."""
    port = re.fullmatch(r"tcp://(?:\[[^\]]+\]|[^\[\]:/]+):(\d{1,5}|\*)", bind)
    if not bind.startswith("ipc://") and not (port and (port[1] == "*" or int(port[1]) < 1 << 16)):
        raise UserError(f"--bind {bind} is no address to listen on; write tcp://HOST:PORT, with a port up to 65535")
    if not (is_local(bind) or protected or forced):
        raise UserError(
            f"{bind} can be reached from other machines and neither a token nor keys protect it; set {TOKEN_VARIABLE}, "
            "or --keys DIR (python -m robot_bridge.keys DIR --client NAME), or say --insecure"
        )


def openpi_host(bind: str, token: str | None, forced: bool) -> str:
    """Where openpi's clients are listened for: on the same network as ``bind``, on this machine where that is a file.

    Raises:
        UserError: others can reach it, and no token protects it; keys do not reach so far.
    """
    host = "127.0.0.1" if bind.startswith("ipc://") else urlsplit(bind).hostname or ""
    if not (is_local(bind) or token is not None or forced):
        raise UserError(
            f"openpi's clients on other machines need a token: set {TOKEN_VARIABLE}, their api_key, or say --insecure"
        )
    return "" if host == "*" else host


def openpi_door(
    server: PolicyServer, policy: Policy, host: str, port: int, token: str | None, rename: list[str]
) -> OpenpiDoor:
    """A door for openpi's clients in front of ``server``, which closes it when it ends."""
    names = Names.read(rename, policy.views, LIBERO_NAMES)
    client = functools.partial(server.client, OPENPI_TIMEOUT)
    door = OpenpiDoor(host, port, names, client, server.description, server.unhealthy, token)
    server.before_the_end(door.close)
    return door


def serve(policy: Policy, server: PolicyServer, warm_sizes: tuple[int, ...], openpi: OpenpiDoor | None = None) -> int:
    """Warms ``policy`` up, then serves until SIGTERM or Ctrl-C, and answers what is in flight.

    Returns the exit status: 0, or 1 when the server could not go on, so that a supervisor starts it again.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    # A thread that wakes up asks for the interpreter after this long (s); the default, 5 ms, holds up every answer.
    sys.setswitchinterval(0.0005)
    warm_up(policy, warm_sizes, lambda size, took: log.info("warm", extra=fields(batch=size, took_s=round(took, 3))))
    log.info("ready", extra=fields(address=server.endpoint, policy=policy.describe()))
    if openpi is not None:
        openpi.start()
        log.info("openpi", extra=fields(port=openpi.port))
    try:
        server.run()
    except ServerFailed as error:
        log.critical("failed", extra=fields(reason=str(error)))
        return 1
    log.info("stopped")
    return 0


def main(argv: list[str]) -> int:
    """The command."""
    parser = CommandParser("robot_bridge.serve", __doc__)
    parser.add_argument("--checkpoint", default=DEFAULT_BUNDLE, help="the policy's bundle, or its export")
    parser.add_argument("--bind", default="tcp://127.0.0.1:5555", help="address to listen on (this machine only)")
    parser.add_argument("--device", help="device of the policy (default: cuda if there is one, else cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the policy (default: all cores but one)")
    add_runtime_options(parser)
    parser.add_argument(
        "--priority",
        type=int,
        default=0,
        help="real-time priority, 1 to 99, where the system grants it: answers come in time beside busy processes, "
        "which wait meanwhile; below the control loop's 20 when both run here (default: as any process)",
    )
    parser.add_argument("--max-batch", type=int, default=16, help="observations in one call of the policy, at most")
    parser.add_argument("--max-wait-ms", type=float, default=2.0, help="how long a request waits for other clients'")
    parser.add_argument("--keys", help=f"folder of python -m robot_bridge.keys; a token is read from {TOKEN_VARIABLE}")
    parser.add_argument(
        "--insecure", action="store_true", help="listen on a network without token or keys all the same"
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="what clients call a camera, proprio, task or action, such as agentview=front, proprio=arm+gripper or "
        "action=arm:6+gripper:1 (docs/wire.md); may be given again",
    )
    parser.add_argument(
        "--groot", choices=RELEASES, default="1.6", help="release of GR00T whose clients get_modality_config answers"
    )
    parser.add_argument(
        "--openpi",
        type=int,
        metavar="PORT",
        help="also serve openpi's websocket clients, on this port of --bind's host (docs/wire.md)",
    )
    parser.add_argument(
        "--metrics-port", type=int, help="also answer GET /metrics and /healthz here (this machine only)"
    )
    parser.add_argument("--grace", type=float, default=10.0, help="seconds that SIGTERM leaves to requests in flight")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    arguments = parser.parse_args(argv)
    _check("--max-batch", arguments.max_batch, 1, 1024)
    _check("--max-wait-ms", arguments.max_wait_ms, 0, 10_000)
    _check("--grace", arguments.grace, 0, 3600)
    _check("--threads", arguments.threads, 1, 1024)
    _check("--priority", arguments.priority, 0, 99)
    _check("--openpi", arguments.openpi, 1, 65535)
    _check("--metrics-port", arguments.metrics_port, 1, 65535)
    logs.configure(arguments.log_level)
    token = os.environ.get(TOKEN_VARIABLE) or None
    check_bind(arguments.bind, token is not None or arguments.keys is not None, arguments.insecure)
    host = openpi_host(arguments.bind, token, arguments.insecure) if arguments.openpi is not None else ""
    if token is not None and arguments.keys is None and not is_local(arguments.bind):
        log.warning("the token and all images travel readable by others; add --keys")

    prefer_this_process(arguments.priority)  # before the threads that serve and compute start, so that they inherit it

    policy = load_runtime(
        arguments.checkpoint, device=arguments.device, threads=arguments.threads, **runtime_options(arguments)
    )
    server = PolicyServer(
        policy,
        arguments.bind,
        max_batch=arguments.max_batch,
        max_wait=arguments.max_wait_ms / 1000,
        token=token,
        keys=arguments.keys,
        grace=arguments.grace,
        rename=arguments.rename,
        groot=arguments.groot,
    )
    with ExitStack() as stack:
        stack.callback(server.close)
        if arguments.metrics_port is not None:
            http = serve_http(server.metrics.text, server.unhealthy, "127.0.0.1", arguments.metrics_port)
            stack.callback(http.shutdown)
        openpi = None
        if arguments.openpi is not None:
            openpi = openpi_door(server, policy, host, arguments.openpi, token, arguments.rename)
        return serve(policy, server, tuple(sorted({1, arguments.max_batch})), openpi)


def _check(option: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not (math.isfinite(value) and least <= value <= most):
        raise UserError(f"{option} must be {least:g} to {most:g}, not {value:g}")


if __name__ == "__main__":
    run(main)
