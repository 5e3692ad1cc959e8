"""Hidden states of reference images, and of what is generated from them, against plain hooks on the bare pipelines."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import plain_hooks
import pytest
import tiny
import tiny_classes
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from pictures import picture

import ditscope as ds
from ditscope.edits.applying import EditedVisit
from ditscope.errors import InputError, UnsupportedError
from ditscope.tracing.run import run_traced

PROMPT, SEED, N_STEPS = tiny.PROMPTS[0], 5, 2
SIZE, N_TOKENS = {"height": 64, "width": 80}, 16 * 20
PICTURE, OTHER = picture(64, 80), picture(80, 64)  # FLUX.2 takes none that are smaller
KONTEXT, KLEIN = "kontext", "flux2-klein-base"

IN_BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


@pytest.fixture(scope="session")
def folder(folder_of, kontext_folder):
    """Name -> folder of the tiny pipeline."""
    return lambda name: kontext_folder if name == KONTEXT else folder_of(name)


@pytest.fixture(scope="session")
def dit_of(opened, opened_kontext):
    """Name, dtype -> the tiny pipeline, opened."""
    return lambda name, *dtype: opened_kontext(*dtype) if name == KONTEXT else opened(name, *dtype)


def call_of(name: str) -> dict:
    """A call of which each step has two visits."""
    call = {"num_inference_steps": N_STEPS, **SIZE}
    if name == KONTEXT:
        guided = {"true_cfg_scale": 2.0, "negative_prompt": "plain", "max_sequence_length": 14}
        return {**call, **guided, "_auto_resize": False, "max_area": 64 * 80}
    return call


def plainly(pipeline, name: str, image, write=None, **call) -> tuple[dict, np.ndarray]:
    """What hooks see of all image tokens: (visit, block, site) -> ``[token, channel]``; and the images.

    ``write``, of (visit, block, all image tokens), changes them in place.
    """
    call = {**tiny.TINY["flux" if name == KONTEXT else name].call, **(call or call_of(name))}
    call |= {} if image is None else {"image": image if isinstance(image, list) else [image]}
    n_text = call.get("max_sequence_length")
    seen, calls, handles = {}, {}, []

    def behind_text(value):
        return (value[1] if isinstance(value, tuple) else value[:, n_text:])[0]

    def watch(number, block) -> None:
        def before(module, args, kwargs) -> None:
            calls[number] = calls.get(number, -1) + 1
            hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            start = n_text if kwargs.get("encoder_hidden_states") is None else 0
            seen[calls[number], number, "block_input"] = hidden[0, start:].clone()

        def after(module, args, kwargs, output) -> None:
            if write is not None:
                write(calls[number], number, behind_text(output))
            seen[calls[number], number, "block_output"] = behind_text(output).clone()

        def inside(module, args, output) -> None:
            value = output[0] if isinstance(output, tuple) else output[:, n_text:]
            seen[calls[number], number, "attn_output"] = value.reshape(-1, value.shape[-1]).clone()

        handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(block.register_forward_hook(after, with_kwargs=True))
        if number == 0:
            handles.append(block.attn.register_forward_hook(inside))

    def at_end(module, args, output) -> None:
        seen[calls[0], "output"] = output[0][0].clone()

    for number, block in enumerate(plain_hooks.blocks_of(pipeline)):
        watch(number, block)
    handles.append(pipeline.transformer.register_forward_hook(at_end))
    generator = [torch.Generator().manual_seed(SEED)]
    try:
        made = pipeline(prompt=[PROMPT], generator=generator, output_type="np", **call).images
    finally:
        for handle in handles:
            handle.remove()
    return seen, np.round(np.nan_to_num(made) * 255).astype(np.uint8)


def require_rows(source, seen, first: int) -> None:
    """Require that all that was captured is what the hooks saw at the tokens from ``first`` on."""
    branches = source.schema.branches
    for site in source.schema.sites:
        for step, (visit, branch), block in itertools.product(
            range(N_STEPS), enumerate(branches), site.blocks
        ):
            address = {"samples": [0], "step": step, "branch": branch, "block": block}
            read = source.values_at("image", site.name, **address)[0].astype(np.float32)
            own = seen[len(branches) * step + visit, block, site.name].float()
            assert np.array_equal(read, own[first : first + N_TOKENS].numpy())
            assert not np.array_equal(read, own.roll(1, 0)[first : first + N_TOKENS].numpy())


def require_output(source, seen, first: int) -> None:
    """Require that the trajectory has the transformer's output at these tokens."""
    output = source.trajectory["transformer_output"].astype("float32").values[0]
    for at, (step, branch) in enumerate(
        itertools.product(range(N_STEPS), range(len(source.schema.branches)))
    ):
        assert np.array_equal(
            output[step, branch], seen[at, "output"].float()[first : first + N_TOKENS].numpy()
        )


