"""The benchmark of full-size models, on the same models with narrow layers."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

import ditscope as ds
import full_size
import measuring
import random_models
import result_table
from ditscope.models.configuration import configuration_of

BILLIONS = {
    "FLUX.1-dev": 11.90,
    "FLUX.1-schnell": 11.89,
    "FLUX.2-klein-4B": 3.88,
    "Qwen-Image": 20.43,
    "SANA-1.6B": 1.60,
    "SD3-medium": 2.03,
    "SD3.5-large": 8.06,
    "PixArt-Sigma": 0.61,
}
"""Published numbers of parameters of the transformers."""

HEADS = {"num_attention_heads": 2, "attention_head_dim": 16}
LEVELS = {"block_out_channels": (8,) * 4, "norm_num_groups": 4}
DC_WIDTHS = (8, 8, 8, 8, 8, 32)
DC_LEVELS = {"encoder_block_out_channels": DC_WIDTHS, "decoder_block_out_channels": DC_WIDTHS}
CROSS = {"num_cross_attention_heads": 2, "cross_attention_head_dim": 16, "cross_attention_dim": 32}
NARROW = {
    "FluxPipeline": ({**HEADS, "axes_dims_rope": (4, 6, 6)}, LEVELS),
    "Flux2KleinPipeline": ({**HEADS, "axes_dims_rope": (4, 4, 4, 4)}, LEVELS),
    "QwenImagePipeline": ({**HEADS, "axes_dims_rope": (4, 6, 6)}, {"base_dim": 8}),
    "SanaPipeline": ({**HEADS, **CROSS}, {**DC_LEVELS, "attention_head_dim": 8}),
    "StableDiffusion3Pipeline": ({**HEADS, "caption_projection_dim": 32}, LEVELS),
    "PixArtSigmaPipeline": ({**HEADS, "cross_attention_dim": 32}, LEVELS),
}
"""Pipeline class -> what makes transformer and autoencoder narrow; blocks and text widths stay."""


def narrow(name: str) -> random_models.Model:
    model = random_models.MODELS[name]
    transformer, autoencoder = NARROW[model.pipeline]
    library_class, config = model.autoencoder
    return replace(
        model,
        transformer={**model.transformer, **transformer},
        autoencoder=(library_class, {**config, **autoencoder}),
    )


@pytest.mark.parametrize("name", random_models.MODELS)
def test_configurations_are_the_published_ones(name) -> None:
    model = random_models.MODELS[name]
    family = random_models.family_of(model.pipeline)
    with torch.device("meta"):
        library_class = getattr(random_models.diffusers, family.transformer_class)
        transformer = library_class.from_config(model.config())
    assert sum(p.numel() for p in transformer.parameters()) / 1e9 == pytest.approx(BILLIONS[name], abs=0.006)
    cut = configuration_of(family, model.config(layers=1), vae_pixels=8)
    assert [block.name for block in cut.blocks] == [f"{layout.kind}.0" for layout in family.block_lists]


@pytest.mark.parametrize("name", random_models.MODELS)
def test_every_block_does_something_and_nothing_overflows(tmp_path, name) -> None:
    dit = random_models.open_random(narrow(name), tmp_path)
    networks = (dit.diffusers_pipeline.transformer, dit.diffusers_pipeline.vae)
    assert {part.dtype for network in networks for part in network.parameters()} == {torch.bfloat16}
    call = {"height": 64, "width": 64, "num_inference_steps": 2}
    cache = full_size.recorded(dit, tmp_path / "all.zarr", call, tensors=False)
    statistics = cache.stats("image", "block_output")
    assert statistics.sizes["block"] == len(dit.blocks)
    assert int(statistics["nonfinite"].sum()) == 0
    assert float(statistics["abs_max"].max()) < 1e4
    first = statistics.isel(step=0)  # a later one may start from latents that dwarf what a block adds
    changed = abs(first["mean"].diff("block")) / first["mean_abs"].mean("channel")
    assert float(changed.mean("channel").min()) > 0.01
    image = cache.images.values
    assert ((image > 0) & (image < 255)).mean() > 0.5


@pytest.mark.parametrize(("storage", "rounds"), [(None, 2), ("fp8", 1)])
def test_every_run_is_measured_and_shown(tmp_path, storage, rounds) -> None:
    arguments = ["--height", "64", "--width", "96", "--rounds", str(rounds), "--layers", "1"]
    options = full_size.parse([*arguments, *(["--storage", storage] if storage else [])])
    dit, result = full_size.measure(narrow("FLUX.1-dev"), tmp_path, options)
    kept = {parameter.dtype for parameter in dit.diffusers_pipeline.transformer.parameters()}
    assert kept == {torch.bfloat16} | ({torch.float8_e4m3fn} if storage else set())
    assert result.report.ok, result.report
    assert {name: [len(run.visits) for run in runs] for name, runs in result.runs.items()} == {
        "bare": [2] * rounds,
        "recorded": [2] * rounds,
        "statistics": [2] * rounds,
    }
    # Steps, blocks, rows and columns of tokens, channels, bytes of bfloat16.
    hidden_states = 2 * 2 * 4 * 6 * 32 * 2
    assert result.store_bytes["recorded"] - result.store_bytes["statistics"] >= hidden_states
    for name, nbytes in result.store_bytes.items():
        store = tmp_path / f"{name}.zarr"
        assert nbytes == sum(os.path.getsize(os.path.join(at, f)) for at, _, fs in os.walk(store) for f in fs)
        assert ds.verify(store).ok

    rows = full_size.rows(result, full_size.setting_of(dit, "narrow", options))
    assert [row["run"] for row in rows] == ["build", "check", "bare", "recorded", "statistics"]
    _, check, *turns = rows
    assert check["found"] == f"{len(result.report.findings)} of {len(result.report.findings)} claims hold"
    for row in turns:
        for column, times in (("s per visit", full_size.visits), ("seconds", full_size.images)):
            taken = times(result.runs[row["run"]])
            assert min(taken) > 0
            assert row[column] == measuring.spread(taken)
        assert row["blocks"] == "1 double + 1 single (cut)"
        assert ("fp8" in row["weights"]) == bool(storage)
    for row in turns[1:]:
        assert row["found"] == "same image, no values not finite"
        assert row["store bytes"] == f"{result.store_bytes[row['run']]:,}"
    path = tmp_path / "table.md"
    for _ in range(2):
        result_table.renew(path, rows, full_size.SETTING, full_size.HEAD)
    assert path.read_text().startswith(full_size.HEAD)
    assert path.read_text().splitlines()[-5:] == [result_table.line(list(row.values())) for row in rows]
    assert path.read_text().count("| check |") == 1
    assert turns[0]["ratio of visits"] == turns[0]["ratio of images"] == "1.00"
    for _ in range(2):
        result_table.renew(tmp_path / "table.md", rows, full_size.SETTING, full_size.HEAD)
    assert (tmp_path / "table.md").read_text().count("| recorded |") == 1


def test_what_a_recording_got_wrong_is_shown(tmp_path) -> None:
    dit = random_models.open_random(narrow("FLUX.1-schnell"), tmp_path, layers=1)
    call = {"height": 64, "width": 64, "num_inference_steps": 2}
    image = full_size.bare_image(dit, call)
    dit.diffusers_pipeline.transformer.x_embedder.bias[3] = float("nan")
    cache = full_size.recorded(dit, tmp_path / "wrong.zarr", call, tensors=False)
    assert full_size.shown_by(cache, image).startswith("ANOTHER IMAGE, ")
    assert "no values" not in full_size.shown_by(cache, image)


def test_seconds_come_with_their_spread() -> None:
    assert measuring.spread([3.0, 1.0, 2.5]) == "2.5 (1 to 3)"
    assert measuring.spread([1234.4]) == "1,234"
    assert full_size.ratio([3.0, 1.0, 2.5], [2.0]) == "1.25"


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux tells the peak")
def test_a_peak_is_that_of_its_own_run() -> None:
    large = measuring.take(lambda: float(torch.ones(2**26).sum()), "cpu")  # 256 MiB
    small = measuring.take(lambda: float(torch.ones(2**4).sum()), "cpu")
    assert large.result == 2.0**26
    assert large.host_bytes - small.host_bytes > 200 * 2**20


def test_a_table_keeps_what_was_not_run_again(tmp_path) -> None:
    path = tmp_path / "table.md"

    def row(model: str, run: str, seconds: str) -> dict[str, str]:
        return {"model": model, "run": run, "seconds": seconds, "found": ""}

    result_table.renew(path, [row("a", "bare", "1"), row("a", "recorded", "2")], ["model"], "# Title\n\n")
    result_table.renew(path, [row("b", "bare", "3")], ["model"], "unused")
    path.write_text(path.read_text() + "\nText below.\n")
    result_table.renew(path, [row("a", "bare", "4")], ["model"], "unused")
    assert path.read_text().splitlines() == [
        "# Title",
        "",
        "| model | run | seconds | found |",
        "| --- | --- | --- | --- |",
        "| b | bare | 3 |  |",
        "| a | bare | 4 |  |",
        "",
        "Text below.",
    ]
    with pytest.raises(ValueError, match="columns"):
        result_table.renew(path, [{"model": "a", "other": "5"}], ["model"], "unused")
