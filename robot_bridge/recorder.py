"""Records robot sessions in the demonstration layout, so that they can be replayed, visualised, trained on.

While a session runs it is written to ``<task>_demo.session-*``, so a killed process loses a second of it. In the end it
becomes an episode of ``<task>_demo.hdf5``, which opens like any demonstration (``demos.hdf5``). What has no place there
is in ``data/demo_i/robot``: times, commanded and measured joints, modes, requests with their chunks, interventions. The
cameras' own images become videos, ``<task>_demo.videos/demo_i_<view>.mp4``, with a frame for each row.
"""

import contextlib
import fcntl
import json
import logging
import os
import queue
import shutil
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from common.cli import CommandParser, run
from common.conventions import CONTROL_FREQUENCY
from common.embodiment import Embodiment
from common.errors import UserError
from common.files import replacing
from demos.hdf5 import DemoHeader, DemoWriter, Episode
from robot_bridge.asker import Answer
from robot_bridge.columns import ColumnWriter, read_columns
from robot_bridge.config import RobotConfig
from robot_bridge.loop import Tick
from robot_bridge.rotations import rotation_matrix, rotation_quaternion
from robot_bridge.session_videos import SessionVideos, keep_videos, videos_in

FLUSH_EVERY = 1.0
"""Seconds of a session that a killed process loses at most."""
HEADER, REQUESTS, EVENTS, LABEL = "session.json", "requests.jsonl", "events.jsonl", "label.json"

FAILURES, UNLABELLED = "failures", "unlabelled"
"""Folders, beside the demonstrations, of episodes that nobody should train on unseen."""

log = logging.getLogger("robot_bridge.recorder")


@dataclass(frozen=True)
class Label:
    """What a person says of an episode."""

    success: bool
    note: str = ""


class SessionRecorder:
    """Writes to disk in a thread of its own while the loop runs; ``save`` makes a demonstration of it.

    At 128 x 128 a minute of 20 Hz takes 120 MB, and a few MB for each camera's video; none of it stays in memory.
    ``rate`` (Hz) is that of the loop. ``labelled``: a person says in the end how it went, so an episode without a label
    does not go to the others.

    Raises:
        UserError: ``folder`` cannot be written, or holds demonstrations of another task under this one's name.
    """

    def __init__(
        self,
        folder: str | Path,
        config: RobotConfig,
        task: str,
        views: tuple[str, ...],
        *,
        rate: float = CONTROL_FREQUENCY,
        labelled: bool = False,
    ):
        self._views, self._rate = views, rate
        self._width = config.embodiment.action_width
        self._news: queue.SimpleQueue[Tick | Answer | tuple[float, str, str] | None] = queue.SimpleQueue()
        self._saving = threading.Event()
        self.failure: str = ""
        """Why recording ended before the session did; empty while it goes on."""
        slug = "".join(letter if letter.isalnum() else "_" for letter in task.lower()).strip("_") or "session"
        path = Path(folder) / f"{slug}_demo.hdf5"
        self._session = path.with_name(f"{path.stem}.session-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        header: dict[str, Any] = {
            "file": path.name,
            "task": task,
            "robot": config.name,
            "mode": config.mode,
            "views": list(views),
        }
        header["embodiment"] = config.embodiment.to_dict()
        header["labelled"] = labelled
        try:
            _writer(path, header)
            self._session.mkdir(parents=True)
            self._lock = open(self._session / HEADER, "w")  # noqa: SIM115 (held until the session is over)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._lock.write(json.dumps(header))
            self._lock.flush()
        except OSError as error:
            raise UserError(f"cannot record to {folder}: {error.strerror}; choose another --record") from None
        self._thread: threading.Thread | None = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def tick(self, tick: Tick) -> None:
        """One control period."""
        self._news.put(tick)

    def answer(self, answer: Answer) -> None:
        """A request's end, good or bad."""
        self._news.put(answer)

    def event(self, at: float, kind: str, text: str) -> None:
        """A change of mode or an intervention."""
        self._news.put((at, kind, text))

    def save(self, label: Label | None = None) -> Path | None:
        """Ends the session and makes a demonstration of it; None when there was not one tick.

        Raises:
            UserError: the disk is full or gone; what was recorded stays where the message says.
        """
        self._end()
        if label is not None:
            with contextlib.suppress(OSError), replacing(self._session / LABEL) as temporary:
                temporary.write_text(json.dumps(asdict(label)))
        path = _publish(self._session)
        self._lock.close()
        if self.failure:
            raise UserError(f"the recording ended early: {self.failure}; what came before is in {path or 'no file'}")
        return path

    def discard(self) -> None:
        """Ends the session and forgets it."""
        self._end()
        shutil.rmtree(self._session)
        self._lock.close()

    def _end(self) -> None:
        if self._thread is not None:
            self._saving.set()
            self._news.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        try:
            self._write()
        except Exception as error:  # whatever it is, the arm goes on
            self.failure = str(error)
            log.error("the recording ends here: %s", error)
            while not self._saving.wait(FLUSH_EVERY):
                while not self._news.empty():
                    self._news.get()

    def _write(self) -> None:
        flushed = time.monotonic()
        with (
            contextlib.closing(ColumnWriter(self._session)) as columns,
            contextlib.closing(SessionVideos(self._session, self._views, self._rate)) as videos,
            open(self._session / REQUESTS, "w") as requests,
            open(self._session / EVENTS, "w") as events,
        ):
            while (item := self._news.get()) is not None:
                if isinstance(item, Tick):
                    if item.pictures:  # first, so that a killed process leaves a frame for each row
                        videos.add(item.pictures)
                    columns.append(self._row(item))
                elif isinstance(item, Answer):
                    requests.write(json.dumps(_request(item)) + "\n")
                else:
                    events.write(json.dumps(item) + "\n")
                if time.monotonic() - flushed > FLUSH_EVERY:
                    for file in (columns, requests, events):
                        file.flush()
                    flushed = time.monotonic()

    def _row(self, tick: Tick) -> dict[str, np.ndarray]:
        hands = tick.observation.hands
        none = np.full(self._width, np.nan)
        return {
            "time": np.float64(tick.at),
            "late": np.float64(tick.late),
            "age": np.float64(tick.age),
            # As they stand in a demonstration: upside down.
            **{f"image{number}": image[::-1] for number, image in enumerate(tick.observation.images)},
            "fingers": tick.observation.fingers,
            "measured_sim": tick.measured,
            "commanded_sim": tick.command.q_sim,
            "commanded_real": tick.command.q_real,
            "opening": tick.openings,
            "mode": np.array(tick.command.mode.value.encode(), "S8"),
            "action": none if tick.action is None else np.asarray(tick.action, np.float64),
            "hands": hands,
            "quaternion": rotation_quaternion(rotation_matrix(hands[0, 3:])),
        }


