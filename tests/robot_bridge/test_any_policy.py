"""The loop and the twin with servers of other protocols: the same joint map, safety filter and watchdog."""

from collections.abc import Callable

import pytest

pytest.importorskip("mink")
pytest.importorskip("robosuite")
pytest.importorskip("websockets")

from tests.robot_bridge.processes import Bench
from tests.robot_bridge.test_groot import NPY, GrootServer
from tests.robot_bridge.test_openpi import ForeignServer


class Served:
    """A server of another project's protocol: its address, and how it falls silent."""

    def __init__(self, address: str, silence: Callable[[], object], close: Callable[[], object]):
        self.address, self.silence, self.close = address, silence, close


def groot() -> Served:
    server = GrootServer(NPY)

    def end() -> None:
        server.running = False

    return Served(server.address.replace("tcp://", "groot://") + "?image_size=32", end, end)


def openpi() -> Served:
    server = ForeignServer(horizon=16)
    return Served(f"{server.address}?image_size=32", server.silent.set, server.close)


@pytest.mark.parametrize("start", [groot, openpi])
def test_the_loop_drives_the_twin_and_its_watchdog_stops_it_when_the_server_falls_silent(tmp_path, start):
    bench, served = Bench(tmp_path), start()
    try:
        bench.twin()
        loop = bench.loop("--server", served.address)
        running = loop.err.wait_for("running: ", 60)
        with pytest.raises(AssertionError):
            loop.err.wait_for("holding: |stopped: ", 1.5, since=running)
        served.silence()
        loop.err.wait_for("holding: ", 10)
        loop.err.wait_for("stopped: ", 10)
        loop.type("q")
        report = loop.report()
        assert loop.wait() == 0
        assert f"at {served.address}" in loop.out.text()
        assert report["ticks"] > 20
        assert report["requests"] > 5
        assert not report["interventions"].get("bad_action")
    finally:
        bench.close()
        served.close()
