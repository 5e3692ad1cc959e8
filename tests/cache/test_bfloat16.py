import subprocess
import sys
import tomllib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_recording import bits
from zarr.dtype import data_type_registry

import ditscope
from ditscope.cache.bfloat16 import DTYPE, BFloat16, register

SPECIAL = np.array(
    [0x0000, 0x8000, 0x7F80, 0xFF80, 0x7FC0, 0xFFC1, 0x7F81, 0x0001, 0x807F, 0x7F7F], dtype=np.uint16
)


def _array(path, shape, **keywords):
    register()
    return zarr.create_array(path, shape=shape, dtype=DTYPE, overwrite=True, **keywords)


@settings(max_examples=25, deadline=None)
@given(patterns=st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=40))
def test_round_trip_keeps_every_bit(tmp_path_factory, patterns):
    values = np.array([*patterns, *SPECIAL], dtype=np.uint16).view(DTYPE)
    path = tmp_path_factory.mktemp("bits") / "a.zarr"
    _array(path, values.shape)[:] = values
    read = zarr.open_array(path, mode="r")[:]
    assert read.dtype == DTYPE
    np.testing.assert_array_equal(bits(read), bits(values))


def test_tensorstore_and_zarr_read_each_other(tmp_path):
    import tensorstore

    values = SPECIAL.view(DTYPE)
    zarr_array = _array(tmp_path / "a.zarr", values.shape)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/a.zarr/"}}
    native = tensorstore.open(spec, open=True).result()
    zarr_array[:] = values
    np.testing.assert_array_equal(bits(native.read().result()), SPECIAL)
    native.write(values[::-1].copy()).result()
    np.testing.assert_array_equal(bits(zarr_array[:]), SPECIAL[::-1])


@pytest.mark.parametrize("pattern", [0x7FC0, 0x7FC1, 0xFFC0, 0x7F80, 0xFF80, 0x8000, 0x3F80, 0x0001])
def test_fill_value_survives_metadata(tmp_path, pattern):
    fill = np.array([pattern], dtype=np.uint16).view(DTYPE)[0]
    _array(tmp_path / "a.zarr", (3,), fill_value=fill)
    read = zarr.open_array(tmp_path / "a.zarr", mode="r")[:]
    np.testing.assert_array_equal(bits(read), np.full(3, pattern, dtype=np.uint16))


def test_hexadecimal_fill_value_is_a_bit_pattern():
    # 0x3f80 is 1.0 as bfloat16; as float16, which the base class reads, it would be 1.875.
    assert BFloat16().from_json_scalar("0x3f80", zarr_format=3) == ml_dtypes.bfloat16(1.0)
    with pytest.raises(ValueError, match="four hexadecimal digits"):
        BFloat16().from_json_scalar("0x3f8000", zarr_format=3)


def test_float16_is_still_float16(tmp_path):
    register()
    assert zarr.create_array(tmp_path / "a.zarr", shape=(1,), dtype="float16").dtype == np.float16
    assert zarr.create_array(tmp_path / "b.zarr", shape=(1,), dtype="<f2", zarr_format=2).dtype == np.float16


def test_register_again_changes_nothing_and_respects_others(monkeypatch):
    register()
    other = type("Other", (), {})
    monkeypatch.setitem(data_type_registry.contents, "bfloat16", other)
    register()
    assert data_type_registry.contents["bfloat16"] is other


OURS = "ditscope.cache.bfloat16:BFloat16"


def test_the_package_declares_both_entry_points():
    project = Path(ditscope.__file__).parents[2] / "pyproject.toml"
    entry_points = tomllib.loads(project.read_text())["project"]["entry-points"]
    assert entry_points["zarr.data_type"]["bfloat16"] == OURS
    assert entry_points["zarr.buffer"]["bfloat16"] == OURS


@pytest.mark.parametrize(
    "opening",
    [
        "import zarr; array = zarr.open({store!r}, mode='r')['image/block_output/hidden']",
        "import zarr; array = zarr.open_group({store!r}, use_consolidated=False)['image/block_output/hidden']",
        "import xarray; array = xarray.open_datatree({store!r}, engine='zarr')['image/block_output/hidden']",
    ],
)
def test_plain_zarr_and_xarray_read_by_entry_point(tmp_path, store, opening):
    """Where ditscope is installed, a reader need not import it."""
    source = Path(ditscope.__file__).parents[1]
    info = tmp_path / "site" / "readable-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: readable\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "".join(f"[{group}]\nbfloat16 = {OURS}\n" for group in ("zarr.data_type", "zarr.buffer"))
    )
    lines = [
        f"import sys; sys.path[:0] = [{str(tmp_path / 'site')!r}, {str(source)!r}]",
        "assert 'ditscope' not in sys.modules",
        opening.format(store=str(store)),
        "assert str(array.dtype) == 'bfloat16', array.dtype",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
