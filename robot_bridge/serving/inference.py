"""The one thread that uses the policy: takes batches from the line, computes, and hands answers over."""

import logging
import math
import threading
import time
from typing import Any

import numpy as np

from common.errors import UserError
from policy.interface import Policy, batched_plan, inpaints
from policy.remote.names import ACTION, Names
from robot_bridge.logs import fields
from robot_bridge.serving.metrics import ServerMetrics
from robot_bridge.serving.replies import Replies
from robot_bridge.serving.waiting import Request, Waiting

SMOOTHING = 0.2
"""The weight of the newest batch in the expected duration of the next."""

log = logging.getLogger("robot_bridge.server")


class Inference:
    """Computes what waits, and answers through ``replies``.

    When the policy fails on a batch, each request is tried alone, so one client's input fails that client only.
    """

    def __init__(
        self,
        policy: Policy,
        waiting: Waiting,
        max_rows: int,
        names: Names,
        metrics: ServerMetrics,
        replies: Replies,
    ):
        self._policy = policy
        self._waiting = waiting
        self._names = names
        self._metrics = metrics
        self.answered_at = -math.inf
        self._replies = replies
        self._changed = threading.Condition()  # guards the line and the flag
        self._stopping = False
        self._expected = 0.0
        # One buffer for every batch: pages that are warm already, and one copy from the message to the policy.
        self._images = np.zeros((max_rows, len(policy.views), *policy.image_size, 3), np.uint8)

    def submit(self, request: Request) -> Request | None:
        """Lets ``request`` wait; returns the older one of the same client that it replaces."""
        with self._changed:
            replaced = self._waiting.add(request)
            self._changed.notify()
        return replaced

    def cancel(self, peer: bytes) -> Request | None:
        """Takes back what ``peer`` has waiting."""
        with self._changed:
            return self._waiting.cancel(peer)

    def stop(self) -> None:
        """Lets ``run`` return once nothing waits."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def run(self) -> None:
        """Computes until ``stop``."""
        while True:
            expired, batch = self._next()
            for request in expired:
                self._replies.refuse(request, "expired", "expired before the policy was free")
            if batch:
                self._compute(batch)
            elif not expired:
                return

    def _next(self) -> tuple[list[Request], list[Request]]:
        """Waits for something to do: expired requests and a batch; neither when it is time to stop."""
        with self._changed:
            while True:
                now = time.monotonic()
                expired = self._waiting.take_expired(now)
                due = self._waiting.due_in(now)
                if due is not None and (due <= 0 or self._stopping):
                    return expired, self._waiting.take(now, self._expected)
                if expired or (due is None and self._stopping):
                    return expired, []
                self._changed.wait(due)

    def _compute(self, batch: list[Request]) -> None:
        started = time.monotonic()
        try:
            results = self._infer(batch)
        except Exception as error:
            if len(batch) > 1:
                for request in batch:
                    self._compute([request])
                return
            self._blame(batch[0], error)
            return
        took = time.monotonic() - started
        self.answered_at = started + took
        self._expected += SMOOTHING * (took - self._expected)
        rows = sum(request.inputs.rows for request in batch)
        self._metrics.infer_seconds.observe(took)
        self._metrics.batch_rows.observe(rows)
        for request, result in zip(batch, results, strict=True):
            info: dict[str, Any] = {"observed_at": request.envelope.observed_at, "batch_rows": rows}
            info |= {"infer_ms": took * 1e3, "wait_ms": (started - request.received) * 1e3}
            if request.warning is not None:
                info["warning"] = request.warning
            acted = request.endpoint == "get_action"
            self._replies.answer(request, [result, info] if acted and not request.bare else result)
            self._metrics.request_seconds.observe(time.monotonic() - request.received)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("batch", extra=fields(rows=rows, clients=len(batch), infer_s=round(took, 6)))

    def _blame(self, request: Request, error: Exception) -> None:
        """Tells the client what it should mend itself, or that the policy failed."""
        where = fields(peer=request.peer.hex(), endpoint=request.endpoint, reason=str(error))
        if isinstance(error, UserError):
            log.warning("refused by the policy", extra=where)
            self._replies.refuse(request, "bad_request", str(error))
        else:
            log.error("the policy failed", exc_info=error, extra=where)
            self._replies.refuse(request, "policy_failed", f"the policy failed: {type(error).__name__}: {error}")

    def _infer(self, batch: list[Request]) -> list[dict[str, np.ndarray]]:
        """One result a request, from one call of the policy."""
        rows = 0
        for request in batch:
            request.inputs.copy_images(self._images[rows : rows + request.inputs.rows])
            rows += request.inputs.rows
        images = self._images[:rows]
        text = [line for request in batch for line in request.inputs.text]
        first = batch[0]
        if first.endpoint == "predict_codes":
            indices, codes = self._policy.predict_codes(images, text)
            return [{"indices": indices, "codes": codes}]
        if first.queries is not None:
            return [{"traj": self._policy.predict_traj(images, first.queries, text)}]
        proprio = np.concatenate([request.inputs.proprio for request in batch])
        plan = batched_plan([row for request in batch for row in request.plans], self._policy.action_horizon)
        if plan is not None and inpaints(self._policy):
            actions = np.asarray(self._policy.act(images, proprio, text, plan), np.float32)
        else:
            actions = np.asarray(self._policy.act(images, proprio, text), np.float32)
        if actions.ndim != 3 or len(actions) != len(text) or not np.isfinite(actions).all():
            raise ValueError(f"actions must be finite and ({len(text)}, horizon, d), not {actions.shape}")
        ends = np.cumsum([request.inputs.rows for request in batch])
        return [self._actions(request, part) for request, part in zip(batch, np.split(actions, ends[:-1]), strict=True)]

    def _actions(self, request: Request, actions: np.ndarray) -> dict[str, np.ndarray]:
        """``actions`` (b, horizon, d) as the client knows them: ours under one name, others' as they were renamed."""
        if not request.inputs.batched:
            actions = actions[0]
        if request.envelope.ours:
            return {ACTION: actions}
        parts = self._names.split(actions)
        flat = request.bare and self._names.action != Names().action
        return {f"action.{name}" if flat else name: part for name, part in parts.items()}
