"""The weights' fingerprint: equal for equal weights, another for every weight that is read."""

from __future__ import annotations

import pytest
import torch

import ditscope as ds
from ditscope.errors import UnsupportedError
from ditscope.models.fingerprint import sampled_values, weights_fingerprint
from ditscope.models.offload import networks


@pytest.fixture(scope="module")
def own(untrained_folder):
    """A pipeline whose weights a test changes and puts back."""
    return ds.load(str(untrained_folder))


def test_two_loads_have_one_fingerprint_and_another_dtype_has_another(dit, own, untrained_folder) -> None:
    assert weights_fingerprint(own) == weights_fingerprint(dit)
    assert weights_fingerprint(
        ds.load(str(untrained_folder), torch_dtype=torch.bfloat16)
    ) != weights_fingerprint(dit)


@pytest.mark.parametrize("position", [0, -1])
def test_every_parameter_and_buffer_of_every_network_counts(own, position) -> None:
    before = weights_fingerprint(own)
    for part in networks(own.diffusers_pipeline).values():
        for tensor in (list(part.parameters())[position], *list(part.buffers())[:1]):
            flat = tensor.detach().view(-1)
            kept = flat[position].clone()
            flat[position] = kept + 1
            assert weights_fingerprint(own) != before
            flat[position] = kept
    assert weights_fingerprint(own) == before


def test_a_fused_adapter_is_seen_in_the_weights_even_when_it_is_taken_off(own) -> None:
    from peft import LoraConfig

    pipeline, before = own.diffusers_pipeline, weights_fingerprint(own)
    lora = LoraConfig(r=1, target_modules=["proj_mlp"], init_lora_weights=False)
    original = {name: value.clone() for name, value in pipeline.transformer.state_dict().items()}
    pipeline.transformer.add_adapter(lora, "style")
    assert weights_fingerprint(own) != before
    pipeline.fuse_lora(components=["transformer"])
    pipeline.unload_lora_weights()
    assert weights_fingerprint(own) != before
    pipeline.transformer.load_state_dict(original)
    assert weights_fingerprint(own) == before


def test_it_reads_256_values_and_says_so() -> None:
    tensor = torch.arange(1024.0)
    before = sampled_values(tensor)
    assert len(before) == 256 * 4
    assert sampled_values(tensor[:5]) == tensor[:5].numpy().tobytes()
    tensor[1] = -1  # between two that are read
    assert sampled_values(tensor) == before
    tensor[-1] = -1
    assert sampled_values(tensor) != before


def test_weights_without_values_are_refused_by_name(untrained_folder) -> None:
    dit = ds.load(str(untrained_folder))
    dit.diffusers_pipeline.vae.to("meta")
    with pytest.raises(UnsupportedError, match=r"weights vae\.encoder\.conv_in\.weight on the meta device"):
        weights_fingerprint(dit)
