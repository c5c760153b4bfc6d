"""The expert goes on from wherever a policy has left the arm; only its part becomes a demonstration."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos.hdf5 import DemoReader
from demos.phases import phase_segments
from policy import DEFAULT_BUNDLE
from policy.interface import Text
from sim import collect
from sim.collection.demonstrate import Disturbance, play
from sim.collection.kept_environment import Rendering
from sim.collection.quota import Quota
from sim.collection.recording import CollectionSettings
from sim.collection.takeover import EARLIEST, Takeover, hand_over
from sim.experts import expert_moves
from sim.experts.arm import Arm
from sim.experts.carry import pick
from sim.experts.world import World
from sim.libero import benchmark
from sim.libero.env import LiberoEnv

CALM = Disturbance(noise=0.0, push_chance=0.0, nudge_chance=0.0)
SOON = 7
"""A seed of a takeover after two seconds."""
NOTHING = np.array([0, 0, 0, 0, 0, 0, -1.0])


@pytest.fixture(scope="module")
def env(libero_assets: Path) -> Iterator[LiberoEnv]:
    env = LiberoEnv("libero_object", 1, image_size=16, fast_render=True)
    yield env
    env.close()


class Knows:
    """As much of a policy as a takeover asks: plays what a function says, one action a chunk."""

    views = ("agentview",)
    image_size = (16, 16)
    action_horizon = 1

    def __init__(self, action: Callable[[], np.ndarray]) -> None:
        self._action = action

    def act(self, images: np.ndarray, proprio: np.ndarray | None, text: Text) -> np.ndarray:
        return self._action().astype(np.float32)[None, None]

    def describe(self) -> dict[str, Any]:
        return {"name": "knows", "hash": "0123456789abcdef", "fast_render": True}


def circling(env: LiberoEnv) -> Callable[[Callable[[], None], np.random.Generator], list[np.ndarray]]:
    """The lead of a policy that circles above the table with closed fingers."""

    def lead(begin: Callable[[], None], rng: np.random.Generator) -> list[np.ndarray]:
        angles = iter(np.arange(0, 100, 0.1))

        def around() -> np.ndarray:
            angle = next(angles)
            return np.array([0.3 * np.cos(angle), 0.3 * np.sin(angle), 0.0, 0.0, 0.0, 0.1 * np.cos(angle), 1.0])

        return hand_over(env, Knows(around), 1, begin, rng)

    return lead


def test_the_expert_goes_on_from_where_a_policy_has_led_the_arm(env: LiberoEnv):
    take = play(env, SOON, Disturbance(), circling(env))
    assert take is not None
    assert EARLIEST <= take.taken_over <= 0.8 * env.max_steps
    home = np.array(env.problem.robots[0].init_qpos)
    assert np.abs(take.states[0, 1:8] - home).max() > 0.15
    assert take.states[0, 8] - take.states[0, 9] < 0.01  # the fingers are closed as they were
    assert take.actions[-1, 6] == -1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_takeover(env: LiberoEnv):
    first, again = (play(env, SOON, Disturbance(), circling(env)) for _ in range(2))
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.states, again.states)
    np.testing.assert_array_equal(first.actions, again.actions)


def test_an_object_in_hand_is_carried_on(env: LiberoEnv):
    def lead(begin: Callable[[], None], rng: np.random.Generator) -> list[np.ndarray]:
        led = []
        for action, phase in expert_moves(env, rng):
            led.append(action)
            env.advance(action)
            if phase == "carry" and World(env).airborne("cream_cheese_1"):
                return led
        raise AssertionError

    take = play(env, 0, CALM, lead)
    assert take is not None
    assert [name for name, _ in phase_segments(take.phases)] == ["carry", "retreat"]


@pytest.mark.slow
def test_a_wrong_object_is_put_down_first(env: LiberoEnv):
    other = "alphabet_soup_1"

    def lead(begin: Callable[[], None], rng: np.random.Generator) -> list[np.ndarray]:
        world = World(env)
        led = [NOTHING]
        for action in pick(world, Arm(world), other):
            led.append(action)
            env.advance(action)
        assert world.held() == other
        return led

    take = play(env, 0, CALM, lead)
    assert take is not None
    world = World(env)
    assert world.held() is None
    assert world.rotation(other)[2, 2] > 0.9 or abs(world.rotation(other)[2, 1]) > 0.9  # it stands, as it did


@pytest.mark.slow
def test_a_policy_that_succeeds_is_taken_over_earlier_in_the_same_episode(env: LiberoEnv):
    def begin() -> None:
        env.restart(seed=0)
        env.settle()

    begin()
    moves = expert_moves(env, np.random.default_rng(0))
    states = []

    def expert() -> np.ndarray:
        states.append(env.state())
        return next(moves)[0]

    late = next(rng for rng in map(np.random.default_rng, range(99)) if _first_draw(rng) > 200)
    led = hand_over(env, Knows(expert), 1, begin, late)
    assert EARLIEST <= len(led) < len(states) < 200
    np.testing.assert_array_equal(env.state(), states[len(led)])


def _first_draw(rng: np.random.Generator) -> int:
    """The step that this generator would draw first for a limit of 280, without having drawn it."""
    copy = np.random.default_rng()
    copy.bit_generator.state = rng.bit_generator.state
    return int(copy.integers(EARLIEST, 225))


def test_takeovers_are_a_data_set_of_their_own_and_begin_where_no_other_demonstration_does(tmp_path: Path):
    task = benchmark.task("libero_10", 5)
    plain = CollectionSettings(tmp_path, Rendering("pack", 32, True), 0.08, True)
    takeover = CollectionSettings(tmp_path, Rendering("pack", 32, True), 0.08, True, Takeover("tcp://host:5555"))
    named = CollectionSettings(tmp_path, Rendering("pack", 32, True), 0.08, True, Takeover("tcp://host:5555"), "again")
    parents = [settings.path(task).parent.name for settings in (plain, takeover, named)]
    assert parents == ["libero_10", "libero_10_takeover", "again"]
    seeds = [Quota.resumed(settings, task, 10, seed).next_seed for settings in (plain, takeover) for seed in (0, 1)]
    assert len({seed // 1000 for seed in seeds}) == 4


@pytest.mark.slow
def test_takeovers_of_the_default_policy_are_ordinary_demonstrations(tmp_path: Path, libero_assets: Path):
    command = ["--suite", "libero_object", "--tasks", "0", "--episodes", "1", "--workers", "1", "--image-size", "32"]
    command += ["--fast-render", "--out", str(tmp_path), "--takeover", str(DEFAULT_BUNDLE)]
    assert collect.main([*command, "--assets", str(libero_assets)]) == 0
    (file,) = (tmp_path / "demos" / "libero_object_takeover").glob("*_demo.hdf5")
    with DemoReader(file) as reader:
        attributes = reader[0].attributes
        assert len(attributes["takeover_policy"]) == 16
        assert int(attributes["takeover_step"]) >= EARLIEST
    folder = tmp_path / "tracks" / "libero_object_takeover" / "uniform_400_reinit_16" / file.stem
    assert (folder / "demo_0.hdf5").exists()
