"""From videos to tokens on disk: pairs of frames, their images, joints and captions, video after video."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from common.errors import UserError
from tokenizer.multimodal.canvas import Canvas, Fit, to_tensor
from tokenizer.multimodal.captions import LENGTH, Captioner, caption_tokens
from tokenizer.multimodal.coordinates import BINS, coordinate_tokens
from tokenizer.multimodal.frame_pairs import THRESHOLD, Kept, distinct_frames
from tokenizer.multimodal.image_tokenizers import ImageTokenizer
from tokenizer.multimodal.motion_codes import CODES, MotionCodes
from tokenizer.multimodal.store import CAPTIONS, Pair, TokenStore, VideoRecord
from tokenizer.multimodal.video import Source, Video

COORDS = "coords"
BATCH = 16
"""Images that are tokenized at once."""


@dataclass(frozen=True)
class PipelineOptions:
    """How videos become tokens."""

    fit: Fit = "crop"
    threshold: float = THRESHOLD
    without: frozenset[str] = frozenset()
    """of coords and captions, what is left out though it is known"""
    caption_length: int = LENGTH
    """tokens that captions must fit into"""
    bins: int = BINS
    """over a side of the canvas, for coordinates"""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UserError(f"threshold is {self.threshold:g}; it must be above 0 and at most 1")
        if not 2 <= self.bins <= 65_536:
            raise UserError(f"bins is {self.bins}; it must be 2 to 65536")
        if unknown := self.without - {COORDS, CAPTIONS}:
            raise UserError(f"{min(unknown)} cannot be left out; only {COORDS} and {CAPTIONS} can")


class Pipeline:
    """Makes the tokens of all videos of a source that are not there yet; a run that was killed goes on.

    A video that cannot be used is left out, with the reason in its record, and the others go on.
    """

    def __init__(
        self,
        source: Source,
        images: ImageTokenizer,
        store: TokenStore,
        options: PipelineOptions | None = None,
        captioner: Captioner | None = None,
        codes: MotionCodes | None = None,
    ):
        self.source, self.images, self.store, self.captioner = source, images, store, captioner
        self.options = o = options or PipelineOptions()
        known = {*source.modalities, *([CAPTIONS] if captioner else [])} - o.without
        of_frames = [name for name in ("tok_rgb", COORDS) if name == "tok_rgb" or name in known]
        of_pairs = [name for name in (CAPTIONS, CODES) if name in known]
        self.modalities = (*(name + end for name in of_frames for end in ("", "_next")), *of_pairs)
        store.write_manifest(
            {
                "source": source.kind,
                "lines": source.lines,
                "modalities": self.modalities,
                "fit": o.fit,
                "threshold": o.threshold,
                "image_tokenizer": images.name,
                "image_ids": images.vocab_size,
                "grid": images.grid,
                "captioner": captioner.name if captioner else "given" if CAPTIONS in known else None,
                "caption_length": o.caption_length,
                "bins": o.bins,
                "track_tokenizer": codes.name if codes else None,
                "code_ids": codes.ids if codes else None,
            }
        )

    def missing(self) -> list[str]:
        """The videos whose tokens are to be made: those without, and those that have changed or are damaged.

        Raises:
            UserError: there are some, but what is there has been split already.
        """
        records = self.store.records()
        damaged = {record.video: reason for record, reason in self.store.damaged()}
        names = self.source.names()
        missing = []
        for name in names:
            record = records.get(name)
            changed = record is not None and record.fingerprint != self.source.fingerprint(name)
            if changed and record is not None and record.pairs:
                raise UserError(
                    f"{name} has changed since its tokens were made ({record.fingerprint}, now "
                    f"{self.source.fingerprint(name)}); write to another folder"
                )
            if record is None or changed or name in damaged:
                missing.append(name)
        new = [name for name in missing if name not in damaged]
        if new and self.store.is_split:
            raise UserError(f"{self.store.root} is split already, without {new[0]}; write to another folder")
        return missing

    def run(self, each: Callable[[list[str]], Iterable[str]] = iter) -> Iterator[VideoRecord]:
        """Makes what is missing; ``each`` goes over the names of the videos, to show how far it is."""
        missing = self.missing()
        self.store.remove_half_line()
        if not self.store.is_split:
            self.store.remove_unrecorded()
        records = self.store.records()
        following = 1 + max((int(pair.id) for record in records.values() for pair in record.pairs), default=0)
        for name in each(missing):
            before = records.get(name)
            # tokens that were damaged are made again under their numbers
            first = int(before.pairs[0].id) if before and before.pairs else following
            try:
                record = self._tokenized(name, first)
                if before and before.pairs and len(record.pairs) != len(before.pairs):
                    raise UserError(f"{name} has other pairs than before; write to another folder")
            except UserError as error:
                record = VideoRecord(name, self.source.fingerprint(name), left_out=str(error))
            self.store.append(record)
            following = max(following, first + len(record.pairs))
            yield record

    def _tokenized(self, name: str, first: int) -> VideoRecord:
        """Writes the pairs of a video, numbered from ``first`` on."""
        video = self.source.read(name)
        counted = _Counted(video.frames())
        kept, ids, canvas, captions = [], [], None, []
        for batch in _batches(distinct_frames(counted, self.options.threshold)):
            height, width = batch[0].frame.shape[:2]
            canvas = Canvas(width, height, self.options.fit)
            images = np.stack([canvas.image(one.frame) for one in batch])
            ids.append(self.images.encode(to_tensor(images)).cpu().numpy().astype(np.uint16))
            captions += self._captions(video, images)
            kept += [(one.number, one.ssim) for one in batch]
        if canvas is None:
            raise UserError(f"{name} has no frames")
        tokens = {"tok_rgb": np.concatenate(ids)}
        if COORDS in self.modalities:
            points, visible = video.joints(counted.count, canvas.width, canvas.height)
            chosen = [number for number, _ in kept]
            # all are looked at before any is written: numbers of frames in errors are the video's
            all_tokens = coordinate_tokens(points, visible, canvas, name, self.options.bins)
            tokens[COORDS] = all_tokens[chosen]
        codes = None
        if video.codes is not None and len(kept) > 1:
            codes = video.codes(np.array([number for number, _ in kept[:-1]], np.int64))
        pairs = []
        for place, ((reference, _), (successor, ssim)) in enumerate(pairwise(kept)):
            number = f"{first + place:06}"
            values: dict[str, np.ndarray | str] = {}
            for modality, of_all in tokens.items():
                values |= {modality: of_all[place], f"{modality}_next": of_all[place + 1]}
            if CAPTIONS in self.modalities:
                values[CAPTIONS] = captions[place]
            if codes is not None:
                values[CODES] = codes[place]
            pairs.append(Pair(number, reference, successor, ssim, self.store.write(number, values)))
        size = (canvas.width, canvas.height)
        return VideoRecord(name, self.source.fingerprint(name), size, counted.count, tuple(pairs))

    def _captions(self, video: Video, images: np.ndarray) -> list[str]:
        """Of each of the images (b, side, side, 3), as the video has it or the captioner says."""
        if CAPTIONS not in self.modalities:
            return []
        if self.captioner is not None:
            texts = [self.captioner(image) for image in images]
        elif video.caption is not None:
            texts = [video.caption] * len(images)
        else:
            raise UserError(f"{video.name} has no caption; write one, or leave captions out (--without captions)")
        for text in set(texts):
            caption_tokens(text, self.options.caption_length, video.name)
        return texts


class _Counted:
    """Goes over frames once, and counts them."""

    def __init__(self, frames: Iterable[np.ndarray]):
        self._frames, self.count = frames, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self._frames:
            self.count += 1
            yield frame


def _batches(kept: Iterable[Kept]) -> Iterator[list[Kept]]:
    batch: list[Kept] = []
    for one in kept:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
