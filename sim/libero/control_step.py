"""One control step of LIBERO's simulation: the loop of robosuite 1.4, bit for bit, with nothing computed twice.

In each of 25 physics steps robosuite runs ``mj_forward``, then its operational-space controller, which runs
``mj_forward`` again, then ``mj_step``, which runs it a third time; and it reads 30 observables. Only the first run
finds anything new but for the constraint solver, which starts each time where it ended before, and so ends in other
last bits. Here positions and velocities are worked out once and the constraints solved three times.
"""

from typing import Any

import mujoco
import numpy as np


class ControlLoop:
    """Advances one LIBERO problem by control steps.

    It keeps robosuite's controller object up to date (``ee_pos``, ``goal_pos`` and the like), but looks up nothing
    by name. MuJoCo's sensors (two at the wrist, which LIBERO does not read) are switched off.

    Args:
        problem: LIBERO's environment object. Its ``sim`` must stay the same; controllers may be replaced.
    """

    def __init__(self, problem: Any) -> None:
        from robosuite.utils import control_utils

        self._math = control_utils
        self._robot = robot = problem.robots[0]
        self._model, self._data = problem.sim.model._model, problem.sim.data._data
        self._model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR
        self._substeps = int(problem.control_timestep / problem.model_timestep)

        model, data = self._model, self._data
        self._site = model.site(robot.controller.eef_name).id
        self._site_position = data.site_xpos[self._site]
        self._site_rotation = data.site_xmat[self._site].reshape(3, 3)
        self._qpos, self._qvel, self._bias, self._ctrl = data.qpos, data.qvel, data.qfrc_bias, data.ctrl
        self._arm_qpos = np.array(robot._ref_joint_pos_indexes)
        self._arm_qvel = np.array(robot._ref_joint_vel_indexes)
        self._arm_ctrl = np.array(robot._ref_joint_actuator_indexes)
        self._torque_range = tuple(array.copy() for array in robot.torque_limits)
        self._gripper_ctrl = np.array(robot._ref_joint_gripper_actuator_indexes)
        low, high = model.actuator_ctrlrange[self._gripper_ctrl].T
        self._gripper_bias, self._gripper_weight = 0.5 * (high + low), 0.5 * (high - low)
        self._jacobian = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        self._inertia = np.zeros((model.nv, model.nv))

    def step(self, action: np.ndarray) -> None:
        """Run the physics for one control step (0.05 s) under ``action`` ``(7,)`` float64."""
        model, data, controller, gripper = self._model, self._data, self._robot.controller, self._robot.gripper
        arm_action, gripper_action = np.split(action, [controller.control_dim])
        creep = np.array([-1.0, 1.0]) * gripper.speed * np.sign(gripper_action)
        for substep in range(self._substeps):
            mujoco.mj_forward(model, data)
            # After a reset robosuite's controller acts for one step on what it saw when it was made: so does this.
            if controller.new_update:
                mujoco.mj_fwdConstraint(model, data)
                self._observe(controller)
            if substep == 0:
                controller.set_goal(arm_action)
            weakest, strongest = self._torque_range
            self._ctrl[self._arm_ctrl] = np.minimum(np.maximum(self._torques(controller), weakest), strongest)
            # The fingers' command creeps to where they are sent; robosuite's gripper object remembers it.
            gripper.current_action = np.minimum(np.maximum(gripper.current_action + creep, -1.0), 1.0)
            self._ctrl[self._gripper_ctrl] = self._gripper_bias + self._gripper_weight * gripper.current_action
            mujoco.mj_step2(model, data)

    def _observe(self, controller: Any) -> None:
        """What ``Controller.update`` reads from the simulation, in arrays of the same memory layout: BLAS and LAPACK
        give other last bits for another."""
        translation, rotation = self._jacobian
        mujoco.mj_jacSite(self._model, self._data, translation, rotation, self._site)
        mujoco.mj_fullM(self._model, self._inertia, self._data.qM)
        controller.ee_pos = self._site_position.copy()
        controller.ee_ori_mat = self._site_rotation.copy()
        controller.ee_pos_vel = np.dot(translation, self._qvel)
        controller.ee_ori_vel = np.dot(rotation, self._qvel)
        controller.joint_pos = self._qpos[self._arm_qpos]
        controller.joint_vel = self._qvel[self._arm_qvel]
        controller.J_pos = translation[:, self._arm_qvel]
        controller.J_ori = rotation[:, self._arm_qvel]
        controller.J_full = np.concatenate([controller.J_pos, controller.J_ori])
        controller.mass_matrix = self._inertia[self._arm_qvel, :][:, self._arm_qvel]
        controller.new_update = False

    def _torques(self, controller: Any) -> np.ndarray:
        """Operational-space control towards the controller's goal, ``(7,)`` N m: ``run_controller`` without what the
        settings that LIBERO uses leave out (interpolation, coupling of translation and rotation)."""
        kp, kd = controller.kp, controller.kd
        turn = self._math.orientation_error(controller.goal_ori, controller.ee_ori_mat)
        force = (controller.goal_pos - controller.ee_pos) * kp[:3] + -controller.ee_pos_vel * kd[:3]
        torque = turn * kp[3:] + -controller.ee_ori_vel * kd[3:]
        _, inertia_pos, inertia_ori, nullspace = self._math.opspace_matrices(
            controller.mass_matrix, controller.J_full, controller.J_pos, controller.J_ori
        )
        wrench = np.concatenate([np.dot(inertia_pos, force), np.dot(inertia_ori, torque)])
        torques = np.dot(controller.J_full.T, wrench) + self._bias[self._arm_qvel]
        torques += self._math.nullspace_torques(
            controller.mass_matrix, nullspace, controller.initial_joint, controller.joint_pos, controller.joint_vel
        )
        controller.new_update = True
        return torques
