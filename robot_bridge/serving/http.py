"""HTTP for those who watch the server: ``GET /metrics`` for Prometheus, ``GET /healthz`` for a supervisor."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from common.errors import UserError

CONNECTIONS = 16
"""Connections served at a time; more are closed."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._places = threading.BoundedSemaphore(CONNECTIONS)

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError:
            time.sleep(0.1)  # too many open files: the connection stays announced, and would be asked for at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()


def serve_http(
    metrics: Callable[[], str], unhealthy: Callable[[], str | None], host: str, port: int
) -> ThreadingHTTPServer:
    """Answers from threads of its own: what ``metrics`` says, and 200, or 503 with the reason ``unhealthy`` gives.

    ``UserError`` when the port cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # a connection that says nothing is closed

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, metrics(), "text/plain; version=0.0.4")
            elif self.path == "/healthz":
                reason = unhealthy()
                self._answer(200, "ready\n") if reason is None else self._answer(503, f"{reason}\n")
            else:
                self._answer(404, "try /metrics or /healthz\n")

        def _answer(self, status: int, text: str, kind: str = "text/plain") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent: a scrape every few seconds is not news."""

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise UserError(
            f"cannot answer HTTP on {host}:{port}: {error.strerror}; choose another --metrics-port"
        ) from None
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
