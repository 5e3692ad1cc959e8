"""What is linearly readable from hidden states: probes of any label, by block, step and set of channels.

A probe that reads a label says that it is there, and no more: not that the model uses it. Beside each stands the same
probe of shuffled labels, which says what it makes of nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.checks import Address
from ditscope.errors import InputError
from ditscope.intervals import LEVEL, RESAMPLES, interval_over
from ditscope.passes.source import Source, hidden_states
from ditscope.passes.tensors import MemberTable, chosen_places, each_tensor, with_places

__all__ = ["probe"]

ALL = "all"


def probe(
    source: Source,
    labels: xr.DataArray,
    sets: Mapping[str, ChannelSet],
    *,
    blocks: Address | Iterable[Address] | None = None,
    steps: int | Iterable[int] | None = -1,
    branch: str = "cond",
    stream: str = "image",
    site: str = "block_output",
    cells: int = 1,
    tokens: int = 64,
    folds: int = 5,
    regularisation: float = 1.0,
    shuffles: int = 5,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> xr.Dataset:
    """Linear probes (logistic regression on standardised channels), cross-validated by prompt.

    No prompt is both learned from and judged by. The control learns, and is judged by, the labels of another prompt:
    those of whole prompts are permuted, and the map of a sample's tokens stays as it is.

    Args:
        source: a cache, or hidden states.
        labels: classes (text, whole numbers or bools) ``[sample]`` or ``[label, sample]``; or of each token,
            ``[sample, token]`` or ``[sample, y, x]``. Samples are found by their labels where both have them.
        sets: channel sets by name, the one under test first; a selector ``all`` of all channels comes beside them.
        blocks: blocks by index, name or kind; None for all.
        steps: scheduler steps, -1 for the last recorded; None for all.
        branch: ``cond`` or ``uncond``.
        stream: ``image`` or ``text``; of text, labels of samples alone.
        site: where in a block.
        cells: labels of samples are read from the channels' means over tokens, in each of ``cells`` times ``cells``
            parts of the image side by side: 1 knows no place.
        tokens: for labels of tokens, how many of each sample are drawn at random, to learn from and to judge.
        folds: of the cross-validation.
        regularisation: scikit-learn's ``C``.
        shuffles: permutations of the control.
        level: coverage of the intervals.
        resamples: bootstrap draws, of whole prompts.
        seed: of the drawn tokens, the permutations and the bootstrap.

    Returns:
        ``score`` ``[label, selector, draw, step, block, sample]``: of a sample's label, 1 where the probe is right and
        0 where it is not; of tokens' labels, the mean over the classes in a sample of the share of their tokens that
        is right. ``shuffled``, the same of the control, the mean over permutations. ``accuracy``, ``accuracy_low``,
        ``accuracy_high`` and ``chance`` (of the control) ``[label, selector, step, block]`` are means over draws and
        samples; so are ``lead``, ``lead_low`` and ``lead_high``, the first selector minus each, paired by sample. The
        figure is ``plots.probe_accuracy``.

    Raises:
        InputError: labels that are no classes or do not fit, fewer prompts than folds, a fold that leaves one class to
            learn from, values that are not finite, or what a source or set refuses.

    Examples:
        >>> foreground = ds.shapes.foreground(cache.images, grid=(16, 16))
        >>> found = ds.passes.probe(cache, foreground, {"massive": massive}, blocks="single.5", folds=2, resamples=200)
        >>> found["selector"].values.tolist()
        ['massive', 'all']
    """
    for what, value in {"tokens": tokens, "shuffles": shuffles, "cells": cells}.items():
        checks.whole_number(what, value)
    checks.whole_number("folds", folds, 2)
    if ALL in sets:
        raise InputError(f"a set named {ALL!r}", "another name", "All channels are there by themselves.")
    hidden = chosen_places(with_places(hidden_states(source, stream, site)), blocks, steps, branch)
    table, random = MemberTable(hidden, sets), np.random.default_rng(seed)
    names, classes = _classes(labels, hidden)
    if classes[0].ndim == 1:
        parts = _parts(hidden, cells)
    else:
        n_tokens = hidden.sizes["token"]
        drawn = np.stack([random.permutation(n_tokens)[:tokens] for _ in classes[0]])
    # Another sample's map is looked at where this one's tokens are.
    there = [each if each.ndim == 1 else np.take_along_axis(each, drawn, axis=1) for each in classes]
    groups = _groups(hidden)
    folds_of = _folds(there, groups, folds)
    orders = [_permuted(groups, random) for _ in range(shuffles)]
    exchanged = [
        [
            each[order] if each.ndim == 1 else np.take_along_axis(each[order], drawn, axis=1)
            for each in classes
        ]
        for order in orders
    ]
    selectors = table.shape[0] + 1
    shape = (len(names), selectors, table.shape[1], hidden.sizes["step"], hidden.sizes["block"])
    score, shuffled = np.full((2, *shape, hidden.sizes["sample"]), np.nan)
    every = ((selectors - 1, 0), np.ones(hidden.sizes["channel"], bool))
    with tqdm(total=int(np.prod(shape[3:])), desc="probes", disable=None, delay=2, leave=False) as bar:
        for step, block in np.ndindex(*shape[3:]):
            read = []
            for tensor in each_tensor(hidden.isel(step=[step], block=[block]), "read"):
                values = tensor.values.astype(np.float64)
                if classes[0].ndim == 1:
                    read.append(values.mean(0, keepdims=True) if parts is None else parts @ values)
                else:
                    read.append(values[drawn[len(read)]])
            features = np.stack(read)  # [sample, part or token, channel]
            if not np.isfinite(features).all():
                where = f"step {hidden['step'].values[step]} of block {hidden['block'].values[block]}"
                raise InputError(
                    f"NaN or infinity in {where}", "finite values", "Leave that block or step out."
                )
            for key, member in (*table.at((0, step, 0, block)), every):
                for number, own in enumerate(there):
                    at = (number, *key, step, block)
                    chosen = features[..., member]
                    score[at] = _judged(chosen, own, folds_of, regularisation)
                    control = [
                        _judged(chosen, other[number], folds_of, regularisation) for other in exchanged
                    ]
                    shuffled[at] = np.mean(control, axis=0)
            bar.update()
    dims = ("label", "selector", "draw", "step", "block", "sample")
    sets_coords = table.coords()
    coords = {name: c for name, c in hidden.coords.items() if c.dims and set(c.dims) <= set(dims)}
    coords |= {
        "label": names,
        "selector": [*sets_coords["selector"], ALL],
        "control": ("selector", [*sets_coords["control"][1], False]),
        "draw": sets_coords["draw"],
    }
    result = xr.Dataset({"score": (dims, score), "shuffled": (dims, shuffled)}, coords=coords)
    about = {"stream": stream, "site": site, "branch": branch, "cells": cells, "folds": folds, "level": level}
    return _summed(result, level, resamples, seed).assign_attrs(about)


def _classes(labels: xr.DataArray, hidden: xr.DataArray) -> tuple[list[str], list[np.ndarray]]:
    """Names of labels, and classes of each, ``[sample]`` or ``[sample, token]``, in the order of the hidden states."""
    dims = set(labels.dims) - {"label"}
    of_text = hidden.attrs.get("stream") == "text"  # whose tokens mean another thing in each prompt
    known = ({"sample"}, *([] if of_text else [{"sample", "token"}, {"sample", "y", "x"}]))
    if dims not in known or labels.dtype.kind not in "iubUSO":
        raise InputError(
            f"labels {labels.dtype} with dims {', '.join(map(str, labels.dims))}",
            "classes (text, whole numbers or bools) with dims [label,] sample, [token] or [y, x]",
            "Cut numbers into classes, and name the dims.",
        )
    if "label" not in labels.dims:
        labels = labels.expand_dims(label=[str(labels.name or "label")])
    if "sample" in labels.coords:
        missing = np.setdiff1d(hidden["sample"].values, labels["sample"].values)
        if len(missing):
            raise InputError(f"no label for sample {missing[0]}", "one for every sample", "Add it.")
        labels = labels.sel(sample=hidden["sample"].values)
    if "y" in dims:
        labels = labels.transpose("label", "sample", "y", "x")
        y, x = (hidden[name].values.astype(int) for name in ("y", "x"))
        found = labels.values[:, :, y, x] if (y.max(), x.max()) < labels.shape[2:] else labels.values
    else:
        found = labels.transpose("label", "sample", *(["token"] if "token" in dims else [])).values
    wanted = (hidden.sizes["sample"], *([hidden.sizes["token"]] if len(dims) > 1 else []))
    if found.shape[1:] != wanted:
        raise InputError(
            f"labels of shape {found.shape[1:]}", f"{wanted}, as of the hidden states", "Label them all."
        )
    return [str(name) for name in labels["label"].values], list(found)


def _groups(hidden: xr.DataArray) -> np.ndarray:
    """A number for each sample's prompt; each sample its own where prompts are not known."""
    if "prompt" not in hidden.coords:
        return np.arange(hidden.sizes["sample"])
    return np.unique(hidden["prompt"].values.astype(str), return_inverse=True)[1]


