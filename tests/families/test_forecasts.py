"""Forecasts from the configuration alone, compared with real recordings of every family."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil

import pytest
import torch
from family_calls import (
    NAMES,
    ONE_OF_EACH_FAMILY,
    PROMPTS,
    SEEDS,
    batch,
    branches,
    guided,
    returned,
    size,
    streams,
)
from typer.testing import CliRunner

import ditscope as ds
from ditscope.cli import app
from ditscope.errors import DitscopeError, InputError, UnsupportedError
from ditscope.models.configuration import read_configuration
from ditscope.recording.forecast import forecast_recording
from ditscope.tracing.probe import probe


def asks(name: str) -> bool:
    """Whether the arguments of ``guided`` ask for true guidance, and not for an embedded scale."""
    return name != "flux-embedded"


def configured(folder):
    """What the saved pipeline's configuration says."""
    return read_configuration(str(folder))


def foreseen(configuration, height: int, width: int, n_steps: int, tensors: bool = True, **kept):
    """The forecast from the configuration alone."""
    return forecast_recording(configuration, height, width, n_steps, tensors=tensors, **kept)


def promised(dit, path, n_steps: int, call, **kept):
    """A recording's own forecast, from a probe of the call."""
    with ds.record(dit, path, **kept) as rec:
        return rec.forecast(PROMPTS[0], SEEDS, num_inference_steps=n_steps, **call)


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float32") for name in NAMES), ("flux", "bfloat16"), ("lumina2", "bfloat16")]
)
def test_a_forecast_from_the_configuration_is_that_of_the_run(
    opened, folder_of, tmp_path, name, dtype
) -> None:
    """Guidance is asked for: where a pipeline ignores it, so does the forecast."""
    dit = opened(name, getattr(torch, dtype))
    call = {**size(name), **guided(name)}
    configuration = configured(folder_of(name))
    assert sorted(configuration.branches(asks(name))) == list(branches(name))
    for tensors in (True, False):
        forecast = foreseen(
            configuration, **size(name), n_steps=3, guided=asks(name), dtype=dtype, tensors=tensors
        )
        assert forecast == promised(dit, tmp_path / "a.zarr", 3, call, tensors=tensors)


