import numpy as np
import pytest
from store_recording import (
    at,
    bits,
    drawn_tokens,
    fill,
    hidden_value,
    make_schema,
    open_writer,
    record,
)

from ditscope.cache import (
    Address,
    StreamSpec,
    open_cache,
)
from ditscope.encoded_text import EncodedText
from ditscope.errors import InputError


def test_tokens_of_a_text_are_called_what_the_ledger_says(tmp_path):
    known = {"uncond": (("plain", 1), ("<pad>", 2)), "cond": (("a", 1), ("red", 1), ("circle", 9))}
    with open_writer(tmp_path / "a.zarr") as writer:
        for sample, text in enumerate((EncodedText({}, "ab", known), None)):
            fill(writer, sample)
            writer.commit(sample, text)
    cache = open_cache(writer.path)
    texts = cache.token_texts()
    n_tokens = cache.schema.stream("text").tokens
    assert texts.dims == ("sample", "branch", "token")
    assert texts.sel(sample=0, branch="uncond").values.tolist()[:4] == ["plain", "<pad>", "<pad>", ""]
    assert texts.sel(sample=0, branch="cond").values.tolist() == ["a", "red"] + ["circle"] * (n_tokens - 2)
    assert set(texts.sel(sample=1).values.ravel()) == {""}
    assert cache.token_texts(samples=[0]).identical(texts.sel(sample=[0]))
    hidden = cache.hidden("text", dtype="float32").assign_coords(token_text=texts)
    assert hidden.where(hidden["token_text"] == "red", drop=True)["token"].values.tolist() == [1]
    with pytest.raises(InputError, match="tokens of the stream 'image' as text"):
        cache.token_texts("image")
    with pytest.raises(InputError, match="sample"):
        cache.token_texts(samples=[2])


def test_prompts_that_were_cut_are_marked_by_sample_and_encoder(tmp_path):
    texts = EncodedText({"clip": 3, "t5": 2}, "ab"), EncodedText({"clip": 5, "t5": 0}, "cd")
    with open_writer(tmp_path / "a.zarr") as writer:
        for sample, text in enumerate(texts):
            fill(writer, sample)
            writer.commit(sample, text)
    cache = open_cache(writer.path)
    for labelled in (cache.hidden(), cache.stats("text"), cache.images, cache.trajectory):
        assert labelled["truncated"].values.tolist() == [True, False]
        assert labelled["encoded_text"].values.tolist() == ["ab", "cd"]
    assert cache.truncated.to_numpy().tolist() == [
        [0, "a red circle", "clip", 3],
        [0, "a red circle", "t5", 2],
        [1, "ein grünes Dreieck", "clip", 5],
    ]
    text = repr(cache)
    assert "clip                cut 2 prompts short" in text
    assert "1 prompts were cut in every text encoder" in text


def test_randomly_drawn_tokens_are_labelled_by_sample(tmp_path):
    stream = StreamSpec("image", 12, 3, 4, random_tokens=5)
    schema = make_schema(streams=(stream,))
    hidden = open_cache(record(tmp_path / "a.zarr", schema)).hidden()
    assert hidden.sizes["token"] == 5
    for sample in (0, 1):
        drawn = drawn_tokens(stream, sample)
        own = hidden.sel(sample=sample)
        for name, values in (("token_id", drawn), ("y", drawn // 4), ("x", drawn % 4)):
            assert hidden[name].dims == ("sample", "token")
            assert own[name].values.tolist() == values.tolist()
        address = Address("image", "block_output", 3, "cond", 4)
        np.testing.assert_array_equal(
            bits(own.sel(**at(address)).values), bits(hidden_value(schema, sample, address))
        )


def test_chosen_tokens_are_labelled_by_their_place_on_the_grid(tmp_path):
    schema = make_schema(streams=(StreamSpec("image", 12, 3, 4, token_ids=(1, 6, 11)),))
    hidden = open_cache(record(tmp_path / "a.zarr", schema)).hidden()
    assert hidden.token.values.tolist() == [1, 6, 11]
    assert (hidden.y.values.tolist(), hidden.x.values.tolist()) == ([0, 1, 2], [1, 2, 3])
    assert hidden.sel(token=6).shape == (2, 2, 2, 3, 70)
