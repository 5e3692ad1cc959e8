"""Whatever a user holds can be pickled and copied and is the same afterwards; what cannot says so."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from typing import Any, Protocol, is_typeddict

import numpy as np
import pytest
import store_recording
import torch
import xarray as xr

import ditscope as ds
from ditscope.cache.schema import Schema
from ditscope.cache.verification import verify
from ditscope.cache.visit_reading import Address, Reading
from ditscope.cache.writer import CacheWriter
from ditscope.checking.explore import Exploration
from ditscope.edits.context import EditContext
from ditscope.edits.firings import Firings
from ditscope.encoded_text import EncodedText
from ditscope.errors import DitscopeError, UnsupportedError
from ditscope.explorer.widget import ExplorerWidget
from ditscope.models.configuration import read_configuration
from ditscope.recording.selection import Selection
from ditscope.report.page import Report
from ditscope.studies.claim import Claim, Evidence, Finding, Trial
from ditscope.studies.cost import Cost, Work
from ditscope.studies.first_look import FirstLook
from ditscope.studies.rule import Decision, Quantity, Rule
from ditscope.studies.study import Measured, Progress, Result
from ditscope.tracing.probe import probe
from ditscope.tracing.run import run_traced

CALL = {"num_inference_steps": 1, "height": 16, "width": 16}
PACKAGES = sorted(
    f"ditscope.{module.name}" for module in pkgutil.iter_modules(ds.__path__) if module.name[0] != "_"
)
TIED = {
    ds.DiT,
    ds.models.Block,
    ds.recording.Recording,
    CacheWriter,
    ds.edits.EditedVisit,
    ds.guidance.GuidedVisit,
}
"""What is tied to a model in memory or to a store that is being written."""
MADE_INSIDE = {EditContext, ds.metrics.ClipScorer, Progress, ExplorerWidget, Trial, Claim}
"""What holds a visit's tensors, a network, a page or a function of the caller's, or has no thing of its own; no result
holds one."""


@pytest.fixture(scope="module")
def held(dit, tmp_path_factory) -> dict[str, Any]:
    """A thing of every kind."""
    folder = tmp_path_factory.mktemp("held")
    with ds.record(dit, folder / "a.zarr") as recording:
        forecast = recording.forecast("a red circle", [0, 1], **CALL)
        cache = recording.generate("a red circle", [0, 1], **CALL)
    captured = ds.capture(dit, "a red circle", 0, blocks=[0], channels=[1], **CALL)
    ranking = ds.passes.rank_channels(cache)
    top, random = ranking.top(3), ranking.random(3, draws=2)
    zero, stats = ds.edits.zero(top, blocks="single", steps=[-1], branches="cond"), cache.stats()
    report = Report("One")
    report.section("Two").text("three")
    check, tokens = dit.check(**CALL), np.array([True, False])
    schema: Schema = cache.schema
    result = Result(FirstLook(), folder, {"k": 3}, {"stats": stats.load()}, {})
    caption = ds.shapes.parse_caption("a small red circle at the left on a plain blue background")
    return {
        "cache": cache,
        "forecast": forecast,
        "verification": verify(cache),
        "schema": schema,
        "parts of the schema": [*schema.sites, *schema.steps, *schema.blocks, *schema.streams],
        "samples": list(cache.specs),
        "trajectory": schema.trajectory,
        "address": Address("image", "block_output", 0, "cond", 1),
        "reading": Reading(Address("image", "block_output", 0, "cond", 1), [0], np.ones((1, 2, 3))),
        "hidden states": cache.hidden(),
        "statistics": stats,
        "images": cache.images,
        "ranking": ranking,
        "channels": [top, random, ranking.bottom(3), ranking.energy_matched(top)],
        "edits": [zero, ds.edits.mean(top), ds.edits.scale(top, 2.0, tokens=tokens)],
        "kinds of edits": [
            ds.edits.blur(top, 1.0),
            ds.edits.identity_attention(blocks=1),
            ds.edits.add(np.ones(dit.width), 2.0),
            ds.edits.clamp(top, -1.0, 1.0),
            ds.edits.fake_quantize(top, "mx6"),
            ds.edits.fake_quantize(top, "int8 per token", spare=True),
            ds.edits.reuse(top, steps=[1]),
            ds.edits.function(top, torch.negative),
            ds.edits.keep_only(top),
            ds.edits.noise(top),
            ds.edits.project_out(np.eye(dit.width)[:2]),
            ds.edits.replace([1, 2], np.ones(dit.width)),
            ds.edits.shuffle(top),
            ds.edits.variation_only(top),
            ds.controls.matched(zero),
        ],
        "guidance by a degraded branch": ds.guidance.from_edits(zero, 1.0),
        "parts of a claim": [
            Rule((Quantity.above("effect", "an effect", 0.0),)),
            Quantity.above("effect", "an effect", 0.0),
            Decision("undecided", ()),
            Work(1.0),
            Cost("shapes", 1.0, 1.0, 1),
            Finding("It is known.", trusted=True),
            Evidence({}),
        ],
        "pairs of scenes": ds.shapes.scene_pairs(
            ["a large red circle at the left on a plain blue background"]
        ),
        "capture": captured,
        "patches": [
            *(ds.edits.patch(source, [1], sample=0) for source in (cache, captured)),
            ds.edits.transport(captured, [1], mask=tokens, sample=[0, 0], alpha=[(0.0, 1.0), (1.0, 0.5)]),
            ds.edits.patch(ds.edits.LockStep({"a red circle": "a blue star"})),
        ],
        "sources": [ds.edits.patch(captured, [1]).source, ds.edits.LockStep({("a", 1): ("b", 2)})],
        "controls": [ds.edits.zero(random), ds.edits.zero(ranking.energy_matched(top))],
        "scope": zero.scope,
        "comparison": ds.compare(dit, "a red circle", 0, {"zero": zero}, ["psnr"], **CALL),
        "firings": Firings(),
        "check": check,
        "findings": list(check.findings),
        "exploration": Exploration("P", "T"),
        "selection": Selection.of(dit),
        "metrics": list(ds.metrics.METRICS.values()),
        "families": list(ds.models.known_families()),
        "block lists": list(dit.family.block_lists),
        "guidance": dit.family.guidance,
        "configuration": read_configuration(dit.name),
        "visit": ds.models.Visit(0, 0, 1.0, 1.0, ("cond",)),
        "probe": probe(dit, [("a red circle", 0)], **CALL),
        "outcome": run_traced(dit, [("a red circle", 0)], **CALL),
        "options": ds.passes.MaskOptions(),
        "scheme": ds.passes.Scheme(7),
        "study": FirstLook(k=3),
        "measured": Measured({"k": 3}, {}, {}),
        "result": result,
        "report": report,
        "sections": list(report.sections),
        "scene": ds.shapes.make_scene(0),
        "caption": caption,
        "words": list(caption.objects),
        "interval": ds.intervals.Interval(0.5, 0.25, 0.75),
        "site": ds.vocabulary.site_spec("block_output"),
        "error": DitscopeError("one", "two", "Three."),
        "encoded text": EncodedText({"text_encoder": 2}, "digest"),
        "embeddings": ds.PromptEmbeds("half way", prompt_embeds=torch.ones(1, 4, 8)),
    }


def require_same(one: Any, other: Any) -> None:
    """Require two things to be equal, by what they hold where they are equal to themselves alone."""
    assert type(one) is type(other)
    if one is other:
        return
    if isinstance(one, xr.Dataset | xr.DataArray):
        xr.testing.assert_identical(one.compute(), other.compute())
    elif isinstance(one, xr.Coordinates):
        xr.testing.assert_identical(one.to_dataset(), other.to_dataset())
    elif isinstance(one, np.ndarray | torch.Tensor):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            require_same(mine, theirs)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            require_same(one[name], other[name])
    elif isinstance(one, Report):
        assert one.html() == other.html()
    elif isinstance(one, Firings):
        assert one.table().equals(other.table())
    elif type(one).__eq__ is object.__eq__ or type(one).__module__.startswith("ditscope.shapes"):
        require_same(vars(one), vars(other))
    else:
        try:
            assert one == other
        except ValueError:  # arrays in it
            require_same(vars(one), vars(other))


@pytest.mark.parametrize("how", [lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy, copy.copy])
def test_whatever_is_held_is_the_same_after_pickling_and_copying(held, how) -> None:
    for name, thing in held.items():
        try:
            again = how(thing)
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error
        require_same(thing, again)


def is_protocol(value: type) -> bool:
    return Protocol in value.__bases__


def public() -> dict[str, Any]:
    """Every public name of ditscope and of its packages."""
    modules = [ds, *map(importlib.import_module, PACKAGES)]
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in modules
        for name in getattr(module, "__all__", dir(module))
        if not name.startswith("_") and not inspect.ismodule(getattr(module, name))
    }


def test_every_public_class_is_tried_and_every_function_is_found_again(held) -> None:
    tried = {
        type(each) for thing in held.values() for each in (thing if isinstance(thing, list) else [thing])
    }
    untried = []
    for name, value in public().items():
        if inspect.isclass(value) and value.__module__.startswith("ditscope"):
            exempt = issubclass(value, Exception) or is_typeddict(value) or is_protocol(value)
            exempt |= value in TIED | MADE_INSIDE
            if not exempt and not any(value in kind.__mro__ for kind in tried):
                untried.append(name)
        elif inspect.isfunction(value):
            assert pickle.loads(pickle.dumps(value)) is value, name
    assert untried == [], untried


@pytest.mark.parametrize("how", [pickle.dumps, copy.deepcopy, copy.copy])
def test_what_is_tied_to_a_model_or_a_store_says_so(dit, tmp_path, how) -> None:
    edited = ds.edits.EditedVisit(dit, [ds.edits.zero([1])], range(1))
    schema = store_recording.make_schema()
    manifest = store_recording.make_manifest(schema)
    with (
        ds.record(dit, tmp_path / "a.zarr") as recording,
        CacheWriter.create_or_resume(tmp_path / "b.zarr", schema, manifest) as writer,
    ):
        for tied in (dit, dit.blocks[0], recording, writer):
            with pytest.raises(UnsupportedError, match="pickled or copied"):
                how(tied)
    if how is not copy.copy:
        with pytest.raises(UnsupportedError, match="an opened model"):
            how(edited)
