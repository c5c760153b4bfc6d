"""One demonstration: the expert plays an episode without rendering, then its successes are replayed for the cameras.

The executed actions are disturbed and the recorded ones are not, so that demonstrations show how to come back. The
episode goes on past success through release and retreat: LIBERO's predicates often hold while the hand still holds
the object, and a policy that has never seen a release never lets go.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from common.conventions import HORIZON
from demos.hdf5 import Episode
from demos.phases import PHASES, phase_numbers
from demos.tracks import Tracks
from sim.collection.exact_tracks import TrackRecorder
from sim.experts import expert_moves
from sim.libero.env import CAMERAS, LiberoEnv

STEPS_AFTER_SUCCESS = 40
"""Longest tail after the first success (control steps); the expert usually retreats and ends sooner."""


@dataclass(frozen=True)
class Disturbance:
    """What is added to the start and to executed actions.

    Args:
        start: standard deviation (rad) of the noise on the first joint positions; the shipped initial states have it,
            LIBERO's own reset does not.
        noise: standard deviation of Gaussian noise on the six arm numbers, drawn up to this for every episode.
        push_chance: chance per step that a push begins while the hand is open and high.
        push_size, push_steps: size (action units) and length of a push.
        nudge_chance, nudge_size, nudge_steps: the same, sideways only, while the open hand is low: it must find back
            to its grasp from a centimetre or two beside it.
    """

    start: float = 0.02
    noise: float = 0.08
    push_chance: float = 0.02
    push_size: float = 0.7
    push_steps: int = 8
    nudge_chance: float = 0.04
    nudge_size: float = 0.4
    nudge_steps: int = 2


@dataclass(frozen=True, eq=False)
class Take:
    """A successful episode before rendering.

    states (T, s); actions (T, 7), what the expert wanted; executed (T, 7), the same with noise and pushes, clipped;
    phases (T,), numbers in ``demos.phases.PHASES``, where they are known; model, the MJCF of the episode with its
    fixtures where they stand; taken_over, the step of the episode at which the expert took over from a policy, if so.
    """

    states: np.ndarray
    actions: np.ndarray
    executed: np.ndarray
    model: str
    success_step: int
    noise: float
    phases: np.ndarray | None = None
    taken_over: int | None = None


Lead = Callable[[Callable[[], None], np.random.Generator], list[np.ndarray]]
"""Plays the beginning of an episode, whose start its first argument goes back to; returns the actions."""


def play(env: LiberoEnv, seed: int, disturbance: Disturbance, lead: Lead | None = None) -> Take | None:
    """Let the expert play the episode that ``seed`` places afresh; ``None`` if it fails within the step limit.

    Args:
        lead: another that plays its beginning, which the take does not have; the expert then has the whole limit.
    """
    rng = np.random.default_rng(seed)
    joints = 1 + np.array(env.problem.robots[0]._ref_joint_pos_indexes)  # the first number of a state is the time
    turned = rng.normal(0.0, disturbance.start, len(joints))

    def begin() -> None:
        env.restart(seed=seed)
        start = env.state()
        start[joints] += turned
        env.set_state(start)
        env.settle()

    begin()
    noise = float(rng.uniform(0.0, disturbance.noise))
    high = env.problem.robots[0].controller.ee_pos[2] - 0.08
    push, push_left, began_high = np.zeros(3), 0, True
    model = env.mjcf()
    led = [] if lead is None else lead(begin, rng)
    states, actions, played, phases, success_step = [], [], [], [], None
    for action, phase in expert_moves(env, rng, led[-1] if led else None):
        states.append(env.state())
        actions.append(action)
        phases.append(phase)
        executed = action.copy()
        executed[:6] += rng.normal(0.0, 1.0, 6) * noise
        is_open, is_high = action[6] < 0, env.problem.robots[0].controller.ee_pos[2] > high
        if push_left == 0 and is_open:
            push, push_left = _push(disturbance, is_high, rng)
            began_high = is_high
        if push_left:
            executed[:3] += push
            push_left = push_left - 1 if is_open and is_high == began_high else 0
        played.append(np.clip(executed, -1.0, 1.0))
        _, success, _, _ = env.advance(played[-1])
        if success and success_step is None:
            success_step = len(actions)
        if success_step is None and len(actions) >= env.max_steps:
            return None
        if success_step is not None and len(actions) >= success_step + STEPS_AFTER_SUCCESS:
            break
    if success_step is None or len(actions) < HORIZON:
        return None
    taken_over = None if lead is None else len(led)
    return Take(
        np.array(states),
        np.array(actions),
        np.array(played),
        model,
        success_step,
        noise,
        phase_numbers(phases),
        taken_over,
    )


def _push(disturbance: Disturbance, is_high: bool, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """A push (action units) and its length in steps, mostly none."""
    chance = disturbance.push_chance if is_high else disturbance.nudge_chance
    if rng.random() >= chance:
        return np.zeros(3), 0
    if is_high:
        return rng.uniform(-1.0, 1.0, 3) * disturbance.push_size, disturbance.push_steps
    return np.append(rng.uniform(-1.0, 1.0, 2) * disturbance.nudge_size, 0.0), disturbance.nudge_steps


def render(env: LiberoEnv, take: Take, seed: int) -> tuple[Episode, dict[str, Tracks]]:
    """Replay a take for the cameras; ``env`` must still have the fixture poses of its episode.

    Returns:
        The demonstration and the exact point tracks of each view.
    """
    recorders = {view: TrackRecorder(env.model, camera, *env.image_size) for view, camera in CAMERAS.items()}
    images: dict[str, list[np.ndarray]] = {view: [] for view in CAMERAS}
    proprio, positions, quaternions = [], [], []
    for state in take.states:
        env.set_state(state)
        for view in CAMERAS:
            image, depth = env.render_view_with_depth(view)
            images[view].append(image)
            recorders[view].add(env.data, depth)
        proprio.append(env.proprioception())
        position, quaternion = env.hand_pose()
        positions.append(position)
        quaternions.append(quaternion)
    joints, fingers = np.split(np.array(proprio), [7], axis=1)
    count = len(take.actions)
    rewards = np.zeros(count, dtype=np.uint8)
    rewards[-1] = 1  # as in LIBERO's files, whose episodes end at success
    dones = np.zeros(count, dtype=np.uint8)
    dones[-1] = 1
    episode = Episode(
        actions=take.actions,
        states=take.states,
        robot_states=np.column_stack([fingers, positions, quaternions]),
        rewards=rewards,
        dones=dones,
        agentview_rgb=np.array(images["agentview"]),
        eye_in_hand_rgb=np.array(images["eye_in_hand"]),
        joint_states=joints,
        gripper_states=fingers,
        ee_pos=np.array(positions),
        ee_ori=Rotation.from_quat(quaternions).as_rotvec(),
        actions_executed=take.executed,
        phases=take.phases,
        attributes={
            "seed": seed,
            "noise": take.noise,
            "success_step": take.success_step,
            "model_file": take.model,
            **({} if take.phases is None else {"phase_names": ",".join(PHASES)}),
            **({} if take.taken_over is None else {"takeover_step": take.taken_over}),
        },
    )
    return episode, {view: recorder.tracks() for view, recorder in recorders.items()}
