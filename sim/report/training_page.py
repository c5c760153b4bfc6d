"""The page of a training run: its curves, as TensorBoard has them, its pictures, and what its last log lines say."""

import base64
from pathlib import Path

from common.errors import UserError
from common.files import replacing
from sim.report import page_elements
from sim.report.page_elements import escape

LOG_LINES = 20
MOST_IMAGES = 4
"""Pictures of each name, from the first to the last step."""


def write_training(run: Path, folder: Path) -> Path:
    """Write the page of the training run in the folder ``run``; returns index.html.

    Raises:
        UserError: there is no such folder, it holds no TensorBoard files, or TensorBoard is not installed.
    """
    if not run.is_dir():
        raise UserError(f"no training run at {run}; name a folder such as runs/motion_tokenizer/RUN_NAME")
    if not list(run.glob("events.out.tfevents.*")):
        raise UserError(f"{run} holds no TensorBoard files; name the folder of one run, runs/KIND/RUN_NAME")
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise UserError("reading training runs needs TensorBoard: pip install 'amplify-deploy[train]'") from error
    board = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    board.Reload()
    parts = []
    for title, names in _groups(board.Tags()["scalars"]).items():
        curves = []
        for name in names:
            events = board.Scalars(name)
            steps, values = [event.step for event in events], [event.value for event in events]
            curves.append(page_elements.curve(name, steps, values))
        parts.append(f'<section><h2>{title}</h2><div class="charts">{"".join(curves)}</div></section>')
    pictures = []
    for name in board.Tags()["images"]:
        events = board.Images(name)
        for event in events[:: max(1, len(events) // MOST_IMAGES)]:
            pictures.append(_figure(event.encoded_image_string, f"{name} at step {event.step}"))
    pictures += _reconstructions(run)
    if pictures:
        parts.append(f'<section><h2>Pictures</h2><div class="pictures">{"".join(pictures)}</div></section>')
    for title, name in (("Settings", "config.yaml"), ("Log", "log.txt")):
        if (run / name).exists():
            lines = (run / name).read_text(encoding="utf-8").splitlines()
            shown = lines if name == "config.yaml" else lines[-LOG_LINES:]
            summary = f"<summary>{title}: {name}</summary>"
            parts.append(f"<section><details>{summary}<pre>{escape(chr(10).join(shown))}</pre></details></section>")
    about = f"<p class='faint'>{escape(run.resolve().parent.name)}, run {escape(run.resolve().name)}</p>"
    with replacing(folder / "index.html") as temporary:
        text = page_elements.page(f"Training {run.resolve().name}", about, "\n".join(parts))
        temporary.write_text(text, encoding="utf-8")
    return folder / "index.html"


def _reconstructions(run: Path) -> list[str]:
    """What a motion tokenizer makes of held-out motion; for other runs nothing."""
    if run.resolve().parent.name != "motion_tokenizer" or not (run / "latest.safetensors").exists():
        return []
    from sim.pictures.reconstruction import png, reconstructions

    try:
        return [_figure(png(picture), caption) for picture, caption in reconstructions(run / "latest.safetensors")]
    except UserError as error:
        return [f"<p class='faint'>No pictures of decoded motion: {escape(error)}</p>"]


def _figure(image: bytes, label: str) -> str:
    """A PNG or, as TensorBoard keeps films, a GIF inside the page."""
    kind = "gif" if image.startswith(b"GIF8") else "png"
    source = f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
    return f'<figure><img src="{source}" alt="{escape(label)}"><figcaption>{escape(label)}</figcaption></figure>'


def _groups(names: list[str]) -> dict[str, list[str]]:
    """Curves of training and of validation, each sorted with the loss first."""
    ordered = sorted(names, key=lambda name: (not name.endswith("loss"), name))
    validation = [name for name in ordered if name.startswith("val/")]
    training = [name for name in ordered if not name.startswith("val/")]
    return {title: group for title, group in (("Training", training), ("Validation", validation)) if group}
