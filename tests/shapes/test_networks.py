"""The untrained parts: tokenizers that keep every word, sizes that fit, and blocks that begin as the identity."""

from __future__ import annotations

import pytest
import torch

from ditscope.shapes import make_scenes, networks, prompts
from ditscope.shapes.networks import MAX_WORDS, caption_ids, tokenizer


@pytest.mark.parametrize("start", [True, False])
def test_captions_fit_the_tokenizers_and_keep_every_word(start) -> None:
    captions = [scene.caption for n in (1, 2) for scene in make_scenes(20, 3, n_objects=n, pixels=8)]
    ids = caption_ids(captions, start=start)
    assert ids.shape == (40, MAX_WORDS)
    assert tokenizer(start=start).batch_decode(ids, skip_special_tokens=True) == captions


def test_the_tokenizers_differ_by_the_start_mark_alone() -> None:
    with_start, without = (caption_ids(["a red circle"], start=start)[0].tolist() for start in (True, False))
    assert with_start[1:] == without[:-1]
    assert tokenizer(start=True).bos_token_id == with_start[0]


def test_an_image_becomes_sixteen_by_sixteen_tokens_of_the_transformer() -> None:
    with torch.no_grad():
        latents = networks.autoencoder().encode(torch.zeros(1, 3, 64, 64)).latent_dist.mode()
    assert latents.shape == (1, networks.LATENT_CHANNELS, 32, 32)
    assert networks.transformer().config.in_channels == 4 * networks.LATENT_CHANNELS  # packed 2 x 2


@torch.no_grad()
def test_an_initialised_transformer_passes_its_streams_through_and_puts_out_nothing() -> None:
    torch.manual_seed(0)
    model, changed = networks.transformer(), []
    networks.initialise_transformer(model)

    def same(module, args, kwargs, output) -> None:
        given = kwargs["encoder_hidden_states"], kwargs["hidden_states"]
        changed.extend(not torch.equal(*pair) for pair in zip(given, output, strict=True))

    blocks = [*model.transformer_blocks, *model.single_transformer_blocks]
    for block in blocks:
        block.register_forward_hook(same, with_kwargs=True)
    velocity = model(
        hidden_states=torch.randn(1, 6, 16),
        encoder_hidden_states=torch.randn(1, 5, 64),
        pooled_projections=torch.randn(1, 64),
        timestep=torch.tensor([0.5]),
        img_ids=torch.zeros(6, 3),
        txt_ids=torch.zeros(5, 3),
    ).sample
    assert changed == [False, False] * len(blocks)
    assert len(blocks) == 4 + 6
    assert not velocity.any()
    # All else is spread at random: no layer is left as it was made.
    attention = blocks[0].attn.to_q
    assert attention.weight.abs().max() <= (6 / (128 + 128)) ** 0.5
    assert attention.weight.std() == pytest.approx((2 / (128 + 128)) ** 0.5, rel=0.05)
    assert not attention.bias.any()


def test_the_scorer_reads_captions_and_scenes_into_one_space() -> None:
    with torch.no_grad():
        output = networks.clip()(
            input_ids=caption_ids(prompts(2), start=True), pixel_values=torch.zeros(2, 3, 64, 64)
        )
    assert output.text_embeds.shape == output.image_embeds.shape == (2, networks.TEXT_WIDTH)


def test_the_scheduler_shifts_noise_levels_by_two() -> None:
    scheduler = networks.scheduler()
    scheduler.set_timesteps(sigmas=[0.75, 0.25])
    assert scheduler.sigmas.tolist() == pytest.approx([2 * 0.75 / 1.75, 2 * 0.25 / 1.25, 0.0])
