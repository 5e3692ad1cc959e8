import dataclasses

import pytest
from store_recording import files_below, make_schema, record

from ditscope.cache import forecast
from ditscope.cache.layout import plan_arrays


@pytest.mark.parametrize("shard_bytes", [2**26, 20_000, 1])
@pytest.mark.parametrize("channels", [70, 31])
def test_forecast_is_exact(tmp_path, shard_bytes, channels):
    schema = make_schema(shard_bytes=shard_bytes, channels=tuple(range(channels)))
    store = record(tmp_path / "a.zarr", schema)
    plans = plan_arrays(schema)
    sizes = dict.fromkeys(("tensors", "stats", "masks", "trajectory", "images"), 0)
    count = 0
    files = files_below(store)
    for plan in plans.values():
        own = [data for name, data in files.items() if name.startswith(f"{plan.path}/c.")]
        sizes[plan.kind] += sum(map(len, own))
        count += len(own)
    expected = forecast(schema, 2)
    assert {name: getattr(expected, name) for name in sizes} == sizes
    assert expected.total == sum(sizes.values())
    assert expected.shards == count
    assert forecast(schema, 1).total * 2 == expected.total
    assert {plan.path: plan.file_bytes for plan in plans.values()} == {
        plan.path: tuple(len(files[plan.file_name(1, shard)]) for shard in plan.shards)
        for plan in plans.values()
    }


def test_statistics_only_has_no_tensors():
    schema = make_schema(tensors=False)
    assert forecast(schema, 3).tensors == 0
    assert not any(plan.kind == "tensors" for plan in plan_arrays(schema).values())
    assert dataclasses.replace(schema, tensors=True).tensors
