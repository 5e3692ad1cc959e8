"""A training run as it goes: network, averaged weights, optimizer and its rate, step; saved and resumed."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm.auto import tqdm

_SAVED_EVERY = 45.0  # seconds


class Run:
    """Resumable state of one network's training.

    ``averaged`` holds the exponential moving average of the weights (decay ``ema``, 0 to switch it
    off), which is what is kept in the end, in ``<name>.safetensors``. The curve goes to ``<name>.jsonl`` beside it.
    A run ends after ``steps`` steps, or after ``seconds`` by the clock if that is earlier; as the rate falls with the
    clock then, such a run is not repeated bit for bit.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        model: nn.Module,
        rate: float,
        *,
        steps: int,
        seconds: float = math.inf,
        ema: float = 0.0,
        decay: float = 0.01,
    ) -> None:
        self.path = folder / f"{name}.state.safetensors"
        self.log_path = folder / f"{name}.jsonl"
        self.result_path = folder / f"{name}.safetensors"
        self.model, self.ema, self.step, self.seconds = model, ema, 0, 0.0
        self.last_step, self.last_second = steps, seconds
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=rate,
            betas=(0.9, 0.99),
            weight_decay=decay,
            fused=next(model.parameters()).is_cuda,
        )
        self._names = [name for name, _ in model.named_parameters()]
        self._weights = list(model.parameters())
        kept = model.state_dict()
        self._buffers = {name: buffer for name, buffer in model.named_buffers() if name in kept}
        self._averaged = [weight.detach().clone() for weight in self._weights]
        self._since = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._load()
        elif self.result_path.exists():
            self._load_result()

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1."""
        if self.step >= self.last_step:
            return 1.0
        return min(1.0, max(self.step / self.last_step, self._elapsed() / self.last_second))

    def until(self, share: float = 1.0) -> Iterator[int]:
        """Numbers of the steps that are left until so much of the run is done; saved about once a minute."""
        bar = tqdm(desc=self.path.name.split(".")[0], initial=self.step, total=self.last_step, disable=None)
        saved, first = self._elapsed(), self.step
        while self.share < share:
            yield self.step
            bar.update()
            if self._elapsed() - saved > _SAVED_EVERY:
                self.save()
                saved = self._elapsed()
        bar.close()
        if self.step > first:
            self.save()

    def _elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self._since

    def advance(self) -> None:
        """Count one optimizer step and move the average."""
        self.step += 1
        # A young average must not remember the initial weights.
        decay = min(self.ema, self.step / (self.step + 10.0))
        get_ema_multi_avg_fn(decay)(self._averaged, [weight.detach() for weight in self._weights], self.step)

    def log(self, **figures: float) -> None:
        """Append one row of the curve, with the step and the seconds trained so far."""
        self.seconds, self._since = self._elapsed(), time.perf_counter()
        row = {"step": self.step, "seconds": round(self.seconds, 1)}
        row |= {key: float(f"{value:.5g}") for key, value in figures.items()}
        with self.log_path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Replace the state on disk in one step: a kill leaves the old state or the new one."""
        tensors = {}
        for name, weight, mean in zip(self._names, self._weights, self._averaged, strict=True):
            tensors[f"weight/{name}"], tensors[f"average/{name}"] = weight.detach(), mean
            moments = self.optimizer.state.get(weight, {})
            tensors |= {f"adam/{key}/{name}": moments[key] for key in ("exp_avg", "exp_avg_sq") if moments}
        tensors |= {f"buffer/{name}": buffer for name, buffer in self._buffers.items()}
        self._write(self.path, tensors)
        averaged = dict(zip(self._names, self._averaged, strict=True))
        self._write(self.result_path, {**averaged, **self._buffers})

    def _write(self, path: Path, tensors: dict[str, torch.Tensor]) -> None:
        partial = path.with_suffix(".partial")
        tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
        save_file(tensors, partial, metadata={"step": str(self.step), "seconds": str(self._elapsed())})
        os.replace(partial, path)

    @torch.no_grad()
    def finished(self) -> Any:
        """The model with the averaged weights, for use."""
        for weight, mean in zip(self._weights, self._averaged, strict=True):
            weight.copy_(mean)
        return self.model.eval()

    @torch.no_grad()
    def _load(self) -> None:
        with safe_open(self.path, framework="pt") as file:
            self.step = int(file.metadata()["step"])
            self.seconds = float(file.metadata()["seconds"])
            for name, weight, mean in zip(self._names, self._weights, self._averaged, strict=True):
                weight.copy_(file.get_tensor(f"weight/{name}"))
                mean.copy_(file.get_tensor(f"average/{name}"))
                self.optimizer.state[weight] = {
                    "step": torch.tensor(float(self.step), device=weight.device if weight.is_cuda else None),
                    "exp_avg": file.get_tensor(f"adam/exp_avg/{name}").to(weight.device),
                    "exp_avg_sq": file.get_tensor(f"adam/exp_avg_sq/{name}").to(weight.device),
                }
            for name, buffer in self._buffers.items():
                buffer.copy_(file.get_tensor(f"buffer/{name}"))

    @torch.no_grad()
    def _load_result(self) -> None:
        """What was trained is there, and nothing to go on from: then it is finished."""
        tensors = load_file(self.result_path)
        for weight, mean, name in zip(self._weights, self._averaged, self._names, strict=True):
            mean.copy_(tensors[name])
            weight.copy_(mean)
        for name, buffer in self._buffers.items():
            buffer.copy_(tensors[name])
        self.step = self.last_step


def learning_rate(step: int, share: float, *, warm_up: int, decay_share: float = 0.3) -> float:
    """Factor on the peak rate: linear warm-up, constant, then a linear fall over the last ``decay_share`` of a run."""
    rise = min(1.0, (step + 1) / warm_up)
    fall = min(1.0, (1.0 - share) / decay_share)
    return max(0.0, min(rise, fall))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
