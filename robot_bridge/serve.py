"""The policy server's command: ``python -m robot_bridge.serve --checkpoint X --bind tcp://127.0.0.1:5555``."""

import argparse
import logging
import os
import signal
from urllib.parse import urlsplit

from common.cli import run
from common.errors import UserError
from policy import DEFAULT_BUNDLE
from policy.interface import Policy
from robot_bridge import logs
from robot_bridge.logs import fields
from robot_bridge.metrics import serve_http
from robot_bridge.server import PolicyServer, warm_up

TOKEN_VARIABLE = "ROBOT_BRIDGE_TOKEN"

log = logging.getLogger("robot_bridge.serve")


def is_local(bind: str) -> bool:
    """Whether only this machine can reach ``bind``."""
    parts = urlsplit(bind)
    if parts.scheme in ("ipc", "inproc"):
        return True
    host = parts.hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def check_bind(bind: str, protected: bool, forced: bool) -> None:
    """Refuses to let a whole network drive the robot."""
    if not (is_local(bind) or protected or forced):
        raise UserError(
            f"{bind} can be reached from other machines and neither a token nor keys protect it; set {TOKEN_VARIABLE}, "
            "or --keys DIR (python -m robot_bridge.keys DIR --client NAME), or say --insecure"
        )


def serve(policy: Policy, server: PolicyServer, warm_sizes: tuple[int, ...]) -> None:
    """Warms ``policy`` up, then serves until SIGTERM or Ctrl-C, and answers what is in flight."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    warm_up(policy, warm_sizes, lambda size, took: log.info("warm", extra=fields(batch=size, took_s=round(took, 3))))
    log.info("ready", extra=fields(address=server.endpoint, policy=policy.describe()))
    server.run()
    log.info("stopped")


def main(argv: list[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m robot_bridge.serve",
        description="Serve a policy over ZeroMQ to our clients and to Isaac-GR00T's (docs/wire.md).",
        epilog="try it: python -m robot_bridge.serve & python -m sim.eval --policy tcp://127.0.0.1:5555 --episodes 2",
    )
    parser.add_argument("--checkpoint", default=DEFAULT_BUNDLE, help="the policy's bundle")
    parser.add_argument("--bind", default="tcp://127.0.0.1:5555", help="address to listen on (this machine only)")
    parser.add_argument("--device", help="device of the policy (default: cuda if there is one, else cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the policy (default: all cores but one)")
    parser.add_argument("--max-batch", type=int, default=8, help="observations in one call of the policy, at most")
    parser.add_argument("--max-wait-ms", type=float, default=2.0, help="how long a request waits for other clients'")
    parser.add_argument("--keys", help=f"folder of python -m robot_bridge.keys; a token is read from {TOKEN_VARIABLE}")
    parser.add_argument(
        "--insecure", action="store_true", help="listen on a network without token or keys all the same"
    )
    parser.add_argument(
        "--metrics-port", type=int, help="also answer GET /metrics and /healthz here (this machine only)"
    )
    parser.add_argument("--grace", type=float, default=10.0, help="seconds that SIGTERM leaves to requests in flight")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    arguments = parser.parse_args(argv)
    if arguments.max_batch < 1 or arguments.max_wait_ms < 0:
        raise UserError("--max-batch must be at least 1 and --max-wait-ms at least 0")
    logs.configure(arguments.log_level)
    token = os.environ.get(TOKEN_VARIABLE) or None
    check_bind(arguments.bind, token is not None or arguments.keys is not None, arguments.insecure)
    if token is not None and arguments.keys is None and not is_local(arguments.bind):
        log.warning("the token and all images travel readable by others; add --keys")

    import torch  # not for --help

    from policy import load_policy

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    policy = load_policy(arguments.checkpoint, device=device, threads=arguments.threads)
    server = PolicyServer(
        policy,
        arguments.bind,
        max_batch=arguments.max_batch,
        max_wait=arguments.max_wait_ms / 1000,
        token=token,
        keys=arguments.keys,
        grace=arguments.grace,
    )
    http = None
    if arguments.metrics_port is not None:
        http = serve_http(server.metrics, "127.0.0.1", arguments.metrics_port)
    try:
        serve(policy, server, tuple(sorted({1, arguments.max_batch})))
    finally:
        if http is not None:
            http.shutdown()


if __name__ == "__main__":
    run(main)
