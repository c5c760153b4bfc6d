"""What an evaluation measured: episodes, success rates with their uncertainty, and everything needed to repeat it.

``results.json`` is rewritten after every episode (to a temporary file, then renamed), so whatever stops a run, the
file is whole and the run can be continued from it.
"""

import dataclasses
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import replacing

FORMAT = 1


class ResultsMismatch(UserError):
    """A results file cannot be continued by this run."""


@dataclass(frozen=True)
class EpisodeResult:
    """One finished episode. ``error``: the traceback of one that broke twice, which is neither success nor failure."""

    suite: str
    task: int
    task_name: str
    episode: int
    init_state: int
    seed: int
    success: bool
    steps: int
    wall_time_s: float
    error: str | None = None
    jump_deg: float | None = None
    """The largest jump where one chunk of actions goes over into the next: by how many degrees a step that changed how
    far any joint moves, against what was planned before."""

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells episodes of one run apart: suite, task and number."""
        return self.suite, self.task, self.episode


@dataclass(frozen=True)
class EvaluationSettings:
    """Everything that decides scores. A run is only continued with the same settings."""

    policy: str
    """``expert``, or the name of a bundle and the SHA-256 of its file."""
    seed: int
    execution: str
    """How chunks of actions are executed, e.g. ``open loop, 8 steps``."""
    blank_codes: bool
    max_steps: int | None
    """Step limit; absent: each suite's own."""
    settle_steps: int
    fast_render: bool
    assets: str
    """Digest of the asset files."""
    mujoco: str
    robosuite: str
    ar_sampling: str = "argmax"
    """How codes are chosen: argmax, topk or topp."""
    temperature: float = 1.0
    """With which they are drawn, where they are."""
    switch_instruction: str | None = None
    """STEP:TASK where the policy is told another task's instruction from a step on, and that task decides."""
    latency_ms: float = 0.0
    """How late chunks came."""


@dataclass(frozen=True)
class Score:
    """Successes among episodes that ran to their end.

    ``low`` and ``high`` bound the success rate with 95 % confidence (Wilson's interval); with no episodes the rate
    is not known and ``None``.
    """

    episodes: int
    successes: int
    errors: int
    mean_steps: float | None

    @classmethod
    def of(cls, episodes: Iterable[EpisodeResult]) -> "Score":
        """Score some episodes; those that broke are only counted as errors."""
        everything = list(episodes)
        valid = [episode for episode in everything if episode.error is None]
        return cls(
            episodes=len(valid),
            successes=sum(episode.success for episode in valid),
            errors=len(everything) - len(valid),
            mean_steps=sum(episode.steps for episode in valid) / len(valid) if valid else None,
        )

    @property
    def rate(self) -> float | None:
        return self.successes / self.episodes if self.episodes else None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.successes, self.episodes)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"success_rate": self.rate, "interval_95": list(self.interval)}


