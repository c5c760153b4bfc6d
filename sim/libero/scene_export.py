"""One LIBERO task as a scene for the digital twin, without the robot (``python -m sim.scene``).

The file is MJCF in the world frame: tables, fixtures, objects, lights and cameras. The body ``robot_base`` says where
the arm stands, and the keyframe ``start`` where everything is. Meshes stay in LIBERO's assets; the file points there.
"""

from pathlib import Path

import mujoco
import numpy as np

from common.files import replacing
from sim.libero import benchmark
from sim.libero.assets import resolve
from sim.libero.env import LiberoEnv

BASE = "robot0_base"
ARM = "robot0_link0"
UNKNOWN = "the scene is made of the procedural pack: a policy that learned from LIBERO's own assets may not know it"


def scene_of(env: LiberoEnv) -> mujoco.MjSpec:
    """Everything of ``env`` but the arm, as it stands now. The mount below the arm stays."""
    spec = mujoco.MjSpec.from_string(env.problem.model.get_xml())
    for part in (*spec.actuators, *spec.sensors):  # all of them are the robot's
        part.delete()
    spec.detach_body(spec.body(ARM))
    spec.body(BASE).name = "robot_base"
    spec.meshdir = spec.texturedir = ""  # files are named by their whole paths
    _place_fixtures(spec, env.model)
    _delete_unused(spec)
    model = spec.compile()
    positions = np.empty(model.nq)
    for number in range(model.njnt):
        joint = model.joint(number)
        positions[joint.qposadr[0] :][: joint.qpos0.size] = env.data.joint(joint.name).qpos
    spec.add_key(name="start", qpos=positions)
    return spec


def _place_fixtures(spec: mujoco.MjSpec, placed: mujoco.MjModel) -> None:
    """Puts cabinets, stoves and racks where the reset has put them: it moves bodies of the compiled model alone."""
    known = {placed.body(number).name for number in range(placed.nbody)}
    for body in spec.bodies:
        if body.name in known:
            body.pos, body.quat = placed.body(body.name).pos, placed.body(body.name).quat


def _delete_unused(spec: mujoco.MjSpec) -> None:
    """Meshes, materials and textures that only the arm had."""
    meshes = {geom.meshname for geom in spec.geoms}
    materials = {part.material for part in (*spec.geoms, *spec.sites)}
    for mesh in spec.meshes:
        if mesh.name not in meshes:
            mesh.delete()
    for material in spec.materials:
        if material.name not in materials:
            material.delete()
    textures = {name for material in spec.materials for name in material.textures}
    for texture in spec.textures:
        if texture.name not in textures and texture.type != mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            texture.delete()


def write(suite: str, task: int, init_state: int, path: Path, assets: Path | None = None) -> benchmark.Task:
    """Writes the scene of a shipped initial state, settled; returns the task.

    Raises:
        UserError: there is no such task or initial state, or no assets.
    """
    env = LiberoEnv(suite, task, assets=assets)
    env.restart(seed=init_state, init_state=init_state)
    env.settle()
    spec = scene_of(env)
    if resolve(assets).procedural:
        spec.add_text(name="notice", data=UNKNOWN)
    with replacing(path) as temporary:
        temporary.write_text(spec.to_xml())
    env.close()
    return env.task
