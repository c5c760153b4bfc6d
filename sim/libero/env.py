"""LIBERO tasks as gymnasium environments.

States and rewards are those of LIBERO's own ``OffScreenRenderEnv``, bit for bit. Faster are: the control step
(``sim.libero.control_step``), resets without compiling the models again (``sim.libero.bddl_domain``), and images,
rendered only when somebody looks (``advance`` and ``observe``).

Every task is registered with gymnasium (``import sim``): ``gymnasium.make("amplify/libero_10-0-v0")``. Its limit of
steps is then the ``max_episode_steps`` of ``gymnasium.make``, by default the suite's own.
"""

import gc
import os
from typing import Any

import gymnasium
import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from common.conventions import CONTROL_FREQUENCY, VIEWS
from common.errors import UserError
from common.osc_response import joint_step
from sim.libero import bddl_domain, benchmark
from sim.libero.assets import resolve
from sim.libero.control_step import ControlLoop
from sim.libero.renderer import CameraRenderer
from sim.suites import MAX_STEPS

CAMERAS = {"agentview": "agentview", "eye_in_hand": "robot0_eye_in_hand"}
SETTLE_STEPS = 10
"""Steps before an episode counts, as the field evaluates LIBERO: objects begin in the air."""
SETTLE_ACTION = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
"""Arm still, gripper open."""
FAST_DETAIL = {"agentview": 0.004, "eye_in_hand": 0.002}
"""Mesh details (m) that ``fast_render`` keeps: about a pixel of a 128 pixel image at each camera's usual distance."""