def wilson(successes: int, episodes: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval for a success rate (Wilson 1927), by default at 95 %.

    >>> tuple(round(bound, 3) for bound in wilson(9, 10))
    (0.596, 0.982)
    """
    if not episodes:
        return 0.0, 1.0
    rate = successes / episodes
    centre = rate + z * z / (2 * episodes)
    margin = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes * episodes))
    scale = 1 + z * z / episodes
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


@dataclass
class Results:
    """The results of one evaluation and the file that keeps them.

    Args:
        path: the ``results.json``.
        settings: what decides scores.
        context: what else a reader wants to know: date, command line, policy, assets, machine, versions, and ``notes``,
            sentences that must stand wherever the scores do.
        episodes: finished episodes by ``EpisodeResult.key``.
        wall_time_s: how long the evaluation has run, over all runs that continued the file.
    """

    path: Path
    settings: EvaluationSettings
    context: dict[str, Any] = field(default_factory=dict)
    episodes: dict[tuple[str, int, int], EpisodeResult] = field(default_factory=dict)
    wall_time_s: float = 0.0

    def __post_init__(self) -> None:
        self._began, self._earlier = time.monotonic(), self.wall_time_s

    @property
    def notes(self) -> list[str]:
        """What must be said beside the scores, such as that they are not comparable with published ones."""
        return list(self.context.get("notes", []))

    def add(self, episode: EpisodeResult) -> None:
        """Keep an episode, on disk too.

        Raises:
            UserError: the file cannot be written; says where the episodes are instead.
        """
        self.episodes[episode.key] = episode
        self.wall_time_s = round(self._earlier + time.monotonic() - self._began, 1)
        try:
            self.save()
        except OSError as error:
            raise UserError(f"cannot write {self.path} ({error.strerror}); {self._rescue(episode)}") from error

    def _rescue(self, episode: EpisodeResult) -> str:
        """Keep what ``self.path`` does not hold, and say where: in another place, or in these very words."""
        told = f"make room and repeat the command; the last episode is not in it: {dataclasses.asdict(episode)}"
        try:
            folder = Path(tempfile.mkdtemp(prefix="amplify-results-"))
        except OSError:
            return told
        try:
            (folder / self.path.name).write_text(json.dumps(self.as_json(), indent=1) + "\n")
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return told
        there = folder / self.path.name
        return f"all {len(self.episodes)} episodes are in {there}: make room, move it there, and repeat the command"

    def score(self, suite: str, task: int | None = None) -> Score:
        """The score of a suite, or of one task of it."""
        return Score.of(e for e in self.episodes.values() if e.suite == suite and task in (None, e.task))

    def suites(self) -> list[str]:
        """The suites that have episodes."""
        return sorted({suite for suite, _, _ in self.episodes})

    @property
    def average(self) -> float | None:
        """The mean of the suites' success rates, each counting the same; None for a single suite."""
        rates = [rate for suite in self.suites() if (rate := self.score(suite).rate) is not None]
        return sum(rates) / len(rates) if len(rates) > 1 else None

    def tasks(self) -> list[tuple[str, int, str]]:
        """Suite, index and name of the tasks that have episodes, in order."""
        return sorted({(e.suite, e.task, e.task_name) for e in self.episodes.values()})

    def as_json(self) -> dict[str, Any]:
        summary = {
            suite: self.score(suite).as_json()
            | {
                "tasks": [
                    {"task": task, "task_name": name} | self.score(suite, task).as_json()
                    for of, task, name in self.tasks()
                    if of == suite
                ]
            }
            for suite in self.suites()
        }
        return {
            "format": FORMAT,
            "settings": dataclasses.asdict(self.settings),
            **self.context,
            "wall_time_s": self.wall_time_s,
            "suites": summary,
            "average": None if self.average is None else {"suites": self.suites(), "success_rate": self.average},
            "episodes": [dataclasses.asdict(self.episodes[key]) for key in sorted(self.episodes)],
        }

    def save(self) -> None:
        """Write the file so that it is never half written."""
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.as_json(), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read a results file.

        Raises:
            UserError: it cannot be read, or is not one of ours.
        """
        try:
            content = json.loads(path.read_text())
            if content["format"] != FORMAT:
                raise UserError(f"{path} has format {content['format']}, this version reads {FORMAT}")
            old = dict(content["settings"])
            old.pop("suites", None)  # They decide no score, but were once listed.
            settings = EvaluationSettings(**old)
            episodes = [EpisodeResult(**episode) for episode in content["episodes"]]
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a results file of an evaluation ({error}); name another --out") from error
        known = {"format", "settings", "wall_time_s", "suites", "average", "episodes"}
        context = {key: value for key, value in content.items() if key not in known}
        by_key = {episode.key: episode for episode in episodes}
        return cls(path, settings, context, by_key, float(content.get("wall_time_s", 0.0)))

    @classmethod
    def open(cls, path: Path, settings: EvaluationSettings, context: dict[str, Any]) -> "Results":
        """Continue the file if it exists, else begin it. Episodes that broke are forgotten, to be run again.

        Other suites, tasks and numbers of episodes may be added; ``earlier_commands`` then keeps who asked for what.

        Raises:
            ResultsMismatch: the file was made with other settings.
            UserError: the file is damaged.
        """
        if not path.exists():
            return cls(path, settings, context)
        old = cls.load(path)
        for key in dataclasses.fields(EvaluationSettings):
            was, now = getattr(old.settings, key.name), getattr(settings, key.name)
            if was != now:
                raise ResultsMismatch(
                    f"{path} was made with {key.name} = {was}, this run has {now}; name another --out, or repeat "
                    "the settings to continue it"
                )
        episodes = {key: episode for key, episode in old.episodes.items() if episode.error is None}
        commands = [*old.context.get("earlier_commands", []), old.context.get("command")]
        if earlier := [command for command in dict.fromkeys(commands) if command and command != context.get("command")]:
            context = context | {"earlier_commands": earlier}
        if "date" in old.context:  # it began then
            context = context | {"date": old.context["date"]}
        return cls(path, settings, context, episodes, old.wall_time_s)