@functools.cache
def seen_plainly(folder, name: str, dtype: torch.dtype) -> dict:
    """What hooks see of a run with the picture."""
    return plainly(plain_hooks.opened(folder, dtype), name, PICTURE)[0]


@IN_BOTH
@pytest.mark.parametrize("name", [KONTEXT, KLEIN, "flux2-dev"])
def test_a_reference_image_and_what_is_generated_from_it_are_those_of_plain_hooks(
    dit_of, folder, name, dtype
) -> None:
    dit, seen, call = dit_of(name, dtype), seen_plainly(folder(name), name, dtype), call_of(name)
    for kept in ({"sites": ["block_input", "block_output"]}, {"sites": ["attn_output"], "blocks": [0]}):
        reference = ds.capture_image(dit, PICTURE, PROMPT, SEED, method="reference", **kept, **call)
        generated = ds.capture(dit, PROMPT, SEED, image=[PICTURE], **kept, **call)
        for source, first in ((reference, N_TOKENS), (generated, 0)):
            require_rows(source, seen, first)
            require_output(source, seen, first)


def test_one_of_several_reference_images_is_captured_whatever_the_size_of_the_others(dit_of, folder) -> None:
    dit, pictures = dit_of(KLEIN), [OTHER, PICTURE]
    capture = functools.partial(
        ds.capture_image, dit, pictures, PROMPT, SEED, method="reference", **call_of(KLEIN)
    )
    seen, _ = plainly(plain_hooks.opened(folder(KLEIN)), KLEIN, pictures)
    made = capture(which=1)
    require_rows(made, seen, 2 * N_TOKENS)
    assert made.config["image"] == {"method": "reference", "which": 1}
    with pytest.raises(InputError, match="2 images, which=None, and tokens of 2 reference images"):
        capture()
    with pytest.raises(InputError, match="which=2"):
        capture(which=2)
    with pytest.raises(
        InputError, match=r"of 20 x 16 tokens and a generated one of 16 x 20.*Pass height=80, width=64, which"
    ):
        capture(which=0)


def test_shapes_tell_a_reference_image_too(folder_of, monkeypatch) -> None:
    """Qwen-Image's grids are named by shapes, in place of positions of tokens."""
    for size in ("VAE_IMAGE_SIZE", "CONDITION_IMAGE_SIZE"):
        monkeypatch.setattr(pipeline_qwenimage_edit_plus, size, 32 * 32)
    pipeline = tiny_classes.make("QwenImageEditPlusPipeline", folder_of)
    pictures = [picture(32, 32), picture(32, 32).rotate(90)]
    call = {"height": 32, "width": 32, "num_inference_steps": 1}
    seen, _ = plainly(pipeline, "qwen-image", pictures, **call)
    dit = ds.load(pipeline)
    try:
        for which in range(2):
            made = ds.capture_image(
                dit, pictures, PROMPT, SEED, method="reference", which=which, blocks=[0, -1], **call
            )
            for block in made.schema.site("image", "block_output").blocks:
                read = made.values_at(
                    "image", "block_output", samples=[0], step=0, branch="cond", block=block
                )
                first = 64 * (1 + which)
                assert np.array_equal(read[0], seen[0, block, "block_output"][first : first + 64].numpy())
    finally:
        dit.close()


