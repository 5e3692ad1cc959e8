"""A training run as it goes: network, averaged weights, optimizer and its rate, step; saved and resumed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ditscope.models._internals import move_towards


class Run:
    """Resumable state of one network's training.

    ``averaged`` holds the exponential moving average of the weights (decay ``ema``, 0 to switch it
    off), which is what is kept in the end. The curve goes to ``<name>.jsonl`` beside the state.
    """

    def __init__(
        self, name: str, folder: Path, model: nn.Module, rate: float, *, ema: float = 0.0, decay: float = 0.01
    ) -> None:
        self.path = folder / f"{name}.state.safetensors"
        self.log_path = folder / f"{name}.jsonl"
        self.model, self.ema, self.step, self.seconds = model, ema, 0, 0.0
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=decay)
        self._names = [name for name, _ in model.named_parameters()]
        self._weights = list(model.parameters())
        self._averaged = [weight.detach().clone() for weight in self._weights]
        self._since = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._load()

    def advance(self) -> None:
        """Count one optimizer step and move the average."""
        self.step += 1
        # A young average must not remember the initial weights.
        decay = min(self.ema, self.step / (self.step + 10.0))
        move_towards(self._averaged, [weight.detach() for weight in self._weights], 1.0 - decay)

    def log(self, **figures: float) -> None:
        """Append one row of the curve, with the step and the seconds trained so far."""
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
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
        tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
        partial = self.path.with_suffix(".partial")
        save_file(tensors, partial, metadata={"step": str(self.step), "seconds": str(self.seconds)})
        os.replace(partial, self.path)

    @torch.no_grad()
    def use_average(self) -> None:
        """Put the averaged weights into the model: the end of training, or a look on the way."""
        for weight, mean in zip(self._weights, self._averaged, strict=True):
            weight.copy_(mean)

    @torch.no_grad()
    def _load(self) -> None:
        with safe_open(self.path, framework="pt") as file:
            self.step = int(file.metadata()["step"])
            self.seconds = float(file.metadata()["seconds"])
            for name, weight, mean in zip(self._names, self._weights, self._averaged, strict=True):
                weight.copy_(file.get_tensor(f"weight/{name}"))
                mean.copy_(file.get_tensor(f"average/{name}"))
                self.optimizer.state[weight] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": file.get_tensor(f"adam/exp_avg/{name}").to(weight.device),
                    "exp_avg_sq": file.get_tensor(f"adam/exp_avg_sq/{name}").to(weight.device),
                }


def learning_rate(step: int, total: int, *, warm_up: int, decay_share: float = 0.3) -> float:
    """Factor on the peak rate: linear warm-up, constant, then a linear fall over the last ``decay_share``."""
    rise = min(1.0, (step + 1) / warm_up)
    fall = min(1.0, (total - step) / max(1.0, decay_share * total))
    return max(0.0, min(rise, fall))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