class LiberoEnv(gymnasium.Env):
    """One LIBERO task: a Panda arm with operational-space control at 20 Hz.

    **Observation**: ``images`` ``(2, h, w, 3)`` uint8 upright RGB of the agent view and the wrist camera;
    ``proprio`` ``(9,)`` float32, seven joint positions (rad) and two gripper finger positions (m); ``ee_pos`` and
    ``ee_ori`` ``(3,)`` float32, position (m) and axis-angle (rad) of the hand in the world, as in LIBERO's files.

    **Action**: ``(7,)`` in [-1, 1]: end-effector translation (x, y, z; 1 = 0.05 m) and rotation (axis-angle;
    1 = 0.5 rad) relative to the present pose, and the gripper (-1 open, +1 close).

    **Reward** is 1 on the step at which the task's goal predicate holds, else 0. ``terminated`` means success,
    ``truncated`` that ``max_steps`` have passed. **Info** has the ``instruction``, ``success`` and ``steps``.

    Args:
        suite: one of ``sim.suites.SUITES``.
        task: index of the task in its suite.
        assets: folder of LIBERO's assets; found as ``sim.libero.assets.resolve`` says if absent.
        image_size: height and width of the images, one number where they are the same.
        max_steps: step limit; the suite's own if absent.
        fast_render: no multisampling and no mesh details below ``FAST_DETAIL``. Three times as fast in software;
            changes pixels slightly along edges.

    Raises:
        UserError: unknown suite, task or render mode, a size or limit below 1, no assets.
        RenderingUnavailable: when the first image is asked for where there is no GL.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_FREQUENCY}  # noqa: RUF012

    def __init__(
        self,
        suite: str,
        task: int,
        *,
        assets: str | os.PathLike[str] | None = None,
        image_size: int | tuple[int, int] = 128,
        max_steps: int | None = None,
        fast_render: bool = False,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self.task = benchmark.task(suite, task)
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(self.image_size) < 1 or len(self.image_size) != 2:
            raise UserError(f"image_size is {image_size}; give a number of pixels from 1, or (height, width)")
        if max_steps is not None and max_steps < 1:
            raise UserError(f"max_steps is {max_steps}; give a number from 1, or None for the suite's own limit")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(f"render_mode is {render_mode!r}; this environment has 'rgb_array' or None")
        self.max_steps = MAX_STEPS[suite] if max_steps is None else max_steps
        self.fast_render = fast_render
        self.render_mode = render_mode
        self.assets = resolve(assets)
        self.observation_space = gymnasium.spaces.Dict(
            images=gymnasium.spaces.Box(0, 255, (len(VIEWS), *self.image_size, 3), np.uint8),
            proprio=gymnasium.spaces.Box(-np.inf, np.inf, (9,), np.float32),
            ee_pos=gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32),
            ee_ori=gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32),
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (7,), np.float32)
        self.problem = bddl_domain.build(self.task, self.assets.path, list(CAMERAS.values()))
        self._control: Any = ControlLoop(self.problem)
        self._renderers: dict[tuple[float, tuple[int, int]], CameraRenderer] = {}
        self._init_states: np.ndarray | None = None
        self.steps = 0

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled MuJoCo model."""
        return self.problem.sim.model._model

    @property
    def data(self) -> mujoco.MjData:
        """MuJoCo's simulation state."""
        return self.problem.sim.data._data

    def mjcf(self) -> str:
        """The model as MJCF, with fixtures where they stand in this episode; meshes stay where the assets are."""
        return bddl_domain.mjcf(self.problem)

    def state(self) -> np.ndarray:
        """The flat simulation state, ``(1 + nq + nv,)`` float64: time, positions, velocities."""
        return np.concatenate([[self.data.time], self.data.qpos, self.data.qvel])

    def set_state(self, state: np.ndarray) -> None:
        """Put the simulation into a flat state and bring everything derived from it up to date.

        Raises:
            UserError: the state has another size than this task's.
        """
        expected = 1 + self.model.nq + self.model.nv
        if state.shape != (expected,):
            raise UserError(
                f"a state of {self.task.name} has {expected} numbers, not {state.shape}; it belongs to another task "
                "or to other assets"
            )
        self.data.time = state[0]
        self.data.qpos[:] = state[1 : 1 + self.model.nq]
        self.data.qvel[:] = state[1 + self.model.nq :]
        mujoco.mj_forward(self.model, self.data)
        self.problem._post_process()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: decides placements and fixture poses; the same seed gives the same episode whatever ran before,
                the one that LIBERO's ``env.seed(seed); env.reset()`` starts on a new environment.
            options: ``{"init_state": i}`` starts from the suite's i-th shipped initial state. Without it objects
                are placed afresh.

        Raises:
            UserError: the initial state does not exist, or an option that nobody reads.
        """
        if unknown := set(options or {}) - {"init_state"}:
            raise UserError(f"reset has no option {', '.join(map(repr, sorted(unknown)))}; it has 'init_state'")
        self.restart(seed=seed, init_state=(options or {}).get("init_state"))
        return self.observe(), self._info(False)

    def restart(self, *, seed: int | None = None, init_state: int | None = None) -> None:
        """``reset`` without rendering an observation."""
        super().reset(seed=seed)
        states = self._shipped_states() if init_state is not None else None
        if states is not None and not 0 <= init_state < len(states):  # type: ignore[operator]
            raise UserError(
                f"no initial state {init_state}: {self.task.name} has {len(states)}, numbered 0 to {len(states) - 1}"
            )
        # numpy's global generator, which LIBERO draws from, takes 32 bits.
        bddl_domain.reset(self.problem, seed % 2**32 if seed is not None else int(self.np_random.integers(2**32)))
        if states is not None:
            self.set_state(states[init_state])
        self.steps = 0

    def _shipped_states(self) -> np.ndarray:
        if self._init_states is None:
            self._init_states = benchmark.init_states(self.task)
        return self._init_states

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act for one control step (0.05 s) and render the observation.

        Raises:
            UserError: the action is not seven finite numbers.
        """
        reward, terminated, truncated, info = self.advance(action)
        return self.observe(), reward, terminated, truncated, info

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool, dict[str, Any]]:
        """``step`` without rendering an observation."""
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (7,) or not np.isfinite(action).all():
            raise UserError(f"an action is seven finite numbers, (7,); this is {action} of shape {action.shape}")
        self._control.step(action)
        self.problem._post_process()
        self.steps += 1
        success = bool(self.problem._check_success())
        return float(success), success, not success and self.steps >= self.max_steps, self._info(success)

    def settle(self, steps: int = SETTLE_STEPS) -> None:
        """Let objects come to rest."""
        for _ in range(steps):
            self.advance(SETTLE_ACTION)

    def observe(self) -> dict[str, np.ndarray]:
        """The observation of the present state, rendered now."""
        images = np.stack([self.render_view(view) for view in VIEWS])
        position, orientation = self.hand_pose()
        return {
            "images": images,
            "proprio": self.proprioception(),
            "ee_pos": position.astype(np.float32),
            "ee_ori": Rotation.from_quat(orientation).as_rotvec().astype(np.float32),
        }

    def proprioception(self) -> np.ndarray:
        """Seven joint positions (rad) and two finger positions (m), ``(9,)`` float32."""
        robot = self.problem.robots[0]
        indices = [*robot._ref_joint_pos_indexes, *robot._ref_gripper_joint_pos_indexes]
        return self.data.qpos[indices].astype(np.float32)

    def hand_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) in m of the point between the fingers and the hand's quaternion (4,), xyzw, in the world."""
        site = self.data.site(self.problem.robots[0].controller.eef_name)
        return site.xpos.copy(), self.data.body("robot0_right_hand").xquat[[1, 2, 3, 0]]

    def joint_step(self, action: np.ndarray) -> float:
        """How many degrees the joint that moves most would move in one step by an action (6,), or by what two of them
        differ in; gravity and contacts aside."""
        robot, size = self.problem.robots[0], self.model.nv
        jacobian, inertia, joints = np.zeros((6, size)), np.zeros((size, size)), robot._ref_joint_vel_indexes
        site = self.model.site(robot.controller.eef_name).id
        mujoco.mj_jacSite(self.model, self.data, jacobian[:3], jacobian[3:], site)
        mujoco.mj_fullM(self.model, inertia, self.data.qM)
        moved = joint_step(jacobian[:, joints], inertia[np.ix_(joints, joints)], np.asarray(action, np.float64))
        return float(np.rad2deg(np.abs(moved).max()))

    def renderer(self, view: str, size: tuple[int, int] | None = None, fast: bool | None = None) -> CameraRenderer:
        """The renderer of a view, made when first asked for; at full detail both views share one.

        Args:
            size: (height, width) in pixels; ``image_size`` if absent.
            fast: ``fast_render`` if absent.
        """
        fast, size = self.fast_render if fast is None else fast, size or self.image_size
        detail = FAST_DETAIL[view] if fast else 0.0
        if (detail, size) not in self._renderers:
            self._renderers[detail, size] = CameraRenderer(self.model, *size, detail)
        return self._renderers[detail, size]

    def render_view(self, view: str, size: tuple[int, int] | None = None, fast: bool | None = None) -> np.ndarray:
        """One camera's image of the present state, ``(h, w, 3)`` uint8, upright; the rest as of ``renderer``."""
        return self.renderer(view, size, fast).render(self.data, CAMERAS[view])

    def render_view_with_depth(self, view: str) -> tuple[np.ndarray, np.ndarray]:
        """The same with the depth image, ``(h, w)`` float32 in metres along the viewing axis."""
        return self.renderer(view).render_with_depth(self.data, CAMERAS[view])

    def render(self) -> np.ndarray:
        """The agent view, as gymnasium's ``rgb_array``."""
        return self.render_view("agentview")

    def close(self) -> None:
        """Free the renderer and the simulation; the environment cannot be used any more."""
        while self._renderers:
            self._renderers.popitem()[1].close()
        # LIBERO's objects hold each other, and Python's collector does not know that 100 MB hang on them.
        self.problem = self._control = None
        gc.collect()

    def _info(self, success: bool) -> dict[str, Any]:
        return {"instruction": self.task.language, "success": success, "steps": self.steps}
