"""What was read at one address, without the rest of the store."""

from __future__ import annotations

import numpy as np
import pytest
from store_recording import TEXT_TOKENS, addresses, bits, hidden_value, make_schema, record

from ditscope.cache import files, open_cache
from ditscope.errors import CacheError, InputError

CHANNELS = [70, 5, 40]


def address_of(address) -> dict:
    return {"step": address.step, "branch": address.branch, "block": address.block}


def test_values_are_those_that_were_put(tmp_path) -> None:
    schema = make_schema(sites=("block_output", "attn_gate"))
    cache = open_cache(record(tmp_path / "a.zarr", schema))
    for site in ("block_output", "attn_gate"):
        for address in addresses(schema, "image", site):
            found = cache.values_at("image", site, samples=[1, 0], channels=CHANNELS, **address_of(address))
            for row, sample in enumerate((1, 0)):
                expected = hidden_value(schema, sample, address)[..., [channel - 3 for channel in CHANNELS]]
                assert found[row].dtype == expected.dtype
                assert np.array_equal(bits(found[row]), bits(expected))


def test_a_few_channels_read_their_chunks_alone(store, monkeypatch) -> None:
    cache, read = open_cache(store), []
    whole = files.read_into

    def counted(handle, offset, data):
        read.append(whole(handle, offset, data))
        return read[-1]

    monkeypatch.setattr(files, "read_into", counted)
    address = {"step": 3, "branch": "uncond", "block": 4}
    cache.values_at("image", "block_output", samples=[1], channels=[3], **address)
    form = cache.plans["image/block_output/hidden"]
    assert sum(read) == np.prod(form.chunk) * 2 + 4  # one chunk, with its checksum


def test_which_text_tokens_are_real(store) -> None:
    cache = open_cache(store)
    assert cache.token_mask("text", [0, 1], "uncond").sum(axis=1).tolist() == [TEXT_TOKENS] * 2
    assert cache.token_mask("image", [1], "cond").all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"step": 0}, "step 0; expected one of 1, 3"),
        ({"branch": "neither"}, "branch 'neither'; expected one of 'cond', 'uncond'"),
        ({"block": 2}, "block 2; expected one of 0, 1, 4"),
        ({"channels": [1]}, "channel 1"),
        ({"site": "mlp_output"}, "site 'mlp_output'"),
    ],
)
def test_an_address_that_was_not_recorded_is_refused_by_name(store, changed, words) -> None:
    asked = {"stream": "image", "site": "block_output", "step": 1, "branch": "cond", "block": 0, **changed}
    with pytest.raises(InputError, match=words):
        open_cache(store).values_at(samples=[0], **asked)


def test_a_store_of_statistics_has_no_values(tmp_path) -> None:
    cache = open_cache(record(tmp_path / "a.zarr", make_schema(tensors=False)))
    with pytest.raises(CacheError, match="a cache of statistics only"):
        cache.values_at("image", "block_output", samples=[0], step=1, branch="cond", block=0)
