"""The training loop that all trainers share, on Lightning Fabric.

Everything random in a step (data order, augmentation, dropout) is a function of seed and step, so a run that was
interrupted continues as if it had not been.
"""

import copy
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil, cos, isfinite, pi

import numpy as np
import torch
import yaml
from lightning_fabric import Fabric
from torch import Tensor, nn

from common.errors import UserError
from common.files import replacing
from training import checkpoint
from training.config import MAY_CHANGE_ON_RESUME
from training.data_order import DataOrder
from training.precision import precision_plugin
from training.progress import Reporter
from training.recipe import Batch, Recipe
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
        self.folder = config.run_folder(recipe.kind)
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
        if config.init_from and not config.resume:
            checkpoint.load_weights(recipe.model, checkpoint.read(config.init_from, recipe.kind))
        trained = [p for p in recipe.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, config.lr, config.adam_betas, weight_decay=config.weight_decay)
        self.average = copy.deepcopy(recipe.model).requires_grad_(False).eval() if config.ema else None
        self.module, self.optimizer = self.fabric.setup(_Step(recipe), optimizer)
        if self.average is not None:
            self.average.to(self.fabric.device)
        if config.resume:
            self._resume()
        elif (self.folder / "latest.state.pt").exists():
            raise UserError(f"the run {self.folder} exists; continue it with resume=true or choose another run_name")

    # -- budgets and schedule

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
        rate = c.lr * min(1.0, (self.step + 1) / (c.warmup_steps + 1))
        if c.lr_schedule == "cosine":
            rate *= 0.01 + 0.99 * (1 + cos(pi * self.progress())) / 2
        return rate

    # -- training

    def fit(self) -> dict[str, float]:
        """Trains; returns the last validation measures. Ctrl-C and SIGTERM end it after the step at hand, saved."""
        saved = started = time.monotonic()
        before = self.elapsed
        measures: dict[str, float] = {}
        rank_zero = self.fabric.is_global_zero
        with Reporter(self.folder if rank_zero else None, self.recipe.kind) as report, stop_signals() as stopped:
            report.line(self._describe())
            if rank_zero:
                text = yaml.safe_dump(to_mapping(self.config), sort_keys=False)
                with replacing(self.folder / "config.yaml") as file:
                    file.write_text(text)
            for batch in self._batches():
                if self.progress() >= 1 or self._any(stopped.is_set()):
                    break
                loss, metrics = self._optimise(batch)
                self.step += 1
                self.elapsed = self._same_everywhere(before + time.monotonic() - started)
                report.step(self.step, self.progress(), self.elapsed, self.config.batch_size, loss, metrics)
                if self.step % self.config.log_interval == 0:
                    means = report.log({"lr": self.optimizer.param_groups[0]["lr"]})
                    if not isfinite(means["loss"]):
                        raise UserError(f"the loss is {means['loss']} at step {self.step}; {self._diverged()}")
                if self.step % self.config.val_interval == 0 and self.progress() < 1:
                    measures = self._evaluate(report)
                if time.monotonic() - saved > self.config.save_minutes * 60:
                    self.save(measures)
                    saved = time.monotonic()
            if self.progress() >= 1:
                measures = self._evaluate(report)
            self.save(measures)
            end = "finished" if self.progress() >= 1 else "stopped; continue with resume=true"
            report.line(
                f"{end} at step {self.step} after {self.elapsed / 60:.1f} min: {self.folder}/latest.safetensors"
            )
        return measures

    def _batches(self) -> Iterator[Batch]:
        """Batches from the present step on, each loaded while the one before it is trained on."""
        rank, world = self.fabric.global_rank, self.fabric.world_size

        def load(step: int) -> Batch:
            rng = np.random.default_rng([self.config.seed, step, rank])
            return self.recipe.load(self.order(step)[rank::world], rng)

        with ThreadPoolExecutor(1) as loader:
            step = self.step
            following = loader.submit(load, step)
            while True:
                batch, step = following.result(), step + 1
                following = loader.submit(load, step)
                yield batch

    def _optimise(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """One optimisation step on a batch, in parts; returns loss and measures (detached scalars on the device)."""
        c = self.config
        seed = np.random.SeedSequence([c.seed, self.step, self.fabric.global_rank]).generate_state(1)[0]
        torch.manual_seed(int(seed))
        self.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        size = len(next(iter(batch.values())))
        total: Tensor | float = 0.0
        sums: dict[str, Tensor] = {}
        for i, rows in enumerate(torch.arange(size).chunk(self.parts)):
            part = self.fabric.to_device({name: values[rows[0] : rows[-1] + 1] for name, values in batch.items()})
            with self.fabric.no_backward_sync(self.module, enabled=i < self.parts - 1):
                loss, metrics = self.module(part)
                share = len(rows) / size
                self.fabric.backward(loss * share)
            total = total + loss.detach() * share
            for name, value in metrics.items():
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
        return total, sums  # type: ignore[return-value]

    def _evaluate(self, report: Reporter) -> dict[str, float]:
        model = self.average if self.average is not None else self.recipe.model
        training = model.training
        with torch.no_grad(), self.fabric.autocast():
            measures = self.recipe.evaluate(model.eval(), self.config.val_batches, self.fabric.device)
        model.train(training)
        if measures:
            values = {f"val/{name}": value for name, value in measures.items()}
            report.log(values, self.recipe.tell(measures, prefix="val/"))
        return measures

    # -- saving and resuming

    def save(self, measures: dict[str, float]) -> None:
        """Writes the state for ``resume`` and, from the averaged weights if there are, the checkpoint.

        Raises:
            UserError: the weights are not finite any more; the files stay what they were.
        """
        if not all(bool(weight.isfinite().all()) for weight in self.recipe.model.state_dict().values()):
            raise UserError(f"the weights are not finite at step {self.step}; {self._diverged()}")
        if not self.fabric.is_global_zero:
            return
        state = {
            "config": to_mapping(self.config),
            "built_on": self.recipe.built_on(),
            "step": self.step,
            "elapsed": self.elapsed,
            "model": self.recipe.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        with replacing(self.folder / "latest.state.pt") as temporary:
            torch.save(state, temporary)
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
        weights = checkpoint.unique_weights(self.average if self.average is not None else self.recipe.model)
        embeddings = self.recipe.text_embeddings()
        checkpoint.save(self.folder / "latest.safetensors", self.recipe.kind, config, weights, info, embeddings)
        self._saved_step = self.step

    def _diverged(self) -> str:
        """What is on disk, and what to try."""
        kept = "nothing was saved before"
        if self._saved_step is not None:
            kept = f"{self.folder}/latest.safetensors keeps step {self._saved_step}"
        return f"{kept}; start another run with a lower lr or clip_grad=1"

    def _resume(self) -> None:
        path = self.folder / "latest.state.pt"
        if not path.is_file():
            raise UserError(f"there is no run to resume at {self.folder}; start it without resume=true")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}); start the run again under another name") from None
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
        self.step, self.elapsed = state["step"], state["elapsed"]
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
            f"{self.recipe.kind} '{c.run_name}': {trained / 1e6:.2f} M trained parameters, {self.recipe.num_samples} "
            f"samples, batch {c.batch_size} in {self.parts} part(s), {self.fabric.world_size} device(s) "
            f"({self.fabric.device}), {c.precision}, from step {self.step} up to {' or '.join(budgets)}"
        )

    def _any(self, value: bool) -> bool:
        """Whether it holds on any device: all of them must leave the loop together."""
        if self.fabric.world_size == 1:
            return value
        return bool(self.fabric.all_reduce(torch.tensor(float(value), device=self.fabric.device), reduce_op="sum"))

    def _same_everywhere(self, value: float) -> float:
        return value if self.fabric.world_size == 1 else float(self.fabric.broadcast(value))
