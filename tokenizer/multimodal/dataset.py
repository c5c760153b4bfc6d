"""Tokens in memory, to train and to measure on: a row for each pair, checked when they are read."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.errors import UserError
from tokenizer.multimodal.captions import caption_tokens
from tokenizer.multimodal.options import MaskedModelConfig
from tokenizer.multimodal.split import SPLITS
from tokenizer.multimodal.store import TokenStore, read_tokens


class TokenDataset:
    """The pairs of one split of stores; ``split`` None takes them all, split or not.

    ``tokens`` has (n, length) of each modality of the model, ``pairs`` the store and the number of each row.

    Raises:
        UserError: a modality is missing for a pair, tokens are not of this model, or there are none.
    """

    def __init__(self, roots: Iterable[str | Path], split: str | None, config: MaskedModelConfig):
        self.config = config
        self.stores = [TokenStore.read(root) for root in roots]
        self.pairs: list[tuple[TokenStore, str]] = []
        for store in self.stores:
            self._check_store(store)
            self.pairs += [(store, pair) for pair in self._names(store, split)]
        if not self.pairs:
            where = ", ".join(str(store.root) for store in self.stores)
            raise UserError(f"{where} has no pairs{f' in {split}' if split else ''}; make the tokens of more videos")
        rows = {
            modality: [self._read(store, modality, pair) for store, pair in self.pairs]
            for modality in config.modalities
        }
        self.tokens = {modality: np.stack(of_all) for modality, of_all in rows.items()}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """(b, length) int64 by modality."""
        return {modality: of_all[indices] for modality, of_all in self.tokens.items()}

    def _check_store(self, store: TokenStore) -> None:
        manifest, c = store.manifest(), self.config
        if absent := [name for name in c.modalities if name not in manifest["modalities"]]:
            raise UserError(
                f"{store.root} has no {absent[0]}, only {', '.join(manifest['modalities'])}; leave it out of modalities"
            )
        for number, modality in enumerate(c.modalities):
            kind = modality.removesuffix("_next")
            made = {"tok_rgb": manifest["image_ids"], "coords": manifest["bins"]}.get(kind)
            if made is not None and made != c.ids[number]:
                raise UserError(
                    f"{store.root}: {modality} has {made} ids, the model {c.ids[number]}; set ids as they are"
                )
        first = self.stores[0].manifest()
        for key in ("image_tokenizer", "fit", "bins"):
            if manifest[key] != first[key]:
                raise UserError(
                    f"{store.root} was made with {key} {manifest[key]!r}, {self.stores[0].root} with {first[key]!r}; "
                    "tokens of two kinds do not mix"
                )

    def _names(self, store: TokenStore, split: str | None) -> list[str]:
        splits = SPLITS if split is None else (split,)
        first = self.config.modalities[0]
        folders = [store.root / split / first for split in splits]
        if split is None:
            folders.append(store.root / first)
        elif not store.is_split:
            raise UserError(f"{store.root} is not split; finish it with python -m tokenizer.encode_multimodal")
        return sorted(path.name for folder in folders if folder.is_dir() for path in folder.iterdir())

    def _read(self, store: TokenStore, modality: str, pair: str) -> np.ndarray:
        folder = store.folder(modality, pair)
        if not folder.is_dir():
            raise UserError(f"{store.root}: pair {pair} has no {modality}; make the tokens again")
        found = read_tokens(folder, modality)
        length = self.config.max_seq_lens[self.config.index(modality)]
        if isinstance(found, str):
            return caption_tokens(found, length, str(folder))
        if not np.issubdtype(found.dtype, np.integer):
            raise UserError(f"{folder} holds {found.dtype}, not ids")
        return self.config.check(modality, found.astype(np.int64).reshape(-1), str(folder))
