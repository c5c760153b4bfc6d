"""Makes the keys for encrypted connections: ``python -m robot_bridge.keys DIR --client NAME``.

``DIR/server.key_secret`` stays on the server; ``DIR/server.key`` goes to every client. ``DIR/clients/NAME.key`` is what
the server admits; ``DIR/NAME.key_secret`` goes to that client and nowhere else.
"""

import argparse
import os
import shutil
from pathlib import Path

import zmq.auth

from common.cli import run
from common.errors import UserError


def server_keys(folder: str | Path) -> tuple[bytes, bytes]:
    """Public and secret key of the server in ``folder``."""
    path = Path(folder) / "server.key_secret"
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        hint = f"make it with 'python -m robot_bridge.keys {folder} --client NAME'"
        raise UserError(f"no server key in {folder}: {error}; {hint}") from None
    if secret is None:
        raise UserError(f"{path} holds no secret key")
    return public, secret


def make_keys(folder: str | Path, client: str | None) -> list[Path]:
    """Writes the server's pair if it is missing, and a pair for ``client``; returns what it wrote.

    An existing client's keys are never replaced: that would lock a robot out.
    """
    folder = Path(folder)
    admitted = folder / "clients"
    admitted.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    if not (folder / "server.key_secret").exists():
        written += _pair(folder, "server")
    if client is not None:
        if not client.replace("-", "").replace("_", "").isalnum() or client == "server":
            raise UserError(f"'{client}' is no name for a client; use letters, digits, - and _")
        if (admitted / f"{client}.key").exists():
            raise UserError(
                f"{admitted / client}.key exists; remove it to shut that client out, or choose another name"
            )
        public, secret = _pair(folder, client)
        written += [Path(shutil.move(public, admitted / public.name)), secret]
    return written


def _pair(folder: Path, name: str) -> tuple[Path, Path]:
    previous = os.umask(0o077)  # the secret is never readable by others, not even for a moment
    try:
        public, secret = zmq.auth.create_certificates(folder, name)
    finally:
        os.umask(previous)
    return Path(public), Path(secret)


def main(argv: list[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m robot_bridge.keys",
        description="Make CURVE keys: the server's once, and one pair for each client.",
        epilog="then: python -m robot_bridge.serve --keys DIR ..., and python -m robot_bridge.run "
        "--keys NAME.key_secret --server-key server.key ...",
    )
    parser.add_argument("folder", type=Path, help="where the keys live (on the server)")
    parser.add_argument("--client", metavar="NAME", help="also make a pair for this client and admit it")
    arguments = parser.parse_args(argv)
    for path in make_keys(arguments.folder, arguments.client):
        print(path)


if __name__ == "__main__":
    run(main)