@pytest.mark.parametrize(
    ("name", "image", "dtype"),
    [
        (KONTEXT, None, torch.bfloat16),
        (KONTEXT, PICTURE, torch.float32),
        (KLEIN, None, torch.float32),
        (KLEIN, PICTURE, torch.bfloat16),
    ],
)
def test_a_reference_image_is_transported_as_plain_hooks_do_it(dit_of, folder, name, image, dtype) -> None:
    """Into a run with and without one: where the source's mask says, in two channels; and what it is generated into."""
    dit, seen, call = dit_of(name, dtype), seen_plainly(folder(name), name, dtype), call_of(name)
    channels, block = [3, 7], 1
    sources = {
        N_TOKENS: ds.capture_image(dit, PICTURE, PROMPT, SEED, method="reference", **call),
        0: ds.capture(dit, PROMPT, SEED, image=[PICTURE], **call),
    }
    for first, source in sources.items():
        edit = ds.edits.transport(source, channels, mask="source", blocks=[block])
        mask = ds.passes.spatial_masks(source, ds.ChannelSet.of(channels), blocks=-1, steps=-1)["mask"]
        here = torch.from_numpy(mask.values.reshape(-1))
        assert 0 < here.sum() < N_TOKENS

        def write(visit, number, tokens, first=first, here=here) -> None:
            if number == block:
                given = seen[visit, block, "block_output"][first : first + N_TOKENS]
                for channel in channels:
                    tokens[:N_TOKENS, channel][here] = given[here, channel]

        _, expected = plainly(plain_hooks.opened(folder(name), dtype), name, image, write)
        visitor = EditedVisit(dit, [edit], range(N_STEPS))
        given = {} if image is None else {"image": [image]}
        made = run_traced(dit, [(PROMPT, SEED)], visitor, **call, **given).images
        visitor.require_fired()
        assert np.array_equal(made, expected)


def test_what_is_captured_is_labelled_as_the_reference_image(dit_of, folder, tmp_path) -> None:
    dit, call = dit_of(KONTEXT), call_of(KONTEXT)
    made = ds.capture_image(
        dit, PICTURE, tiny.PROMPTS[:2], [3, 8], method="reference", blocks=[0], steps=[-1], **call
    )
    assert [(spec.prompt, spec.seed) for spec in made.specs] == [
        (prompt, seed) for prompt in tiny.PROMPTS[:2] for seed in (3, 8)
    ]
    hidden = made.hidden()
    assert hidden["y"].values.tolist() == np.repeat(range(16), 20).tolist()
    assert (made.images.values == np.asarray(PICTURE)).all()
    pipeline = plain_hooks.opened(folder(KONTEXT))
    pixels = torch.from_numpy(np.asarray(PICTURE).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    vae = pipeline.vae
    with torch.no_grad():
        clean = (vae.encode(pixels).latent_dist.mode() - vae.config.shift_factor) * vae.config.scaling_factor
    clean = pipeline._pack_latents(clean, 1, *clean.shape[1:])[0].numpy()
    for latents in made.trajectory["latents"].values.reshape(-1, *clean.shape):
        np.testing.assert_allclose(latents, clean, atol=1e-5)
    stored = made.save(tmp_path / "a.zarr")
    assert np.array_equal(stored.hidden().values, hidden.values)
    assert stored.config["image"] == {"method": "reference", "which": 0}


def test_what_is_no_reference_image_is_refused_by_name(dit_of, opened, image_to_image) -> None:
    kontext, call = dit_of(KONTEXT), call_of(KONTEXT)
    capture = functools.partial(ds.capture_image, method="reference")
    for dit in (opened("flux"), image_to_image):
        kind = type(dit.diffusers_pipeline).__name__
        with pytest.raises(UnsupportedError, match=f"method='reference' on {kind}, whose transformer is"):
            capture(dit, PICTURE, PROMPT, num_inference_steps=2, **SIZE)
    with pytest.raises(InputError, match="2 images for one prompt of FluxKontextPipeline"):
        capture(kontext, [PICTURE, PICTURE], PROMPT, which=0, **call)
    with pytest.raises(InputError, match="ip_adapter_image beside a reference image"):
        capture(kontext, PICTURE, PROMPT, ip_adapter_image=PICTURE, **call)
    with pytest.raises(InputError, match="an image float64"):
        capture(kontext, np.zeros((64, 80, 3)), PROMPT, **call)
    with pytest.raises(InputError, match=r"an image uint8 \(65, 81, 3\); expected uint8 \(64, 80, 3\)"):
        capture(kontext, picture(65, 81), PROMPT, **call)  # the pipeline takes a token's edge off
    with pytest.raises(InputError, match="which=0 with method='noise'"):
        ds.capture_image(opened("flux"), PICTURE, PROMPT, which=0, **SIZE)
