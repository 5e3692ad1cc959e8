"""What parts add against float64 numpy, on a recording with fused blocks; sites that are not there are named."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import ditscope as ds
from ditscope.errors import InputError

SITES = ("attn_output", "mlp_output", "attn_gate", "mlp_gate")


class Recording:
    """Sites by name, as a cache gives them."""

    def __init__(self, **sites: xr.DataArray) -> None:
        self.sites = sites

    def hidden(self, stream="image", site="block_output", *, channels=None):
        if site not in self.sites:
            raise InputError(site, "a recorded site", "Record it.")
        return self.sites[site].assign_attrs(stream=stream, site=site)

    def stats(self, stream="image", site="block_output"):
        raise KeyError(site)


@pytest.fixture(params=[None, {"sample": 1, "block": 2, "channel": 4}])
def recorded(make_hidden, request):
    """Blocks 0 to 2 split into parts with something over, block 3 fused."""

    def made(seed):
        return make_hidden(samples=2, blocks=4, edge=3, channels=6, dtype=np.float32, chunks=None, seed=seed)

    before, attn, mlp, rest = (made(seed) for seed in range(4))
    attn_gate, mlp_gate = (made(seed).isel(token=0, drop=True) for seed in (5, 6))
    mlp_gate[{"channel": 2}] = 0
    parts = xr.where(before["block"] < 3, attn_gate * attn + mlp_gate * mlp + 0.1 * rest, attn_gate * rest)
    after = (before + parts).transpose(*before.dims)
    split = slice(3)
    sites = {
        "block_input": before,
        "block_output": after,
        "attn_gate": attn_gate,
        "attn_output": attn.isel(block=split),
        "mlp_output": mlp.isel(block=split),
        "mlp_gate": mlp_gate.isel(block=split),
    }
    if request.param:
        sites = {
            n: a.chunk({d: s for d, s in request.param.items() if d in a.dims}) for n, a in sites.items()
        }
    return Recording(**sites)


def wide(recorded, site, at) -> np.ndarray:
    return recorded.sites[site].isel(at).values.astype(float)


def excess(size: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        log = np.log2(size)
    log = np.where(np.isfinite(log), log, np.nan)
    return log - np.nanmean(log)


def test_parts_add_up_to_the_growth_of_energy(recorded) -> None:
    found = ds.passes.residual_growth(recorded)
    assert found["energy_added"].chunks is not None
    assert "prompt" in found.coords
    assert "block_name" in found.coords
    at = {"sample": 1, "step": 2, "branch": 0, "block": 1}
    here = found.isel(at).compute()
    before, after, attn, mlp = (
        wide(recorded, name, at) for name in ("block_input", "block_output", "attn_output", "mlp_output")
    )
    gates = {part: wide(recorded, f"{part}_gate", at) for part in ("attn", "mlp")}
    parts = {"attn": gates["attn"] * attn, "mlp": gates["mlp"] * mlp}
    parts["other"] = after - before - parts["attn"] - parts["mlp"]
    for part, value in parts.items():
        own = here.sel(part=part)
        np.testing.assert_allclose(own["energy_added"], (value * (before + after)).mean(0), atol=1e-10)
        np.testing.assert_allclose(own["mean_added"], value.mean(0), atol=1e-12)
        if part in gates:
            np.testing.assert_allclose(own["gate_excess"], excess(abs(gates[part])), atol=1e-9)
            output = np.sqrt((recorded.sites[f"{part}_output"].isel(at).values.astype(float) ** 2).mean(0))
            output = np.where(gates[part] == 0, np.nan, output)
            np.testing.assert_allclose(own["output_excess"], excess(output), atol=1e-9)
        else:
            assert own["gate_excess"].isnull().all()
    assert here.sel(part="whole")["energy_added"].isnull().all()
    np.testing.assert_allclose(here["energy"], (after**2).mean(0))
    np.testing.assert_allclose(here["energy_growth"], here["energy_added"].sum("part"), atol=1e-9)
    assert float(here["gate_excess"].sel(part="mlp").isnull().sum()) == 1


def test_a_fused_block_is_one_part_under_its_gate(recorded) -> None:
    at = {"sample": 0, "step": 1, "branch": 1, "block": 3}
    here = ds.passes.residual_growth(recorded).isel(at).compute()
    before, after, gate = (wide(recorded, n, at) for n in ("block_input", "block_output", "attn_gate"))
    assert here["energy_added"].sel(part=["attn", "mlp", "other"]).isnull().all()
    own = here.sel(part="whole")
    np.testing.assert_allclose(own["energy_added"], here["energy_growth"])
    np.testing.assert_allclose(own["gate_excess"], excess(abs(gate)), atol=1e-9)
    size = np.sqrt(((after - before) ** 2).mean(0))
    np.testing.assert_allclose(own["gate_excess"] + own["output_excess"], excess(size), atol=1e-9)


def test_a_gate_is_not_read_as_that_of_blocks_whose_parts_were_not_recorded(recorded) -> None:
    ends = {name: recorded.sites[name] for name in ("block_input", "block_output", "attn_gate")}
    found = ds.passes.residual_growth(Recording(**ends)).sel(part="whole").compute()
    assert found["gate_excess"].isnull().all()
    assert found["energy_added"].notnull().all()


def test_attention_that_is_not_added_adds_nothing(recorded) -> None:
    sites = dict(recorded.sites)
    sites["block_output"] = sites["block_input"] + sites["mlp_gate"] * sites["mlp_output"]
    sites["block_input"] = sites["block_input"].isel(block=slice(3))
    sites["attn_gate"] = sites["attn_gate"].isel(block=slice(3))
    sites["block_output"] = sites["block_output"].transpose(*sites["block_input"].dims)
    found = ds.passes.residual_growth(Recording(**sites))["energy_added"].compute()
    assert (found.sel(part="attn") == 0).all()
    assert (abs(found.sel(part="other")) < 1e-3 * abs(found.sel(part="mlp")).max()).all()


@pytest.mark.parametrize("missing", ["block_input", "attn_gate", "attn_output", "mlp_gate"])
def test_sites_that_are_not_there_are_named(recorded, missing) -> None:
    sites = {name: each for name, each in recorded.sites.items() if name != missing}
    with pytest.raises(InputError, match=f"without {missing} of the image stream"):
        ds.passes.residual_growth(Recording(**sites))
