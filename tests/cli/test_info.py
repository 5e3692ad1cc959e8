"""``ditscope info``: what a store holds, and whether it is as recorded."""

from __future__ import annotations

from store_recording import record
from typer.testing import CliRunner

from ditscope._version import commit, described
from ditscope.cache import open_cache
from ditscope.cli import app


def test_it_says_what_the_cache_says_of_itself(tmp_path) -> None:
    store = record(tmp_path / "a.zarr", samples=[0])
    result = CliRunner().invoke(app, ["info", str(store)])
    last = f"recorded with ditscope {described('0.1.0', commit())}\n" if commit() else ""
    assert (result.exit_code, result.output) == (0, f"{open_cache(store)!r}\n{last}")
    assert "1 of 2" in result.output


def test_it_verifies_if_asked_and_fails_where_a_byte_is_wrong(tmp_path) -> None:
    store = record(tmp_path / "a.zarr")
    result = CliRunner().invoke(app, ["info", str(store), "--verify"])
    assert (result.exit_code, "all as recorded" in result.output) == (0, True)
    path = store / "image/block_output/hidden/c.1.0.0.0.0.0"
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    unread = CliRunner().invoke(app, ["info", str(store)])
    assert unread.exit_code == 0
    result = CliRunner().invoke(app, ["info", str(store), "--verify"])
    assert (result.exit_code, "sample 1" in result.output) == (1, True)
