"""Makes what training needs beside demonstrations: point tracks, and embeddings of their instructions.

  python -m demos.preprocess mode=tracks suite=my_robot
  python -m demos.preprocess mode=text suite=libero_10
  python -m demos.preprocess mode=text suite=libero_10 weights=folder_of_t5/ demos_root=data/demos dest=data/tracks

mode=tracks follows 400 points a view through the images of each demonstration, by optical flow, from every frame on,
and writes DEST/SUITE/uniform_400_reinit_16/TASK_demo/demo_K.hdf5. It is for real video; 'python -m sim.collect' and
'python -m sim.render' write exact tracks. What is there is kept, so it can be stopped and started again; tracks made
elsewhere (by CoTracker, say) are read from the same place.

mode=text writes DEST/SUITE/text/TASK.hdf5 for each demonstration file of the suite: the instruction (text) and what
T5's encoder makes of it (text_emb, 1 x 512). weights is a name on the hub (t5-small, as published), or a folder with
config.json, tokenizer.json and model.safetensors. The trainers find these files in their tracks_root
(model.text_encoder.name=preprocessed), python -m policy.import_official by --text-embeddings.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import rich.progress
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common import cli
from common.conventions import VIEWS
from common.errors import UserError
from demos.hdf5 import DemoReader
from demos.t5 import PUBLISHED, T5Encoder
from demos.text_embeddings import write_text_embedding
from demos.tracks import TrackWriter, track_folder


class Mode(Enum):
    """What is made."""

    text = "text"
    tracks = "tracks"


@dataclass
class Preprocessing:
    """The settings, written ``name=value``."""

    mode: Mode
    suite: str
    demos_root: str = "data/demos"
    dest: str = "data/tracks"
    weights: str = PUBLISHED


def embed_instructions(settings: Preprocessing) -> list[Path]:
    """Writes the embeddings of a suite's instructions; returns the files."""
    import torch

    demonstrations = _demonstrations(settings)
    encoder = T5Encoder.pretrained(settings.weights)
    written = []
    for path in demonstrations:
        reader = DemoReader(path)
        text = reader.language
        reader.close()
        with torch.no_grad():
            embedding = encoder(encoder.prepare([text]))[0].numpy()
        task = path.stem.removesuffix("_demo")
        written.append(Path(settings.dest) / settings.suite / "text" / f"{task}.hdf5")
        write_text_embedding(written[-1], text, embedding)
    return written


def track_demonstrations(settings: Preprocessing) -> list[Path]:
    """Writes the tracks of a suite's demonstrations that have none yet; returns the new files."""
    from demos.optical_flow_tracks import track

    wanted = []
    for path in _demonstrations(settings):
        with DemoReader(path) as reader:
            folder = track_folder(settings.dest, settings.suite, path)
            wanted += [
                (path, index, TrackWriter(folder))
                for index, name in enumerate(reader.names)
                if not (folder / f"{name}.hdf5").exists()
            ]
    written = []
    for path, index, writer in rich.progress.track(wanted, f"tracks of {settings.suite}"):
        with DemoReader(path) as reader:
            views = {
                view: track(reader.read(index, f"{view}_rgb")) for view in VIEWS if reader.has(index, f"{view}_rgb")
            }
            written.append(writer.write(index, views, reader.image_size(index, next(iter(views)))))
    return written


def _demonstrations(settings: Preprocessing) -> list[Path]:
    folder = Path(settings.demos_root) / settings.suite
    found = sorted(folder.glob("*_demo.hdf5"))
    if not found:
        raise UserError(
            f"no demonstrations (*_demo.hdf5) in {folder}; collect them with 'python -m sim.collect --suite "
            f"{settings.suite}', or set demos_root"
        )
    return found


def parse(argv: list[str]) -> Preprocessing:
    """The settings on a command line; raises UserError for what is none."""
    if wrong := [argument for argument in argv if argument.startswith("-") or "=" not in argument]:
        raise UserError(f"cannot read {wrong[0]!r}; settings are written name=value, see --help")
    try:
        settings = OmegaConf.merge(OmegaConf.structured(Preprocessing), OmegaConf.from_cli(argv))
        found = OmegaConf.to_object(settings)
    except OmegaConfBaseException as error:
        raise UserError(f"{str(error).splitlines()[0]} (see 'python -m demos.preprocess --help')") from None
    assert isinstance(found, Preprocessing)
    return found


def main(argv: list[str]) -> None:
    if not argv or {"-h", "--help"} & set(argv):
        print(__doc__.strip())
        return
    settings = parse(argv)
    if settings.mode is Mode.tracks:
        written = track_demonstrations(settings)
        print(f"wrote the tracks of {len(written)} demonstrations to {Path(settings.dest) / settings.suite}")
    else:
        written = embed_instructions(settings)
        print(f"wrote the embeddings of {len(written)} instructions to {written[0].parent}")


if __name__ == "__main__":
    cli.run(main)