@pytest.mark.parametrize("name", NAMES)
def test_without_arguments_guidance_is_as_the_pipeline_has_it(opened, folder_of, tmp_path, name) -> None:
    forecast = foreseen(configured(folder_of(name)), **size(name), n_steps=2, dtype="float32")
    assert forecast == promised(opened(name), tmp_path / "a.zarr", 2, size(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_stream_and_site_that_can_be_recorded_can_be_forecast(
    opened, folder_of, tmp_path, name
) -> None:
    """SD3's last block returns no text, so it is left out; so are kinds of blocks without a site."""
    dit = opened(name)
    call = {**size(name), **guided(name)}
    text = probe(dit, [(PROMPTS[0], SEEDS[0])], num_inference_steps=2, **call).tokens.get("text")
    configuration = configured(folder_of(name))
    if text is not None:
        family = configuration.family
        longest = configuration.text_tokens - (
            61 if family.text_before else 0
        )  # the tiny CLIP takes 16, not 77
        assert longest == text or (
            longest > text and (family.text_length_varies or not family.text_padding_kept)
        )
    cases = [
        {"streams": streams(name), "blocks": returned(name, len(dit.blocks))},
        {"streams": streams(name), "sites": ("block_input",), "steps": [-1], "branches": ["cond"]},
        {
            "sites": ("attn_output", "mlp_output", "block_output"),
            "blocks": dit.blocks[0].kind,
            "channels": range(3, 20),
        },
        {"blocks": [-1, dit.blocks[0].name]},
        {"sites": ("attn_gate", "block_output"), "blocks": dit.blocks[0].kind},
    ]
    for number, kept in enumerate(cases):
        forecast = foreseen(
            configuration,
            **size(name),
            n_steps=3,
            guided=asks(name),
            dtype="float32",
            text_tokens=text if "text" in kept.get("streams", ()) else None,
            **kept,
        )
        assert forecast == promised(dit, tmp_path / f"{number}.zarr", 3, call, **kept), kept


@pytest.mark.parametrize("asked", [(19, 27), (20, 28), (24, 40), (40, 33), (3, 8), (64, 96)])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_size_is_rounded_or_refused_as_the_pipeline_does(opened, folder_of, tmp_path, name, asked) -> None:
    call, configuration = dict(zip(("height", "width"), asked, strict=True)), configured(folder_of(name))
    try:
        expected = promised(opened(name), tmp_path / "a.zarr", 2, call)
    except (ValueError, RuntimeError, IndexError):  # the pipeline's own
        with pytest.raises(InputError, match="multiples of|at least|at most"):
            foreseen(configuration, *asked, 2)
        return
    assert foreseen(configuration, *asked, 2, dtype="float32") == expected


@pytest.fixture(scope="session")
def trained_at(folder_of, tmp_path_factory):
    """Name, sample size -> the tiny pipeline's folder, with a transformer of that sample size."""

    @functools.cache
    def changed(name: str, sample_size: int):
        folder = tmp_path_factory.mktemp("trained") / name
        shutil.copytree(folder_of(name), folder)
        config = folder / "transformer" / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": sample_size}))
        return folder

    return changed


# Smallest tables: PixArt's of 256 and SANA's of 512 pixels, at the tiny autoencoders' 2 pixels a cell.
@pytest.mark.parametrize(
    ("name", "sample_size", "asked"),
    [("pixart-sigma", 32, (48, 96)), ("pixart-sigma", 32, (97, 31)), ("sana", 16, (97, 31))],
)
def test_a_binned_size_is_that_of_the_run(trained_at, tmp_path, name, sample_size, asked) -> None:
    folder = trained_at(name, sample_size)
    dit, configuration = ds.load(str(folder)), configured(folder)
    call = {"height": asked[0], "width": asked[1], "use_resolution_binning": True}
    forecast = foreseen(configuration, *asked, 2, binned=True, dtype="float32")
    assert forecast == promised(dit, tmp_path / "a.zarr", 2, call)
    grid = configuration.grid(*asked, binned=True)
    assert grid == dit.run_state.inputs.grid
    assert grid != tuple(side // dit.token_pixels for side in asked)
    assert configuration.image_size(*asked, binned=True) == asked


@pytest.mark.parametrize("name", ["pixart-sigma", "sana"])
def test_a_size_without_a_table_is_refused_where_the_pipeline_refuses_it(trained_at, tmp_path, name) -> None:
    folder = trained_at(name, 24)
    with pytest.raises(InputError, match="sample_size 24"):
        foreseen(configured(folder), 96, 96, 2, binned=True)
    call = {"height": 96, "width": 96}
    with pytest.raises(ValueError, match="Invalid sample size"):
        promised(ds.load(str(folder)), tmp_path / "a.zarr", 2, {**call, "use_resolution_binning": True})
    expected = promised(ds.load(str(folder)), tmp_path / "a.zarr", 2, call)
    assert foreseen(configured(folder), 96, 96, 2, dtype="float32") == expected


def test_a_binned_image_is_recorded_at_the_size_that_was_asked(trained_at, tmp_path) -> None:
    """PixArt generates at the nearest of its trained sizes and resizes the image afterwards."""
    folder = trained_at("pixart-sigma", 32)
    call = {"height": 48, "width": 96, "num_inference_steps": 1, "use_resolution_binning": True}
    with ds.record(ds.load(str(folder)), tmp_path / "a.zarr", tensors=False, blocks=[0]) as rec:
        cache = rec.generate(PROMPTS[0], 0, **call)
    assert cache.images.shape[1:3] == (48, 96)
    kept = {"binned": True, "dtype": "float32", "blocks": [0], "tensors": False}
    assert cache.nbytes == foreseen(configured(folder), 48, 96, 1, **kept).total


def larger(name: str, n_steps: int, edge: int) -> dict[str, int]:
    """A run of so many steps and of an image ``edge`` times as high and wide as the smallest."""
    return {"n_steps": n_steps, **{side: edge * pixels for side, pixels in size(name).items()}}


def files_of(dit, path, prompts: list[str], n_steps: int, tensors: bool = True, **call) -> dict[str, int]:
    """Bytes on disk of every file of a recording, by name."""
    with ds.record(dit, path, tensors=tensors, batch_size=len(prompts)) as rec:
        cache = rec.generate(prompts, SEEDS, num_inference_steps=n_steps, **call)
    files = {
        cache.plans[array].file_name(entry.sample, shard): size
        for entry in cache.ledger.values()
        for array, own in entry.files.items()
        for shard, size in zip(cache.plans[array].shards, own.file_sizes(cache.plans[array]), strict=True)
    }
    assert sum(files.values()) == cache.nbytes
    return files


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_small_recordings_scale_up_to_the_forecast(opened, folder_of, tmp_path, name) -> None:
    """What a sample takes is a constant, a share a step, a share a token and a share of both. Recordings of
    one and two steps, of an image and of one of four times the tokens, tell them; they say what 28 steps of
    64 times the tokens take."""
    dit = opened(name, torch.bfloat16)
    runs = {
        (n_steps, edge): files_of(
            dit,
            tmp_path / f"{n_steps}-{edge}.zarr",
            PROMPTS[:1],
            **larger(name, n_steps, edge),
            **guided(name),
        )
        for n_steps in (1, 2)
        for edge in (1, 2)
    }
    configuration = configured(folder_of(name))
    roomy = dataclasses.replace(
        configuration, sizes=dataclasses.replace(configuration.sizes, most_tokens=None)
    )

    def total(tensors: bool) -> int:
        return foreseen(roomy, **larger(name, 28, 8), guided=asks(name), tensors=tensors).total

    every = {run: sum(files.values()) for run, files in runs.items()}
    assert total(tensors=True) == pytest.approx(scaled_up(every, 28, 64), rel=0.01)
    hidden = {
        run: sum(n for file, n in files.items() if file.startswith("image/block_output/hidden/"))
        for run, files in runs.items()
    }
    rest = {run: every[run] - hidden[run] for run in runs}
    assert total(tensors=False) == pytest.approx(scaled_up(rest, 28, 64), rel=0.01)
    small = {**larger(name, 1, 1), **guided(name)}
    two_samples = files_of(dit, tmp_path / "statistics.zarr", batch(name), tensors=False, **small)
    assert sum(two_samples.values()) == 2 * rest[1, 1]


def scaled_up(seen: dict[tuple[int, int], int], n_steps: int, tokens: int) -> float:
    """Bytes at so many steps and times the tokens, from those at 1 and 2 steps with 1 and 4 times the tokens."""
    one, two = (seen[n, 1] + (tokens - 1) / 3 * (seen[n, 2] - seen[n, 1]) for n in (1, 2))
    return one + (n_steps - 1) * (two - one)


def test_the_command_needs_no_weights_and_takes_what_record_takes(folder_of, tmp_path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder_of("sd3"), bare, ignore=shutil.ignore_patterns("*.safetensors"))
    call = ["forecast", str(bare), "--height", "16", "--width", "24", "--num-inference-steps", "2"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    for fact in (
        "SD3",
        "3 blocks of 32 channels",
        "4 x 6 image tokens",
        "2 steps",
        "uncond",
        "--no-tensors",
    ):
        assert fact in result.output
    kept = [
        "--streams",
        "image,text",
        "--text-tokens",
        "30",
        "--blocks",
        "0,joint.1",
        "--sites",
        "mlp_output",
    ]
    result = CliRunner().invoke(app, [*call, *kept, "--no-guided"])
    assert result.exit_code == 0, result.output
    for fact in ("2 of 3 blocks", "4 x 6 image tokens and 30 text tokens", "branches cond\n"):
        assert fact in result.output


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("flux", {"height": 2}, "at least 4 pixels"),
        ("sd3", {"height": 18}, "multiples of 4"),
        ("sd3", {"height": 68}, "at most 64 pixels"),
        ("flux", {"n_steps": 0}, "step"),
        ("flux", {"steps": [3]}, "step 3"),
        ("flux", {"branches": ["uncond"]}, "branch 'uncond'"),
        ("flux", {"text_tokens": 12}, "text_tokens=12"),
        ("flux", {"blocks": ["joint.0"]}, "block 'joint.0'"),
        ("flux", {"binned": True}, "resolution binning asked of FluxPipeline"),
        ("sana", {"streams": ["text"], "text_tokens": 12}, "'text' asked of a cross block"),
        (
            "sd3",
            {"streams": ["text"], "text_tokens": 12, "blocks": [-1]},
            "'text' asked of the last joint block at block_output",
        ),
        ("flux", {"sites": ["mlp_output"], "blocks": [0, "single"]}, "'mlp_output' asked of a single block"),
    ],
)
def test_what_cannot_be_recorded_is_refused(folder_of, name, given, message) -> None:
    arguments = {**larger(name, 3, 1), **given}
    with pytest.raises((InputError, UnsupportedError), match=message):
        foreseen(configured(folder_of(name)), **arguments)


def test_a_pipeline_without_an_autoencoder_is_refused(folder_of, tmp_path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(folder_of("flux"), folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "vae": [None, None]}))
    with pytest.raises(DitscopeError, match="without a vae"):
        configured(folder)