def recover(folder: str | Path) -> list[Path]:
    """Makes demonstrations of the sessions in ``folder`` that were cut off; the files that they are now in."""
    paths = set()
    for session in sorted(Path(folder).glob("*_demo.session-*")):
        with open(session / HEADER) as header:
            try:
                fcntl.flock(header, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # it goes on in another process
            path = _publish(session, cut_off=True)
        if path is not None:
            paths.add(path)
    return sorted(paths)


def _publish(session: Path, cut_off: bool = False) -> Path | None:
    """Turns the files of a session into an episode and removes them."""
    columns, path = read_columns(session), None
    try:
        if columns:
            header = json.loads((session / HEADER).read_text())
            label = _label(session)
            file = _place(session.with_name(header["file"]), header, label)
            writer = _writer(file, header)
            episode = _episode(columns, header, {"cut_off": cut_off} if cut_off else {}, label)
            videos = videos_in(session, header["views"])
            writer.append(
                episode,
                before_publish=lambda demo: keep_videos(videos, file, demo),
                also=lambda group: _write_log(group.create_group("robot"), columns, header, session),
            )
            path = writer.finish()
    except OSError as error:
        raise UserError(
            f"the session is in {session}, but cannot become a demonstration: {error}; make room on the disk, then "
            f"python -m robot_bridge.recorder {session.parent}"
        ) from None
    shutil.rmtree(session)
    return path


def _label(session: Path) -> Label | None:
    """What a person said of the session, if anybody has."""
    path = session / LABEL
    return Label(**json.loads(path.read_text())) if path.exists() else None


def _place(file: Path, header: dict[str, Any], label: Label | None) -> Path:
    """Where an episode goes whose demonstrations are in ``file``."""
    if label is None:
        return file.parent / UNLABELLED / file.name if header.get("labelled") else file
    return file if label.success else file.parent / FAILURES / file.name


def _writer(path: Path, header: dict[str, Any]) -> DemoWriter:
    robot = {"robot": header["robot"], "mode": header["mode"]}
    return DemoWriter(path, DemoHeader(header["task"], "robot_session", "", robot))


def _episode(
    columns: dict[str, np.ndarray], header: dict[str, Any], attributes: dict[str, Any], label: Label | None
) -> Episode:
    fingers, q = columns["fingers"], columns["measured_sim"]
    count = len(q)
    views = {view: np.flip(columns[f"image{number}"], axis=-3) for number, view in enumerate(header["views"])}
    blank = np.zeros_like(next(iter(views.values())))
    dones = np.zeros(count)
    dones[-1] = 1
    rewards = np.zeros(count)
    if label is not None:
        rewards[-1] = float(label.success)
        attributes = attributes | asdict(label)
    still, actions, hands = _still(columns, header["embodiment"]), columns["action"], columns["hands"]
    return Episode(
        actions=np.where(np.isnan(actions).any(axis=1, keepdims=True), still, actions),
        states=np.concatenate([q, fingers], axis=1),
        robot_states=np.concatenate([fingers, hands[:, 0, :3], columns["quaternion"]], axis=1),
        rewards=rewards,
        dones=dones,
        agentview_rgb=views.get("agentview", blank),
        eye_in_hand_rgb=views.get("eye_in_hand", blank),
        joint_states=np.array(q),
        gripper_states=np.array(fingers),
        ee_pos=np.array(hands[:, 0, :3]),
        ee_ori=np.array(hands[:, 0, 3:]),
        attributes={"robot": header["robot"], **attributes},
    )


def _still(columns: dict[str, np.ndarray], embodiment: dict[str, Any]) -> np.ndarray:
    """What stands (t, d) for actions that were held back: to stay, with open grippers."""
    count, arm, joint, parts = len(columns["time"]), 0, 0, []
    for group in Embodiment.from_dict(embodiment).action:
        if group.kind == "joint_target":
            parts.append(columns["measured_sim"][:, joint : joint + group.width])
        elif group.kind == "pose_target":
            parts.append(columns["hands"][:, arm])
        else:
            stay = {"gripper_sign": -1.0, "gripper_opening": 1.0}.get(group.kind, 0.0)
            parts.append(np.full((count, group.width), stay))
        is_arm = not group.kind.startswith("gripper_")
        arm, joint = arm + is_arm, joint + is_arm * group.width
    return np.concatenate(parts, axis=1)


def _write_log(group: h5py.Group, columns: dict[str, np.ndarray], header: dict[str, Any], session: Path) -> None:
    group.attrs["clock"] = "seconds on the control loop's monotonic clock"
    group.attrs["embodiment"] = json.dumps(header["embodiment"])
    for name in (
        "time",
        "late",
        "age",
        "measured_sim",
        "commanded_sim",
        "commanded_real",
        "opening",
        "mode",
        "action",
        "hands",
    ):
        group[name] = columns[name]
    answers = _lines(session / REQUESTS)
    requests = group.create_group("requests")
    requests["observed"] = np.array([answer["observed"] for answer in answers], np.float64)
    for name in ("seconds", "server"):
        requests[name] = np.array([answer[name] for answer in answers], np.float64)
    text = h5py.string_dtype()
    requests.create_dataset("error", data=[answer["error"] for answer in answers], dtype=text)
    chunks = requests.create_group("chunks")
    for number, answer in enumerate(answers):
        if answer["chunk"] is not None:
            chunks[str(number)] = np.array(answer["chunk"], answer["dtype"])
    happened = _lines(session / EVENTS)
    events = group.create_group("events")
    events["time"] = np.array([at for at, _, _ in happened], np.float64)
    events.create_dataset("kind", data=[kind for _, kind, _ in happened], dtype=text)
    events.create_dataset("text", data=[what for _, _, what in happened], dtype=text)


def _request(answer: Answer) -> dict[str, Any]:
    chunk = answer.chunk
    fields: dict[str, Any] = {"observed": answer.observation.at, "seconds": answer.seconds, "server": answer.server}
    fields |= {"error": answer.error, "chunk": None}
    return (
        fields
        if chunk is None or chunk.dtype.kind not in "biuf"
        else fields | {"chunk": chunk.tolist(), "dtype": chunk.dtype.str}
    )


def _lines(path: Path) -> list[Any]:
    """The whole lines of a file that may have been cut off."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.recorder", "Make demonstrations of recorded robot sessions that were cut off.")
    parser.add_argument("folder", type=Path, help="what --record named")
    folder = parser.parse_args(argv).folder
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    for path in recover(folder):
        print(f"recovered {path}")


if __name__ == "__main__":
    run(main)
