"""The weights' fingerprint: equal for equal weights wherever they are, another for every value that is another."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ditscope as ds
from ditscope.errors import UnsupportedError
from ditscope.models._internals.of_torch import members_of
from ditscope.models.fingerprint import values_digest, weights_fingerprint
from ditscope.models.offload import networks, stored_tensors


@pytest.fixture(scope="module")
def own(untrained_folder):
    """A pipeline whose weights a test changes and puts back."""
    return ds.load(str(untrained_folder))


@pytest.fixture(scope="module")
def unchanged(own) -> str:
    return weights_fingerprint(own)


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


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_one_value_of_one_tensor_is_noticed_wherever_it_is(own, unchanged, data) -> None:
    tensors = [tensor for _, tensor in stored_tensors(members_of(networks(own.diffusers_pipeline)))]
    values = data.draw(st.sampled_from(tensors)).data.view(-1).view(torch.uint8)
    position, bit = data.draw(st.integers(0, len(values) - 1)), data.draw(st.integers(0, 7))
    values[position] ^= 1 << bit
    noticed = weights_fingerprint(own) != unchanged
    values[position] ^= 1 << bit
    assert noticed


def by_optimizer(weight) -> None:
    weight.grad = torch.ones_like(weight)
    torch.optim.AdamW([weight], fused=True).step()
    weight.grad = None


WRITES = {
    "data": lambda weight: weight.data.mul_(2),
    "numpy": lambda weight: np.multiply(weight.detach().numpy(), 2, out=weight.detach().numpy()),
    "dlpack": lambda weight: torch.from_dlpack(weight.detach()).mul_(2),
    "storage": lambda weight: weight.untyped_storage().fill_(1),
    "fused optimizer": by_optimizer,
}


@pytest.mark.parametrize("way", WRITES)
def test_writes_that_torch_does_not_count_are_noticed(own, unchanged, way) -> None:
    weight = own.diffusers_pipeline.transformer.x_embedder.weight
    kept, version, memory = weight.detach().clone(), weight._version, weight.data_ptr()
    WRITES[way](weight)
    seen, counted = weights_fingerprint(own) != unchanged, weight._version > version
    weight.data.copy_(kept)
    assert seen
    assert not counted
    assert weight.data_ptr() == memory
    assert weights_fingerprint(own) == unchanged


def test_a_tied_weight_is_noticed_by_either_name(own, unchanged) -> None:
    encoder = own.diffusers_pipeline.text_encoder_2
    tied = encoder.shared.weight, encoder.encoder.embed_tokens.weight
    assert tied[0] is tied[1]
    for weight in tied:
        value = weight.data[1, 1].clone()
        weight.data[1, 1] = value + 1
        assert weights_fingerprint(own) != unchanged
        weight.data[1, 1] = value
    weights = dict(stored_tensors(members_of(networks(own.diffusers_pipeline))))
    assert sum(weight is tied[0] for weight in weights.values()) == 1


def laid_out(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same values in other places and orders in memory."""
    rows = tensor.flatten(1)
    padded = torch.zeros(len(rows), rows.shape[1] + 2, dtype=tensor.dtype)
    padded[:, 1:-1] = rows
    behind_one = torch.cat([tensor.flatten()[:1], tensor.flatten()])[1:]
    return {
        "columns first": rows.t().contiguous().t().view_as(tensor),
        "a part of another": padded[:, 1:-1].unflatten(1, tensor.shape[1:]),
        "behind one value": behind_one.view_as(tensor),
        "channels last": tensor.to(memory_format=torch.channels_last),
        "a parameter": torch.nn.Parameter(tensor.clone(), requires_grad=tensor.is_floating_point()),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.uint8, torch.bool])
def test_the_layout_in_memory_does_not_count_and_dtype_and_shape_do(dtype, monkeypatch) -> None:
    tensor = torch.randint(-99, 99, (60, 4, 3, 8), generator=torch.manual_seed(0)).to(dtype)
    digest = values_digest(tensor)
    assert {name: values_digest(same) for name, same in laid_out(tensor).items()} == dict.fromkeys(
        laid_out(tensor), digest
    )
    others = [tensor.view(60, 12, 8), tensor.view(torch.int8), tensor.flatten()[:-1]]
    assert len({digest, *map(values_digest, others)}) == 4
    for rows in (1, 3):
        monkeypatch.setattr("ditscope.models.fingerprint._ROWS_AT_ONCE_ON_CPU", rows)
        assert values_digest(tensor) == digest


def test_a_digest_is_what_plain_arithmetic_makes_of_words_and_keys() -> None:
    tensor = torch.randn(2, 1031, generator=torch.manual_seed(0))
    said = tensor.numpy().tobytes()
    drawn = hashlib.shake_256(b"ditscope").digest(8 * 1024)
    keys = [int.from_bytes(drawn[at : at + 8], "little") | 1 for at in range(0, len(drawn), 8)]
    expected = hashlib.sha256(b"(2, 1031) torch.float32 (2, 1031) torch.float32 ")
    for row in (said[:4096], said[4096:8192]):
        words = [int.from_bytes(row[at : at + 4], "little", signed=True) for at in range(0, 4096, 4)]
        products = sum(word * key for word, key in zip(words, keys, strict=True))
        expected.update((products % 2**64).to_bytes(8, "little"))
    expected.update(said[8192:])
    assert values_digest(tensor) == expected.hexdigest()


CHANGES = {
    "two swapped": lambda row: row[[1, 0, *range(2, len(row))]],
    "two signs": lambda row: torch.cat([-row[:2], row[2:]]),
    "all signs": torch.neg,
    "one more and one less": lambda row: row + torch.eye(2, len(row))[0] - torch.eye(2, len(row))[1],
    "turned": lambda row: row.roll(1),
    "backwards": lambda row: row.flip(0),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_changes_within_a_row_that_could_cancel_out_are_noticed(change, dtype) -> None:
    row = torch.arange(1.0, 4097.0).to(dtype)
    assert values_digest(CHANGES[change](row.float()).to(dtype)) != values_digest(row)


def test_nothing_has_a_digest_too() -> None:
    assert (
        values_digest(torch.empty(0, 3)) != values_digest(torch.empty(3, 0)) != values_digest(torch.ones(()))
    )


def test_weights_without_values_are_refused_by_name(untrained_folder) -> None:
    dit = ds.load(str(untrained_folder))
    dit.diffusers_pipeline.vae.to("meta")
    with pytest.raises(UnsupportedError, match=r"weights vae\.encoder\.conv_in\.weight on the meta device"):
        weights_fingerprint(dit)
