from store_recording import (
    record,
)

from ditscope.cache import (
    SampleSpec,
    open_cache,
)


def test_samples_say_what_is_their_own(tmp_path):
    specs = (
        SampleSpec("a", 0, {"negative_prompt": "b"}, {"kind": "x"}),
        SampleSpec("a", 0, {"negative_prompt": "c"}, {"rating": 2}),
    )
    table = open_cache(record(tmp_path / "a.zarr", specs=specs, samples=[1])).samples
    assert table["call"].tolist() == [{"negative_prompt": "b"}, {"negative_prompt": "c"}]
    assert table["kind"][0] == "x"
    assert table["rating"][1] == 2
    assert table["kind"].isna().tolist() == [False, True]
    assert table["rating"].isna().tolist() == [True, False]
    assert table["done"].tolist() == [False, True]
