"""What is read at a visit goes to the host once for each site."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from pipeline_recording import PLAIN, PROMPTS, SEEDS, drop, record

from ditscope.errors import InputError
from ditscope.recording import device_copies, recorded_visit, transfer
from ditscope.recording.recorded_visit import RecordedVisit
from ditscope.recording.transfer import to_host
from ditscope.tracing.run import run_traced

SITES = ("attn_gate", "attn_output", "block_output")
STREAMS = ("image", "text")
BLOCKS = ["double.0", "double.3"]


@pytest.fixture
def moved(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of what goes to the host."""
    shapes: list[tuple[int, ...]] = []

    def watched(tensor: torch.Tensor) -> np.ndarray:
        shapes.append(tuple(tensor.shape))
        return to_host(tensor)

    for module in (recorded_visit, device_copies):
        monkeypatch.setattr(module, "to_host", watched)
    return shapes


def limited(monkeypatch, n_bytes: int) -> None:
    monkeypatch.setattr(recorded_visit, "Gathering", lambda: transfer.Gathering(n_bytes))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_one_transfer_for_each_visit_and_site(dit, tmp_path, moved, monkeypatch, batch_size) -> None:
    """Whatever the number of rows, blocks and statistics, and every value as without waiting."""
    kept = {"streams": STREAMS, "sites": SITES, "blocks": BLOCKS, "batch_size": batch_size}
    cache = record(dit, tmp_path / "a.zarr", PROMPTS[:1], range(batch_size), **kept)
    image, text = (cache.schema.stream(stream).tokens for stream in STREAMS)
    visits = 2 * 2  # steps x branches, each a visit
    assert Counter(moved) == {
        (len(BLOCKS), batch_size, image, 128): visits * 2,
        (len(BLOCKS), batch_size, text, 128): visits * 2,
        (len(BLOCKS) * batch_size, 7, 128): visits * len(STREAMS) * 2,
        (len(BLOCKS), batch_size, 128): visits * len(STREAMS),
        (batch_size, image, 16): visits,  # the transformer's output
    }
    limited(monkeypatch, 1)
    alone = record(dit, tmp_path / "alone.zarr", PROMPTS[:1], range(batch_size), **kept)
    for site in SITES:
        for stream in STREAMS:
            assert np.array_equal(cache.hidden(stream, site), alone.hidden(stream, site))
    assert cache.stats().identical(alone.stats())


def test_what_finds_no_room_is_moved_at_once(dit, tmp_path, moved, monkeypatch) -> None:
    kept = {"stats": False, "blocks": range(6)}
    plain = record(dit, tmp_path / "plain.zarr", PROMPTS[0], 0, **kept)
    moved.clear()
    limited(monkeypatch, 4 * 32 * 128 * 4)
    cache = record(dit, tmp_path / "a.zarr", PROMPTS[0], 0, **kept)
    assert Counter(moved) == {(5, 1, 32, 128): 4, (1, 1, 32, 128): 4, (1, 32, 16): 4}
    assert np.array_equal(cache.hidden("image", "block_output"), plain.hidden("image", "block_output"))


def test_statistics_alone_move_no_hidden_state(dit, tmp_path, moved) -> None:
    record(dit, tmp_path / "a.zarr", PROMPTS[0], 0, tensors=False)
    assert Counter(moved) == {(10, 7, 128): 4, (1, 32, 16): 4}


def test_what_was_committed_is_not_written_again_though_its_row_runs(dit, guided, tmp_path) -> None:
    """The second of three rows is missing: its values are those of its own row."""
    path = tmp_path / "a.zarr"
    kept = {"blocks": [2], "batch_size": 3, "streams": STREAMS, "sites": ("block_output",)}
    record(dit, path, **kept)
    drop(path, 1)
    cache = record(dit, path, **kept)
    assert cache.complete
    for stream in STREAMS:
        expected = guided.hidden(stream, "block_output").sel(block=[2])
        assert np.array_equal(cache.hidden(stream, "block_output"), expected)


def test_rows_that_are_not_the_batch_s_are_refused(dit, tmp_path) -> None:
    """Two images, and one text of them both, which the first block broadcasts."""
    from ditscope.cache.writer import CacheWriter

    opened = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CacheWriter, "close", lambda self: opened.append(self))
        record(
            dit,
            tmp_path / "a.zarr",
            PROMPTS,
            SEEDS[0],
            PLAIN,
            streams="text",
            sites="block_input",
            blocks=[0],
            batch_size=2,
        )
    (writer,) = opened
    writer.entries.clear()
    visitor = RecordedVisit(dit, writer, [0, 1])
    samples = [(prompt, SEEDS[0]) for prompt in PROMPTS]
    with pytest.raises(InputError, match="1 rows for 2 samples in branches cond; expected 2 rows"):
        run_traced(dit, samples, visitor, prompt_2=PROMPTS[0], **PLAIN)
