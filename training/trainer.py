"""The training loop that all trainers share, on Lightning Fabric.

Everything random in a step (data order, augmentation, dropout) is a function of seed and step, so a run that was
interrupted continues as if it had not been.
"""

import copy
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning_fabric import Fabric
from torch import Tensor, nn

from common.errors import UserError
from common.files import replacing
from training import checkpoint, runs
from training.config import MAY_CHANGE_ON_RESUME
from training.data_order import DataOrder
from training.precision import precision_plugin
from training.progress import Reporter
from training.recipe import Batch, Recipe
from training.schedules import cosine, linear_cosine, warm_cosine
from training.stop_signals import stop_signals
from training.typed_config import to_mapping


class _Step(nn.Module):
    """The recipe's loss as a module's forward, which is what Fabric distributes and casts."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.model = recipe.model
        self._loss = recipe.loss

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(batch)


class Trainer:
    """One run in ``runs_root/kind/run_name``; ``fit`` trains until a budget is used up or somebody stops it."""

    def __init__(self, recipe: Recipe):
        config = recipe.config
        if config.num_epochs is None and config.max_steps is None and config.max_minutes is None:
            raise UserError("give num_epochs, max_steps or max_minutes, else training never ends")
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config, self.recipe = config, recipe
        self.fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            plugins=[precision_plugin(config)],
        )
        self.fabric.launch()
        world = self.fabric.world_size
        if config.batch_size % world:
            raise UserError(f"batch_size {config.batch_size} cannot be divided by the {world} devices")
        self.parts = ceil(config.batch_size / world / config.gpu_max_bs)
        steps = [] if config.max_steps is None else [config.max_steps]
        if config.num_epochs is not None:
            steps.append(ceil(config.num_epochs * recipe.num_samples / config.batch_size))
        self.max_steps = min(steps, default=None)
        self.order = DataOrder(recipe.num_samples, config.batch_size, config.seed)
        self.step, self.elapsed = 0, 0.0
        self._saved_step: int | None = None
        self.epoch_counts: dict[str, Tensor] = {}
        self.best: float | None = None
        state = self._saved_state() if config.resume else None
        if config.init_from and state is None:
            checkpoint.load_weights(recipe.model, checkpoint.read(config.init_from, recipe.kind))
        optimizer = torch.optim.AdamW(
            recipe.parameter_groups(),
            config.lr,
            config.adam_betas,
            # fused: a sixth of the time; but it undoes float16's scaling of the loss only after gradients are clipped
            fused=config.effective_precision != "16-mixed",
        )
        self.average = copy.deepcopy(recipe.model).requires_grad_(False).eval() if config.ema else None
        if config.compile:
            recipe.model.compile()
        self.module, self.optimizer = self.fabric.setup(_Step(recipe), optimizer)
        if self.average is not None:
            self.average.to(self.fabric.device)
        if state is not None:
            self._resume(state)
        elif not config.resume:
            self.folder = self._new_folder()

    def _new_folder(self) -> Path:
        """A folder of its own for the run, which the first process chooses."""
        runs_folder, name = self.config.runs_folder(self.recipe.kind), self.config.run_name
        claimed = str(runs.claim(runs_folder, name)) if self.fabric.is_global_zero else ""
        return Path(claimed if self.fabric.world_size == 1 else self.fabric.broadcast(claimed))

    # -- budgets and schedule

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next step begins in."""
        return self.step * self.config.batch_size // self.recipe.num_samples

    def progress(self) -> float:
        """Part of the budget that is used, 0 to 1."""
        parts = [0.0]
        if self.max_steps is not None:
            parts.append(self.step / max(self.max_steps, 1))
        if self.config.max_minutes is not None:
            parts.append(self.elapsed / 60 / max(self.config.max_minutes, 1e-9))
        return min(max(parts), 1.0)

    def learning_rate(self) -> float:
        c = self.config
        if c.lr_schedule in ("warm_cosine", "linear_cosine"):
            steps = self.max_steps or round(self.step / max(self.progress(), 1e-9))
            if c.lr_schedule == "warm_cosine":
                return c.lr * warm_cosine(self.step, c.warmup_steps, steps)
            return c.lr * linear_cosine(self.step, c.warmup_steps, steps, c.min_lr / c.lr)
        rate = c.lr * min(1.0, (self.step + 1) / (c.warmup_steps + 1))
        rate *= c.lr_gamma ** sum(self.step >= milestone for milestone in c.lr_milestones)
        if c.lr_schedule == "cosine":
            rate *= cosine(self.progress())
        return rate

    # -- training

    def fit(self) -> dict[str, float]:
        """Trains; returns the last validation measures. Ctrl-C and SIGTERM end it after the step at hand, saved."""
        saved = started = time.monotonic()
        before = self.elapsed
        c, measures = self.config, dict[str, float]()
        folder = self.folder if self.fabric.is_global_zero else None
        if folder is not None:
            with replacing(folder / "config.yaml") as file:
                file.write_text(yaml.safe_dump(to_mapping(c), sort_keys=False))
        with Reporter(c, folder, self.recipe.kind, self.step) as report, stop_signals() as stopped:
            report.line(self._describe())
            for batch in self._batches():
                if self.progress() >= 1 or self._any(stopped.is_set()):
                    break
                epoch = self.epoch
                loss, metrics, counts = self._optimise(batch)
                self.step += 1
                self.elapsed = self._same_everywhere(before + time.monotonic() - started)
                report.step(self.step, self.progress(), self.elapsed, c.batch_size, loss, metrics)
                if self.step % c.log_interval == 0:
                    means = report.log(self._measures_of_step(batch, counts))
                    if not isfinite(means["loss"]):
                        raise UserError(f"the loss is {means['loss']} at step {self.step}; {self._diverged()}")
                if self.epoch > epoch:
                    self._end_epoch(report, measures)
                if self.step % c.val_interval == 0 and self.progress() < 1:
                    measures = self._evaluate(report)
                if self.step % c.vis_interval == 0:
                    self._draw(report)
                if time.monotonic() - saved > c.save_minutes * 60:
                    self.save("latest", measures)
                    saved = time.monotonic()
            if self.progress() >= 1:
                measures = self._evaluate(report)
                self._draw(report)
            self.save("latest", measures)
            end = "finished" if self.progress() >= 1 else "stopped; continue with resume=true"
            report.line(
                f"{end} at step {self.step} after {self.elapsed / 60:.1f} min: {self.folder}/latest.safetensors"
            )
        return measures

    def _batches(self) -> Iterator[Batch]:
        """Batches from the present step on, each loaded while the one before it is trained on."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        on_gpu = self.fabric.device.type == "cuda"

        def load(step: int) -> Batch:
            rng = np.random.default_rng([self.config.seed, step, rank])
            batch = self.recipe.load(self.order(step)[rank::world], rng)
            # pinned memory is copied to a GPU while it computes
            return {name: values.pin_memory() for name, values in batch.items()} if on_gpu else batch

        with ThreadPoolExecutor(1) as loader:
            step = self.step
            following = loader.submit(load, step)
            while True:
                batch, step = following.result(), step + 1
                following = loader.submit(load, step)
                yield batch

    def _optimise(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """One optimisation step on a batch, in parts; returns loss, measures (detached scalars on the device) and
        counts, which it also adds to the epoch's."""
        c = self.config
        seed = np.random.SeedSequence([c.seed, self.step, self.fabric.global_rank]).generate_state(1)[0]
        torch.manual_seed(int(seed))
        self.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate() * group.get("lr_multiplier", 1.0)
        size = len(next(iter(batch.values())))
        total: Tensor | float = 0.0
        sums: dict[str, Tensor] = {}
        counts: dict[str, Tensor] = {}
        for i, rows in enumerate(torch.arange(size).chunk(self.parts)):
            part = self.fabric.to_device({name: values[rows[0] : rows[-1] + 1] for name, values in batch.items()})
            with self.fabric.no_backward_sync(self.module, enabled=i < self.parts - 1):
                loss, metrics = self.module(part)
                share = len(rows) / size
                self.fabric.backward(loss * share)
            total = total + loss.detach() * share
            for name, value in metrics.items():
                if value.ndim:
                    counts[name] = counts.get(name, 0) + value.detach()
                else:
                    sums[name] = sums.get(name, 0.0) + value.detach() * share
        if c.clip_grad:
            # gradients that are not finite are the loss scaler's business, and otherwise noticed in the weights
            sums["grad_norm"] = self.fabric.clip_gradients(  # type: ignore[assignment]
                self.module, self.optimizer, max_norm=c.clip_grad, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            # rises to its value, so that the first, random weights are soon forgotten
            decay = min(c.ema, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                averaged: list[Tensor] = list(self.average.parameters())
                current: list[Tensor] = list(self.recipe.model.parameters())
                torch._foreach_lerp_(averaged, current, 1 - decay)
                for old, new in zip(self.average.buffers(), self.recipe.model.buffers(), strict=True):
                    old.copy_(new)
        if self.fabric.world_size > 1:
            counts = {name: self.fabric.all_reduce(value, reduce_op="sum") for name, value in counts.items()}  # type: ignore[misc]
        for name, value in counts.items():
            self.epoch_counts[name] = self.epoch_counts.get(name, 0) + value
        return total, sums, counts  # type: ignore[return-value]

    def _measures_of_step(self, batch: Batch, counts: dict[str, Tensor]) -> dict[str, float]:
        """What is told of a step beside its loss: of its counts, and of the model as it is now on a part of it."""
        part = {name: values[: self.recipe.validation_batch_size] for name, values in batch.items()}
        model = self.recipe.model.eval()
        with torch.no_grad(), self.fabric.autocast():
            measures = self.recipe.training_measures(self.fabric.to_device(part))
        model.train()
        return {
            "lr": self.optimizer.param_groups[0]["lr"],
            **{f"{name}_step": value for name, value in self.recipe.of_counts(counts).items()},
            **{f"train/{name}": float(value) for name, value in measures.items()},
        }

    def _end_epoch(self, report: Reporter, measures: dict[str, float]) -> None:
        """Tells the epoch's counts, and keeps a snapshot where one is due."""
        of_epoch = {f"{name}_epoch": value for name, value in self.recipe.of_counts(self.epoch_counts).items()}
        if of_epoch:
            report.tell({"epoch": float(self.epoch), **of_epoch})
        self.epoch_counts = {}
        if self.config.save_interval and self.epoch % self.config.save_interval == 0:
            self.save(str(self.epoch), measures)

    def _model_to_keep(self) -> nn.Module:
        return self.average if self.average is not None else self.recipe.model

    def _evaluate(self, report: Reporter) -> dict[str, float]:
        model = self._model_to_keep()
        training = model.training
        with torch.no_grad(), self.fabric.autocast():
            measures = self.recipe.evaluate(model.eval(), self.config.val_batches, self.fabric.device)
        model.train(training)
        if measures:
            values = {f"val/{name}": value for name, value in measures.items()}
            report.log(values, self.recipe.tell(measures, prefix="val/"))
            self._keep_best(measures)
        return measures

    def _keep_best(self, measures: dict[str, float]) -> None:
        name = self.config.best_measure
        if name is None:
            return
        if name not in measures:
            raise UserError(f"best_measure={name} is not measured in validation; there are {', '.join(measures)}")
        sign = 1 if self.config.best_is == "lowest" else -1
        if isfinite(measures[name]) and (self.best is None or sign * measures[name] < sign * self.best):
            self.best = measures[name]
            self.save("best", measures)

    def _draw(self, report: Reporter) -> None:
        if not self.fabric.is_global_zero:
            return
        model = self._model_to_keep()
        training = model.training
        with torch.no_grad(), self.fabric.autocast():
            pictures = self.recipe.pictures(model.eval(), self.fabric.device)
        model.train(training)
        report.pictures(pictures)

    # -- saving and resuming

    def save(self, name: str, measures: dict[str, float]) -> None:
        """Writes the checkpoint of this name, from the averaged weights if there are; with ``latest`` also the state
        for ``resume``.

        Raises:
            UserError: the weights are not finite any more; the files stay what they were.
        """
        if not all(bool(weight.isfinite().all()) for weight in self.recipe.model.state_dict().values()):
            raise UserError(f"the weights are not finite at step {self.step}; {self._diverged()}")
        if not self.fabric.is_global_zero:
            return
        if name == "latest":
            self._save_state()
        info = {
            "data": {"train": list(self.config.train_datasets), "val": list(self.config.val_datasets)},
            "samples": self.recipe.num_samples,
            "step": self.step,
            "batch_size": self.config.batch_size,
            "minutes": round(self.elapsed / 60, 2),
            "metrics": measures,
            **self.recipe.info(),
        }
        config = {**self.recipe.saved_config(), "training": to_mapping(self.config)}
        weights, embeddings = checkpoint.unique_weights(self._model_to_keep()), self.recipe.text_embeddings()
        checkpoint.save(self.folder / f"{name}.safetensors", self.recipe.kind, config, weights, info, embeddings)
        if name == "latest":
            self._saved_step = self.step

    def _diverged(self) -> str:
        """What is on disk, and what to try."""
        kept = "nothing was saved before"
        if self._saved_step is not None:
            kept = f"{self.folder}/latest.safetensors keeps step {self._saved_step}"
        return f"{kept}; start another run with a lower lr or clip_grad=1"

    def _save_state(self) -> None:
        state = {
            "config": to_mapping(self.config),
            "built_on": self.recipe.built_on(),
            "step": self.step,
            "elapsed": self.elapsed,
            "epoch_counts": self.epoch_counts,
            "best": self.best,
            "model": self.recipe.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        with replacing(self.folder / "latest.state.pt") as temporary:
            torch.save(state, temporary)

    def _saved_state(self) -> dict[str, Any] | None:
        """What the latest run of this name saved; None where it ended before it saved anything, and starts again."""
        self.folder = runs.latest(self.config.runs_folder(self.recipe.kind), self.config.run_name)
        path = self.folder / "latest.state.pt"
        if not path.is_file():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}); start the run again under another name") from None

    def _resume(self, state: dict[str, Any]) -> None:
        ours = to_mapping(self.config)
        built_on = self.recipe.built_on()
        may_change = MAY_CHANGE_ON_RESUME | set(built_on)
        changed = [k for k, v in ours.items() if k not in may_change and state["config"].get(k) != v]
        if changed:
            name = changed[0]
            raise UserError(
                f"{self.folder} was trained with {name}={state['config'].get(name)}, not {ours[name]}; "
                f"a resumed run keeps its settings: give the same ones or another run_name"
            )
        for name, digest in built_on.items():
            if digest != (theirs := state.get("built_on", built_on).get(name)):
                raise UserError(
                    f"{name}={ours[name]} is {digest}, {self.folder} was trained with {theirs}; a resumed run keeps "
                    f"what it builds on: put that file back or give another run_name"
                )
        self.step, self.elapsed, self.best = state["step"], state["elapsed"], state["best"]
        self.epoch_counts = {name: counts.to(self.fabric.device) for name, counts in state["epoch_counts"].items()}
        self.recipe.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if "precision" in state:
            self.fabric.strategy.precision.load_state_dict(state["precision"])
        self._saved_step = self.step

    # -- telling, and agreeing with the other devices

    def _describe(self) -> str:
        c = self.config
        trained = sum(p.numel() for p in self.recipe.model.parameters() if p.requires_grad)
        budgets = [f"{self.max_steps} steps"] if self.max_steps is not None else []
        budgets += [f"{c.max_minutes:g} min"] if c.max_minutes is not None else []
        return (
            f"{self.recipe.kind} '{self.folder.name}': {trained / 1e6:.2f} M trained parameters, "
            f"{self.recipe.num_samples} samples, batch {c.batch_size} in {self.parts} part(s), "
            f"{self.fabric.world_size} device(s) ({self.fabric.device}), {c.effective_precision}, "
            f"from step {self.step} up to {' or '.join(budgets)}"
        )

    def _any(self, value: bool) -> bool:
        """Whether it holds on any device: all of them must leave the loop together."""
        if self.fabric.world_size == 1:
            return value
        return bool(self.fabric.all_reduce(torch.tensor(float(value), device=self.fabric.device), reduce_op="sum"))

    def _same_everywhere(self, value: float) -> float:
        return value if self.fabric.world_size == 1 else float(self.fabric.broadcast(value))
