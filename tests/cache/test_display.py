import pytest
from store_recording import (
    make_schema,
    record,
)

from ditscope.cache import (
    CacheWriter,
    StoredSite,
    StreamSpec,
    build_manifest,
    open_cache,
)


def test_representation(tmp_path):
    cache = open_cache(record(tmp_path / "a.zarr", samples=[0]))
    text = repr(cache)
    for part in (
        "tests/tiny",
        "1 of 2 committed",
        "bfloat16",
        "token 12 (3 x 4)",
        "channel 70 of 80",
        "on disk",
    ):
        assert part in text
    assert "WARNING" not in text
    assert cache._repr_html_().count("<tr>") == text.count("\n")


def summary_of(cache) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in repr(cache).splitlines()[1:])


def test_representation_of_statistics_alone(tmp_path):
    lines = summary_of(open_cache(record(tmp_path / "a.zarr", make_schema(tensors=False))))
    assert lines["kept"] == "stats, trajectory, images"
    assert lines["image/block_output"].startswith("statistics, float32 [sample 2, ")
    assert "token" not in lines["image/block_output"]


def test_representation_of_modulation(tmp_path):
    schema = make_schema(sites=("attn_gate", "block_output"))
    lines = summary_of(open_cache(record(tmp_path / "a.zarr", schema, samples=[])))
    assert lines["kept"] == "tensors, stats, modulation, trajectory, images"
    assert lines["image/attn_gate"].startswith("float32 [sample 2, ")
    assert "token" not in lines["image/attn_gate"]
    assert lines["image/block_output"].startswith("bfloat16 [")


def test_representation_of_chosen_tokens_and_of_sites_that_some_blocks_lack(tmp_path):
    for choice, words in (
        ({"token_ids": (1, 4)}, "token 2 of 12 (3 x 4)"),
        ({"random_tokens": 5}, "token 5 of 12 (3 x 4, drawn at random)"),
    ):
        some = StoredSite.of("image", "attn_output", (0, 4), "bfloat16")
        streams = (StreamSpec("image", 12, 3, 4, **choice),)
        schema = make_schema(("block_output", some), streams=streams)
        lines = summary_of(open_cache(record(tmp_path / f"{words[6]}.zarr", schema, samples=[])))
        assert words in lines["image/block_output"]
        assert "block 3, " in lines["image/block_output"]
        assert "block 2, " in lines["image/attn_output"]


def test_a_damaged_ledger_is_a_warning(store):
    path = store / "done/ledger/journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"committed", b"COMMITTED", 1))
    with pytest.warns(UserWarning, match="damaged"):
        cache = open_cache(store)
    assert "WARNING" in repr(cache)
    assert "1 damaged lines of the ledger" in repr(cache)


def test_representation_of_the_live_state_in_a_line(tmp_path):
    style, weak = {"scale": 0.5, "disabled": False}, {"scale": 1.0, "disabled": True}
    live = {
        "versions": {"diffusers": "0.42.1", "torch": "2.13.0"},
        "transformer": {"adapters": {"style": style, "weak": weak}, "hooks": {"norm_out": ["mine.hook"]}},
    }

    def line(name, state):
        schema = make_schema()
        manifest = build_manifest(schema, {"live": state})
        CacheWriter.create_or_resume(tmp_path / name, schema, manifest).close()
        return summary_of(open_cache(tmp_path / name)).get("live")

    adapters = "transformer: style 0.5, transformer: weak disabled"
    assert line("a.zarr", live) == f"{adapters}, hooks in transformer, diffusers 0.42.1, torch 2.13.0"
    for number, odd in enumerate(("text", {"transformer": {"adapters": 1}}, {"a": {"adapters": {"b": 2}}})):
        assert line(f"odd{number}", odd) is None


def test_html_escapes_what_the_store_says(tmp_path):
    schema = make_schema()
    manifest = build_manifest(schema, {"model": "<script>alert(1)</script>"})
    CacheWriter.create_or_resume(tmp_path / "a.zarr", schema, manifest).close()
    assert "<script>" not in open_cache(tmp_path / "a.zarr")._repr_html_()
