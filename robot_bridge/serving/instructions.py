"""Instructions that the policy never learned: told once each, with the nearest one that it knows."""

import logging
from collections import OrderedDict
from collections.abc import Sequence

from robot_bridge.logs import fields

REMEMBERED = 256
"""Unknown instructions whose answer is kept, so that looking for the nearest one costs once each."""

log = logging.getLogger("robot_bridge.server")


class Instructions:
    """What the policy knows, from its description's ``instructions``; a policy that lists none is never doubted."""

    def __init__(self, known: Sequence[str] | None):
        self._known = {_words(text): text for text in known or ()}
        self._warnings: OrderedDict[str, str] = OrderedDict()

    def warning(self, text: str) -> str | None:
        """None for a known instruction; else a sentence that names the nearest known one."""
        words = _words(text)
        if not self._known or words in self._known:
            return None
        if text not in self._warnings:
            nearest = self._known[max(self._known, key=lambda known: _likeness(words, known))]
            self._warnings[text] = f"the policy never learned '{text}'; the nearest that it knows is '{nearest}'"
            log.warning("unknown instruction", extra=fields(instruction=text, nearest=nearest))
            if len(self._warnings) > REMEMBERED:
                self._warnings.popitem(last=False)
        return self._warnings[text]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.casefold().replace("_", " ").split())


def _likeness(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """The share of words that both have."""
    return len({*one} & {*other}) / len({*one} | {*other})
