"""What a scripted expert may see: the simulator's true state of one LIBERO task, in world coordinates (m, rad)."""

from functools import cached_property

import mujoco
import numpy as np

from sim.experts.geometry import Unreachable, rotation_vector
from sim.libero.env import LiberoEnv

_CORNERS = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=float)
_ROBOT_PREFIXES = ("robot0", "gripper0", "mount0")
STRAIGHT_ELBOW = -float(np.arctan(0.0825 / 0.316) + np.arctan(0.0825 / 0.384))
"""Joint 4 (rad) where shoulder, elbow and wrist are in line (from the Panda's Denavit-Hartenberg parameters).

An arm that is carried past it bends to the wrong side and cannot come back.
"""


class World:
    """Poses, shapes and joints of the objects of one task, read live from the simulator."""

    def __init__(self, env: LiberoEnv) -> None:
        self.problem = env.problem
        self.model = env.model
        self.data = env.data
        self.controller = env.problem.robots[0].controller
        self.goals = [tuple(goal) for goal in env.problem.parsed_problem["goal_state"]]

    def holds(self, goal: tuple[str, ...]) -> bool:
        """Whether one goal predicate is true now."""
        return bool(self.problem._eval_predicate(list(goal)))

    # -- gripper

    @cached_property
    def _grip_site(self) -> int:
        return self.model.site(self.controller.eef_name).id

    @property
    def gripper_position(self) -> np.ndarray:
        """Position of the grip site, between the fingertips, ``(3,)``."""
        return self.data.site_xpos[self._grip_site].copy()

    @property
    def gripper_rotation(self) -> np.ndarray:
        """Orientation of the grip site, ``(3, 3)``."""
        return self.data.site_xmat[self._grip_site].reshape(3, 3).copy()

    @property
    def finger_opening(self) -> float:
        """Distance between the fingers (m)."""
        left, right = self.data.qpos[self.problem.robots[0]._ref_gripper_joint_pos_indexes]
        return float(left - right)

    @cached_property
    def _fingers(self) -> dict[int, str]:
        """Which finger a body is of."""
        bodies = {"left": ("leftfinger", "finger_joint1_tip"), "right": ("rightfinger", "finger_joint2_tip")}
        return {self.model.body(f"gripper0_{name}").id: side for side, names in bodies.items() for name in names}

    def grips(self, name: str, body: str | None = None) -> bool:
        """Whether an object or fixture (or one of its bodies) is between both fingers and touches them."""
        root = self.problem.obj_body_id[name] if body is None else self.model.body(body).id
        shapes = self._collision_shapes(root)
        closing, touching = self.gripper_rotation[:, 0], set()
        for pair, normal in zip(self.data.contact.geom, self.data.contact.frame[:, :3], strict=True):
            for geom, other in (pair, pair[::-1]):
                finger = self._fingers.get(int(self.model.geom_bodyid[geom]))
                if finger and other in shapes and abs(normal @ closing) > 0.5:
                    touching.add(finger)
        return len(touching) == 2

    def held(self) -> str | None:
        """The movable object between the fingers."""
        return next((name for name in self.problem.objects_dict if self.grips(name)), None)

    # -- objects

    def is_object(self, name: str) -> bool:
        """Whether ``name`` is an object or fixture with a body of its own (and no region)."""
        return name in self.problem.obj_body_id

    def category(self, name: str) -> str:
        """LIBERO's category, for example ``moka_pot``."""
        return self.problem.get_object(name).category_name

    def names(self) -> list[str]:
        """All objects and fixtures that have a body."""
        every = [*self.problem.objects_dict, *self.problem.fixtures_dict]
        return [name for name in every if self.is_object(name)]

    def position(self, name: str) -> np.ndarray:
        """Origin of an object's root body, ``(3,)``."""
        return self.data.xpos[self.problem.obj_body_id[name]].copy()

    def rotation(self, name: str) -> np.ndarray:
        """Orientation of an object's root body, ``(3, 3)``."""
        return self.data.xmat[self.problem.obj_body_id[name]].reshape(3, 3).copy()

    def joint(self, joint: str) -> float:
        """Value of a hinge or slide joint (rad or m)."""
        return float(self.data.qpos[self.model.joint(joint).qposadr[0]])

    def first_joint(self, name: str) -> str:
        """The joint of an articulated object with one joint, or of a region on a moving part."""
        regions = self.problem.object_sites_dict
        return regions[name].joints[0] if name in regions else self.problem.get_object(name).joints[0]

    def points(self, name: str, body: str | None = None) -> np.ndarray:
        """Corners and centres of the collision shapes of an object (or of one of its bodies), ``(n, 3)``."""
        root = self.problem.obj_body_id[name] if body is None else self.model.body(body).id
        return np.concatenate([self._shape_points(geom) for geom in self._collision_shapes(root)])

    def underside(self, name: str) -> float:
        """Height of an object's origin above its lowest point."""
        return float(self.position(name)[2] - self.points(name)[:, 2].min())

    def part(self, name: str, keyword: str) -> str:
        """The body of a fixture whose name contains ``keyword``."""
        bodies = (self.model.body(i).name for i in range(self.model.nbody))
        return next(body for body in bodies if name in body and keyword in body)

    def airborne(self, name: str) -> bool:
        """Whether an object touches nothing but the robot."""
        shapes = self._collision_shapes(self.problem.obj_body_id[name])
        for pair in self.data.contact.geom:
            for geom, other in (pair, pair[::-1]):
                body = self.model.body(self.model.geom_bodyid[other]).name
                if geom in shapes and other not in shapes and not body.startswith(_ROBOT_PREFIXES):
                    return False
        return True

    def fastest_object(self, excluding: str | None = None) -> float:
        """Speed of the fastest movable object but one (m/s)."""
        free = self.model.jnt_type == mujoco.mjtJoint.mjJNT_FREE
        if excluding is not None:
            free &= self.model.jnt_bodyid != self.problem.obj_body_id[excluding]
        speeds = [np.linalg.norm(self.data.qvel[start : start + 3]) for start in self.model.jnt_dofadr[free]]
        return float(max(speeds, default=0.0))

    # -- regions

    def is_region(self, name: str) -> bool:
        """Whether ``name`` is a region (a site), rather than an object."""
        return name in self.problem.object_sites_dict

    def region(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Centre and half sizes of a region."""
        site = self.model.site(name).id
        return self.data.site_xpos[site].copy(), self.model.site_size[site].copy()

    def parent(self, region: str) -> str:
        """The object or fixture that a region belongs to."""
        return self.problem.object_sites_dict[region].parent_name

    def is_open(self, region: str) -> bool:
        """Whether the drawer or door that leads into a region is open."""
        return bool(self.problem.get_object(self.parent(region)).is_open(self.joint(self.first_joint(region))))

    def contained(self, region: str, excluding: tuple[str, ...]) -> list[str]:
        """Objects that lie inside a region now."""
        states = self.problem.object_states_dict
        others = (name for name in self.problem.objects_dict if name not in excluding)
        return [name for name in others if states[region].check_contain(states[name])]

    def free_place(self, name: str, margin: float = 0.03) -> np.ndarray:
        """Where an object's origin may stand on the table, ``margin`` m from everything else: the nearest such place.

        Raises:
            Unreachable: there is none within reach.
        """
        points, here = self.points(name), self.position(name)
        margin += float(np.linalg.norm(points[:, :2] - here[:2], axis=1).max())
        others = [self.points(other)[:, :2] for other in self.names() if other != name]
        low, high = np.array([o.min(axis=0) for o in others]), np.array([o.max(axis=0) for o in others])
        height = self.problem.workspace_offset[2] + self.underside(name)
        for radius in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
            for angle in np.arange(0, 2 * np.pi, np.pi / 6):
                place = np.array([here[0] + radius * np.cos(angle), here[1] + radius * np.sin(angle), height])
                gaps = np.linalg.norm(np.maximum(0, np.maximum(low - place[:2], place[:2] - high)), axis=1)
                hand = place + self.gripper_position - here
                if (gaps > margin).all() and self.reach(hand, self.gripper_rotation)[0] < 0.01:
                    return place
        raise Unreachable(f"no free place for {name}")

    # -- shapes

    def obstacles(self, excluding: str | None = None) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Boxes (centre, rotation, half sizes) around every collision shape but the robot's and one object's."""
        own = set() if excluding is None else set(self._collision_shapes(self.problem.obj_body_id[excluding]))
        boxes = []
        for geom in range(self.model.ngeom):
            if geom in own or not self._collides(geom) or self.model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE:
                continue
            if self.model.body(self.model.geom_bodyid[geom]).name.startswith(_ROBOT_PREFIXES):
                continue
            size = self._half_sizes(geom)
            if self.model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
                size = np.full(3, self.model.geom_rbound[geom] * 0.4)
            boxes.append((self.data.geom_xpos[geom].copy(), self.data.geom_xmat[geom].reshape(3, 3).copy(), size))
        return boxes

    def height_near(self, position: np.ndarray, radius: float = 0.06) -> float:
        """Top of the highest thing but the robot within ``radius`` m of a vertical (m)."""
        top = float(self.problem.workspace_offset[2])
        for center, rotation, size in self.obstacles():
            half = np.abs(rotation) @ size
            gap = np.maximum(0, np.abs(position - center)[:2] - half[:2])
            if np.linalg.norm(gap) < radius:
                top = max(top, float(center[2] + half[2]))
        return top

    def _collides(self, geom: int) -> bool:
        return bool(self.model.geom_contype[geom] or self.model.geom_conaffinity[geom])

    def _collision_shapes(self, root: int) -> list[int]:
        inside = {root}
        for body in range(root + 1, self.model.nbody):
            if self.model.body_parentid[body] in inside:
                inside.add(body)
        return [g for g in range(self.model.ngeom) if self.model.geom_bodyid[g] in inside and self._collides(g)]

    def _half_sizes(self, geom: int) -> np.ndarray:
        size, kind = self.model.geom_size[geom], self.model.geom_type[geom]
        if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            return np.full(3, size[0])
        if kind in (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER):
            caps = size[0] if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0.0
            return np.array([size[0], size[0], size[1] + caps])
        return size.copy()

    def _shape_points(self, geom: int) -> np.ndarray:
        local = _CORNERS * self._half_sizes(geom)
        return local @ self.data.geom_xmat[geom].reshape(3, 3).T + self.data.geom_xpos[geom]

    # -- inverse kinematics

    @cached_property
    def _scratch(self) -> mujoco.MjData:
        return mujoco.MjData(self.model)

    def reach(self, position: np.ndarray, rotation: np.ndarray, iterations: int = 60) -> tuple[float, float]:
        """Solve inverse kinematics for a gripper pose by damped least squares with the home pose in the null space.

        Returns:
            The remaining error (m and rad, one norm) and the smallest distance of a joint to its limit (rad), where
            the straight elbow counts as one.
        """
        model, data = self.model, self._scratch
        data.qpos[:] = self.data.qpos
        qpos, qvel = self.controller.qpos_index, self.controller.qvel_index
        limits = np.array([model.joint(f"robot0_joint{k}").range for k in range(1, 8)])
        limits[3, 1] = STRAIGHT_ELBOW
        home = np.array(self.controller.initial_joint)
        translation, turn = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        error = np.inf
        for iteration in range(iterations):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            offset = position - data.site_xpos[self._grip_site]
            turned = rotation_vector(rotation @ data.site_xmat[self._grip_site].reshape(3, 3).T)
            error = float(np.linalg.norm([*offset, *turned]))
            if error < 1e-3 and iteration > 20:
                break
            scale = min(1.0, 0.15 / max(np.abs(offset).max(), 1e-9), 0.5 / max(np.abs(turned).max(), 1e-9))
            mujoco.mj_jacSite(model, data, translation, turn, self._grip_site)
            jacobian = np.vstack([translation, turn])[:, qvel]
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + 1e-4 * np.eye(6))
            null_space = np.eye(7) - inverse @ jacobian
            data.qpos[qpos] += inverse @ (np.concatenate([offset, turned]) * scale) + null_space @ (
                0.1 * (home - data.qpos[qpos])
            )
        joints = data.qpos[qpos]
        return error, float(np.minimum(joints - limits[:, 0], limits[:, 1] - joints).min())
