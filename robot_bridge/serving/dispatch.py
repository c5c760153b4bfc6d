"""What happens with one message: judged in the order of its cost, answered at once, or sent to wait for the policy."""

import logging
import time
from dataclasses import replace
from typing import Any

from policy.interface import Policy
from policy.remote import wire
from policy.remote.wire import WireError
from robot_bridge.logs import fields
from robot_bridge.serving.admission import Admission
from robot_bridge.serving.inference import Inference
from robot_bridge.serving.instructions import Instructions
from robot_bridge.serving.metrics import ServerMetrics
from robot_bridge.serving.modality import modality_config
from robot_bridge.serving.observation import BadObservation, InputSpec, read_observation, read_plan, read_queries
from robot_bridge.serving.replies import Asked, Envelope, Refused, Replies, read_envelope
from robot_bridge.serving.waiting import Request

DEFAULT_DEADLINE = 60.0
"""Seconds after which a request that names no deadline is given up."""
POLICY_ENDPOINTS = ("get_action", "predict_codes", "predict_traj")
ENDPOINTS = (*POLICY_ENDPOINTS, "ping", "metrics", "reset", "describe", "get_modality_config")

log = logging.getLogger("robot_bridge.server")


class Dispatcher:
    """Judges messages for the door. ``refuse_new`` True: requests to the policy are refused, the server is stopping.

    ``description`` is what ``describe`` answers.
    """

    def __init__(
        self,
        policy: Policy,
        spec: InputSpec,
        admission: Admission,
        inference: Inference,
        replies: Replies,
        metrics: ServerMetrics,
        groot: str,
    ):
        self.refuse_new = False
        self._spec = spec
        self._admission = admission
        self._inference = inference
        self._replies = replies
        self._metrics = metrics
        self._about = policy.describe()
        self._instructions = Instructions(self._about.get("instructions"))
        self.description = {
            "protocol": wire.VERSION,
            "views": list(policy.views),
            "image_size": list(policy.image_size),
            "action_horizon": policy.action_horizon,
            "max_batch": spec.max_rows,
            "embodiment": spec.embodiment.to_dict(),
            "policy": self._about,
        }
        self._modality_config = modality_config(policy, spec.names, groot)

    def handle(self, peer: bytes, frames: list[bytes]) -> None:
        """Answers one message, or lets it wait for the policy. Nothing that arrives can raise from here."""
        received = time.monotonic()
        limits = self._admission.limits(peer, received)
        asked = Asked(peer, Envelope(), None, "unknown", received)
        if limits is None:
            self._metrics.count(asked.endpoint, "ignored")
            return
        try:
            message = wire.parse(frames, limits)
            if not isinstance(message, dict):
                raise Refused("bad_message", "a request is a dict with 'endpoint' and 'data'")
            envelope, objection = read_envelope(message)
            asked = replace(asked, envelope=envelope)
            if objection is not None:
                raise objection
            self._admission.check(peer, message.get("api_token"))
            endpoint = message.get("endpoint", "get_action")
            if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
                raise Refused("unknown_endpoint", f"Unknown endpoint; this server has {', '.join(ENDPOINTS)}")
            asked = replace(asked, endpoint=endpoint)
            if endpoint in POLICY_ENDPOINTS:
                self._let_wait(asked, message, frames, limits)
            else:
                self._replies.answer(asked, self._at_once(asked))
        except (Refused, WireError, BadObservation) as error:
            self._refuse(asked, error.code if isinstance(error, Refused) else _CODES[type(error)], str(error))
        except Exception as error:  # a mistake of ours costs its request, not the server
            log.exception("a message could not be handled", extra=fields(peer=peer.hex(), endpoint=asked.endpoint))
            self._refuse(asked, "internal", f"the server failed on this message: {type(error).__name__}")

    def _let_wait(self, asked: Asked, message: dict[str, Any], frames: list[bytes], limits: wire.Limits) -> None:
        """Checks a request to the policy and lets it wait; an older one of the same client gives way."""
        if self.refuse_new:
            raise Refused("stopping", "the server is stopping")
        budget = message.get("deadline", DEFAULT_DEADLINE)
        if type(budget) not in (int, float) or not budget > 0:
            raise Refused("bad_request", "'deadline' must be a number of seconds above 0")
        data, encoding = wire.unpack(message.get("data"), frames, limits)
        asked = replace(asked, encoding=encoding)
        if not isinstance(data, dict):
            raise Refused("bad_request", "'data' must be a dict with 'observation'")
        bare = "observation" not in data  # GR00T N1.5 sends the observation as the data itself
        inputs = read_observation(data if bare else data["observation"], self._spec, asked.endpoint == "get_action")
        wants_queries = asked.endpoint == "predict_traj"
        request = Request(
            **vars(asked),
            inputs=inputs,
            expires=asked.received + min(float(budget), DEFAULT_DEADLINE),
            plans=tuple(read_plan(data.get("options"), inputs.rows, self._spec)),
            queries=read_queries(data.get("init_queries"), inputs.rows, self._spec) if wants_queries else None,
            bare=bare,
            warning=next(filter(None, map(self._instructions.warning, inputs.text)), None),
        )
        replaced = self._inference.submit(request)
        if replaced is not None:
            self._replies.refuse(replaced, "superseded", "dropped for a newer request of the same client")

    def _at_once(self, asked: Asked) -> Any:
        """The replies that need no policy."""
        if asked.endpoint == "ping":
            return {"status": "ok", "message": "Server is running"}
        if asked.endpoint == "metrics":
            return {"metrics": self._metrics.text()}
        if asked.endpoint == "describe":
            return self.description
        if asked.endpoint == "get_modality_config":
            return self._modality_config
        old = self._inference.cancel(asked.peer)  # reset: it belongs to the episode that is over
        if old is not None:
            self._replies.refuse(old, "superseded", "dropped by a reset of the same client")
        return {"status": "ok"}

    def _refuse(self, asked: Asked, code: str, reason: str) -> None:
        log.warning("refused", extra=fields(peer=asked.peer.hex(), endpoint=asked.endpoint, code=code, reason=reason))
        self._replies.refuse(asked, code, reason)


_CODES: dict[type, str] = {WireError: "bad_message", BadObservation: "bad_request"}
