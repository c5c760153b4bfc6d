"""HTTP for those who watch: metrics, health, and no way to wear it out."""

import socket
import urllib.error
import urllib.request

import pytest

from common.errors import UserError
from robot_bridge.serving.http import CONNECTIONS, serve_http
from robot_bridge.serving.metrics import ServerMetrics


def get(http, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http.server_address[1]}{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_health():
    metrics = ServerMetrics()
    reasons = ["warming up"]
    http = serve_http(metrics.text, lambda: reasons[0] if reasons else None, "127.0.0.1", 0)
    assert get(http, "/healthz") == (503, "warming up\n")
    reasons.clear()
    assert get(http, "/healthz") == (200, "ready\n")
    assert get(http, "/anything")[0] == 404
    metrics.count("get_action", "ok")
    metrics.request_seconds.observe(0.003)
    text = get(http, "/metrics")[1]
    assert 'policy_requests_total{endpoint="get_action",outcome="ok"} 1' in text
    assert 'policy_request_seconds_bucket{le="0.005"} 1' in text
    assert 'policy_request_seconds_bucket{le="+Inf"} 1' in text
    http.shutdown()


def test_a_port_in_use_is_a_user_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="--metrics-port"):
        serve_http(str, lambda: None, "127.0.0.1", taken.getsockname()[1])


def test_connections_that_say_nothing_do_not_pile_up():
    http = serve_http(str, lambda: None, "127.0.0.1", 0)
    silent = [socket.create_connection(http.server_address) for _ in range(CONNECTIONS + 4)]
    for connection in silent[CONNECTIONS:]:
        connection.settimeout(5)
        assert connection.recv(1) == b""  # closed at once
    for connection in silent:
        connection.close()
    http.shutdown()
