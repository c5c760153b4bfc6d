"""Tokens in memory, to train and to measure on: a row for each pair, checked when they are read."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.errors import UserError
from tokenizer.multimodal.captions import caption_tokens
from tokenizer.multimodal.options import MaskedModelConfig
from tokenizer.multimodal.split import SPLITS
from tokenizer.multimodal.store import TokenStore, read_tokens

ALL = "all"
"""Instead of a split: all pairs, of videos that a model was not trained on."""


class TokenDataset:
    """The pairs of one split of stores, or of ``ALL``; or ``limit`` of them, spread evenly.

    ``tokens`` has (n, length) of each modality of the model, ``pairs`` the store and the number of each row.

    Raises:
        UserError: a modality is missing for a pair, tokens are not of this model, or there are none.
    """

    def __init__(self, roots: Iterable[str | Path], split: str, config: MaskedModelConfig, limit: int | None = None):
        self.config = config
        self.stores = [TokenStore.read(root) for root in roots]
        self.pairs: list[tuple[TokenStore, str]] = []
        for store in self.stores:
            self._check_store(store)
            self.pairs += [(store, pair) for pair in self._names(store, split)]
        if not self.pairs:
            where = ", ".join(str(store.root) for store in self.stores)
            raise UserError(f"{where} has no pairs in {split}; make the tokens of more videos")
        if limit is not None and limit < len(self.pairs):
            self.pairs = [self.pairs[place] for place in np.linspace(0, len(self.pairs) - 1, limit).round().astype(int)]
        rows = {
            name: [tokens_of(store, name, pair, config) for store, pair in self.pairs] for name in config.modalities
        }
        self.tokens = {modality: np.stack(of_all) for modality, of_all in rows.items()}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """(b, length) int64 by modality."""
        return {modality: of_all[indices] for modality, of_all in self.tokens.items()}

    def _check_store(self, store: TokenStore) -> None:
        manifest = store.manifest()
        check_store(store, self.config, self.config.modalities)
        first = self.stores[0].manifest()
        for key in ("image_tokenizer", "fit", "bins"):
            if manifest[key] != first[key]:
                raise UserError(
                    f"{store.root} was made with {key} {manifest[key]!r}, {self.stores[0].root} with {first[key]!r}; "
                    "tokens of two kinds do not mix"
                )

    def _names(self, store: TokenStore, split: str) -> list[str]:
        if not store.is_split:
            raise UserError(f"{store.root} is not split; finish it with python -m tokenizer.encode_multimodal")
        folders = [store.root / one / self.config.modalities[0] for one in (SPLITS if split == ALL else [split])]
        return sorted(path.name for folder in folders if folder.is_dir() for path in folder.iterdir())


def tokens_of(store: TokenStore, modality: str, pair: str, config: MaskedModelConfig) -> np.ndarray:
    """(length,) int64 of one modality of a pair, checked.

    Raises:
        UserError: they are missing, damaged, or not of this model.
    """
    folder = store.folder(modality, pair)
    if not folder.is_dir():
        raise UserError(f"{store.root}: pair {pair} has no {modality}; make the tokens again")
    found = read_tokens(folder, modality)
    if isinstance(found, str):
        return caption_tokens(found, config.max_seq_lens[config.index(modality)], str(folder))
    if not np.issubdtype(found.dtype, np.integer):
        raise UserError(f"{folder} holds {found.dtype}, not ids")
    return config.check(modality, found.astype(np.int64).reshape(-1), str(folder))


def tokens_of_pair(store: TokenStore, pair: str, config: MaskedModelConfig) -> dict[str, np.ndarray]:
    """The tokens (length,) of a pair, of those of the model's modalities that the store has."""
    check_store(store, config, [name for name in config.modalities if name in store.modalities])
    return {name: tokens_of(store, name, pair, config) for name in config.modalities if name in store.modalities}


def check_store(store: TokenStore, config: MaskedModelConfig, modalities: Iterable[str]) -> None:
    """Raises UserError where a store lacks one of these modalities, or has other ids than the model."""
    manifest = store.manifest()
    for modality in modalities:
        if modality not in manifest["modalities"]:
            there = ", ".join(manifest["modalities"])
            raise UserError(f"{store.root} has no {modality}, only {there}; leave it out of modalities")
        made = {"tok_rgb": manifest["image_ids"], "coords": manifest["bins"], "codes": manifest.get("code_ids")}.get(
            modality.removesuffix("_next")
        )
        ids = config.ids[config.index(modality)]
        if made not in (None, ids):
            raise UserError(f"{store.root}: {modality} has {made} ids, the model {ids}; set ids as they are")
