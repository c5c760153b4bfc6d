"""An episode that a policy plays now, as a stream of frames for pictures: the same episode as of an evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from common.conventions import VIEWS
from sim.evaluation.chunk_execution import ChunkExecution
from sim.evaluation.worker import Job, Rules
from sim.machine import gl_driver
from sim.pictures.inputs import Clip, Frame

if TYPE_CHECKING:
    from policy.interface import Policy


@contextmanager
def live_clip(policy: "Policy", job: Job, rules: Rules, text: str | None = None) -> Iterator[Clip]:
    """The clip of the episode that ``policy`` plays as the evaluation would play ``job``, rendered at every step.

    Args:
        text: the instruction; the task's own if absent.

    Raises:
        UserError: there is no such task, no assets, no GL library.
    """
    gl_driver.probe()
    from sim.libero.env import LiberoEnv  # MuJoCo cannot even be imported where the GL library is missing

    env = LiberoEnv(
        job.suite, job.task, assets=rules.assets, image_size=rules.image_size, fast_render=rules.fast_render
    )
    instruction = text or env.task.language
    views = [VIEWS.index(view) for view in policy.views]

    def frames() -> Iterator[Frame]:
        env.restart(seed=job.seed, init_state=job.init_state)
        env.settle(rules.settle_steps)
        chunks = ChunkExecution(rules.execution)
        success, steps = False, 0
        while not success and steps < rules.step_limit(job.suite):
            observation = env.observe()
            images, proprio = observation["images"][views], observation["proprio"]
            if chunks.due:
                chunks.put(policy.act(images[None], proprio[None], [instruction])[0])
            action = chunks.next()
            yield Frame(images, proprio, action)
            _, success, _, _ = env.advance(action)
            steps += 1
        observation = env.observe()
        yield Frame(observation["images"][views], observation["proprio"])

    try:
        yield Clip(f"{job.suite}-task{job.task:02d}-episode{job.episode:03d}", instruction, frames)
    finally:
        env.close()