def _folds(classes: list[np.ndarray], groups: np.ndarray, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Samples to learn from and to judge, of each fold."""
    if len(np.unique(groups)) < folds:
        raise InputError(
            f"{len(np.unique(groups))} prompts", f"{folds} or more, one a fold", "Pass fewer folds."
        )
    made = list(GroupKFold(folds).split(groups, groups=groups))
    for own in classes:
        if any(len(np.unique(own[learned])) < 2 for learned, _ in made):
            raise InputError(
                "a fold that leaves one class to learn from", "two or more", "Leave that label out."
            )
    return made


def _permuted(groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """For each sample one of another prompt, whose labels it takes: prompts are permuted whole, none onto itself."""
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    cycle = random.permutation(len(members))
    order = np.empty_like(cycle)
    order[cycle] = np.roll(cycle, 1)
    taken = np.empty(len(groups), int)
    for own, other in zip(members, order, strict=True):
        taken[own] = np.resize(members[other], len(own))
    return taken


def _parts(hidden: xr.DataArray, cells: int) -> np.ndarray | None:
    """Weights of means over the tokens of each part of the image, ``[part, token]``; None for the mean over all."""
    if cells == 1:
        return None
    if not {"y", "x"} <= set(hidden.coords):
        raise InputError(f"cells={cells} of tokens without y and x", "tokens of an image", "Pass cells=1.")
    y, x = (hidden[name].values.astype(int) for name in ("y", "x"))
    if cells > min(y.max(), x.max()) + 1:
        raise InputError(
            f"cells={cells} on {y.max() + 1} x {x.max() + 1} tokens", "no more than tokens", "Pass 4, say."
        )
    part = y * cells // (y.max() + 1) * cells + x * cells // (x.max() + 1)
    member = part == np.arange(cells**2)[:, None]
    return member / member.sum(1, keepdims=True)


def _judged(
    features: np.ndarray,
    classes: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
    regularisation: float,
) -> np.ndarray:
    """Each sample's score ``[sample]`` by a probe that did not see its prompt.

    Args:
        features: ``[sample, part or token, channel]``.
        classes: ``[sample]``, read from all parts together, or ``[sample, token]``.
        folds: samples to learn from and to judge.
        regularisation: scikit-learn's ``C``.
    """
    score = np.empty(len(features))
    for learned, judged in folds:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=1000))
        if classes.ndim == 1:
            rows = features.reshape(len(features), -1)
            score[judged] = (
                model.fit(rows[learned], classes[learned]).predict(rows[judged]) == classes[judged]
            )
            continue
        width = features.shape[-1]
        model.fit(features[learned].reshape(-1, width), classes[learned].ravel())
        for sample in judged:
            right, own = model.predict(features[sample]) == classes[sample], classes[sample]
            score[sample] = np.mean([right[own == each].mean() for each in np.unique(own)])
    return score


def _summed(result: xr.Dataset, level: float, resamples: int, seed: int) -> xr.Dataset:
    """Means over draws and samples, with intervals that draw whole prompts."""
    each = result["score"].mean("draw")
    lead = each.isel(selector=0, drop=True) - each
    for name, values, limits in (("accuracy", each, (0.0, 1.0)), ("lead", lead, (-1.0, 1.0))):
        interval = interval_over(values, level=level, resamples=resamples, seed=seed, limits=limits)
        result[name] = interval["mean"]
        result[f"{name}_low"], result[f"{name}_high"] = interval["low"], interval["high"]
    result["chance"] = result["shuffled"].mean(("draw", "sample"))
    return result
