"""The loop over bad networks: delay up to 300 ms there and back, lost answers, stalls."""

import time

import pytest

from policy.remote import PolicyClient, RemotePolicyError
from robot_bridge.asker import Asker
from robot_bridge.run import CONNECTIONS, PolicyQuestion
from robot_bridge.safety import Mode
from tests.robot_bridge.arms import safety_config
from tests.robot_bridge.policies import ConstantPolicy, observation, serving, until, with_patience
from tests.robot_bridge.processes import Bench, MovingPolicy, sideways
from tests.robot_bridge.proxy import BadNetwork
from tests.robot_bridge.test_loop import VIEWS, Rig


@pytest.fixture
def network():
    """Makes bad networks before a small policy."""
    networks: list[BadNetwork] = []
    with serving(ConstantPolicy()) as server:

        def make(**options) -> BadNetwork:
            networks.append(BadNetwork(server.endpoint, **options))
            return networks[-1]

        yield make
        for made in networks:
            made.close()


def test_a_client_connects_and_asks_over_a_round_trip_of_300_ms(network):
    slow = network(delay=0.15)
    with PolicyClient(slow.address, encoding="raw") as client:
        started = time.monotonic()
        client.get_action(observation())
        connecting = time.monotonic() - started
        client.timeout = 1.0  # the default of the loop
        started = time.monotonic()
        client.get_action(observation(3))
        assert 0.3 <= time.monotonic() - started < 0.9
        assert connecting > 0.6  # several round trips


def test_one_lost_answer_does_not_cost_the_connection(network):
    slow = network(delay=0.15)
    with PolicyClient(slow.address, encoding="raw") as client:
        client.ping()
        client.timeout = 0.6
        slow.lose()
        with pytest.raises(RemotePolicyError, match="no answer"):
            client.get_action(observation())
        assert client.get_action(observation(7))[0]["action"][0, 0, 0] == 7  # within 0.6 s: no new connection


def test_a_connection_that_stays_silent_is_replaced(network):
    dead = network()
    with PolicyClient(dead.address, encoding="raw", timeout=0.2) as client:
        client.ping()
        dead.lose(2)
        for _ in range(2):
            with pytest.raises(RemotePolicyError):
                client.get_action(observation())
        client.timeout = 5.0
        assert client.get_action(observation(7))[0]["action"][0, 0, 0] == 7


def rig_over(bad: BadNetwork, folder) -> Rig:
    """A loop at 50 Hz whose policy is beyond the bad network; all connections stand."""
    clients = [PolicyClient(bad.address, timeout=5.0) for _ in range(CONNECTIONS)]
    for client in clients:
        client.ping()
        client.timeout = 1.0
    asker = Asker(*(PolicyQuestion(client, VIEWS, "reach") for client in clients))
    safety = safety_config(hold_after=0.5, stop_after=2.0, state_timeout=0.4)
    return Rig(folder, asker, safety=safety)


@pytest.mark.parametrize("delay", [0.0, 0.15])
def test_one_lost_answer_does_not_hold_the_arm(network, tmp_path, delay: float):
    def attempt() -> None:
        bad = network(delay=delay)
        made = rig_over(bad, tmp_path).start()
        until(lambda: made.mode is Mode.RUNNING, 15)
        time.sleep(0.5)
        for _ in range(3):
            bad.lose()
            time.sleep(0.8)
        modes = [kind for _, kind, _ in made.loop.report.events if kind != "request_failed"]
        errors = made.loop.report.errors
        made.close()
        assert modes == ["running"]
        assert bad.lost == 3
        assert errors >= 1

    with_patience(attempt)


def test_a_stall_holds_the_arm_and_it_goes_on_by_itself(network, tmp_path):
    bad = network(delay=0.02)
    made = rig_over(bad, tmp_path).start()
    until(lambda: made.mode is Mode.RUNNING, 15)
    bad.stall(1.0)
    until(lambda: made.mode is Mode.HOLDING, 5)
    until(lambda: made.mode is Mode.RUNNING, 5)
    made.close()


def test_the_command_starts_and_runs_with_its_defaults_over_a_round_trip_of_300_ms(tmp_path):
    pytest.importorskip("mink")
    pytest.importorskip("robosuite")
    bench = Bench(tmp_path)
    with serving(MovingPolicy(sideways)) as server:
        slow = BadNetwork(server.endpoint, delay=0.15)
        bench.policy = slow.address

        def attempt() -> None:
            loop = bench.loop("--seconds", "6")
            loop.err.wait_for("running: ", 60)
            assert loop.wait() == 0
            assert "holding" not in loop.err.text().split("running: ", 1)[1]
            assert 300 < loop.report()["age_ms_p50"] < 900

        try:
            bench.twin()
            with_patience(attempt)
        finally:
            bench.close()
            slow.close()
