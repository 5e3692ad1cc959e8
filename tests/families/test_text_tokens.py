"""What tokens of the text stream are called, against the ids that plain hooks see at the text encoders.

Which of them stands at a place of the text is told by the embedding there, which an encoder made bit for bit.
"""

from __future__ import annotations

import plain_hooks
import pytest
import tiny
import tiny_classes
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit
from family_calls import NAMES, SEEDS, batch, branches, call
from pictures import picture

import ditscope as ds

TEXTUAL = [name for name in NAMES if name not in plain_hooks.IMAGE_ONLY]


def tensors_in(value) -> list[torch.Tensor]:
    """All ``[row, token, channel]`` in what an encoder returns."""
    if isinstance(value, torch.Tensor):
        return [value] if value.ndim == 3 else []
    if isinstance(value, dict):
        value = value.values()
    return (
        [tensor for each in value or () for tensor in tensors_in(each)] if not isinstance(value, str) else []
    )


def names_plainly(pipeline, name: str, prompts: list[str], **arguments) -> list[list[list[str | None]]]:
    """Visit, row, place -> what the tokenizer calls the token there; None where no encoder's embedding is."""
    made, passed, handles = [], [], []
    for component, part in pipeline.components.items():
        if not component.startswith("text_encoder") or part is None:
            continue
        tokenizer = getattr(pipeline, component.replace("text_encoder", "tokenizer"))
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)

        def after(module, args, kwargs, output, tokenizer=tokenizer) -> None:
            ids = args[0] if args else kwargs["input_ids"]
            made.append((ids, [tensor.clone() for tensor in tensors_in(output)], tokenizer))

        handles.append(part.register_forward_hook(after, with_kwargs=True))

    def before_transformer(module, args, kwargs) -> None:
        text = kwargs["encoder_hidden_states"]
        mask = kwargs.get("encoder_hidden_states_mask", kwargs.get("encoder_attention_mask"))
        passed.append((text.clone(), torch.ones(text.shape[:2]) if mask is None else mask))

    handles.append(pipeline.transformer.register_forward_pre_hook(before_transformer, with_kwargs=True))
    generators = [torch.Generator().manual_seed(SEEDS[0]) for _ in prompts]
    arguments = {**tiny.TINY[name].call, **arguments}
    if isinstance(arguments.get("negative_prompt"), str):
        arguments["negative_prompt"] = [arguments["negative_prompt"]] * len(prompts)
    try:
        pipeline(prompt=prompts, generator=generators, output_type="latent", **arguments)
    finally:
        for handle in handles:
            handle.remove()

    def name_at(embedding) -> str | None:
        found = set()
        for ids, tensors, tokenizer in made:
            for tensor in (each for each in tensors if each.shape[-1] <= len(embedding)):  # no logits
                equal = (tensor == embedding[: tensor.shape[-1]]).all(dim=-1)
                found |= {
                    tokenizer.convert_ids_to_tokens(int(each)) for each in ids[equal.nonzero(as_tuple=True)]
                }
        assert len(found) < 2
        return found.pop() if found else None

    return [
        [
            [name_at(embedding) if real else "" for embedding, real in zip(row, own, strict=True)]
            for row, own in zip(text, mask, strict=True)
        ]
        for text, mask in passed
    ]


@pytest.mark.parametrize("name", TEXTUAL)
def test_tokens_are_called_what_the_encoder_was_given_there(opened, folder_of, name) -> None:
    prompts, arguments = batch(name), {**call(name), "num_inference_steps": 1}
    kept = {"streams": ["text"], "blocks": [0], "channels": [0], "batch_size": 2}
    made = ds.capture(opened(name), prompts, SEEDS, **kept, **arguments)
    texts = made.token_texts()
    expected = names_plainly(plain_hooks.opened(folder_of(name)), name, prompts, **arguments)
    for branch in branches(name):
        for row in range(2):
            visit, rows = plain_hooks.branch_rows(name, len(branches(name)) > 1, 0, branch, images=2)
            own = expected[visit][range(4)[rows][row]]
            found = texts.sel(branch=branch).values[row]
            assert sum(map(bool, own)) > (
                2 if branch == "cond" else 0
            )  # the other may be empty but for its end
            for told, token in zip(found, own, strict=False):
                assert token == told or (token is None and told == "<pad>")
            assert set(found[len(own) :]) <= {""}


def test_a_picture_stands_in_the_text_where_the_encoder_reads_it(folder_of, monkeypatch) -> None:
    """Qwen-Image-Edit's processor puts a token for each of its patches there, and calls the tokenizer itself."""
    real = pipeline_qwenimage_edit.calculate_dimensions
    monkeypatch.setattr(
        pipeline_qwenimage_edit, "calculate_dimensions", lambda _, ratio: real(32 * 32, ratio)
    )
    pipeline = tiny_classes.make("QwenImageEditPipeline", folder_of)
    call = {"height": 32, "width": 32, "num_inference_steps": 1, "image": picture(32, 32)}
    (cond,), (uncond,) = names_plainly(pipeline, "qwen-image", tiny.PROMPTS[:1], **call)
    with ds.load(pipeline) as dit:
        call |= tiny.TINY["qwen-image"].call
        made = ds.capture(dit, tiny.PROMPTS[0], SEEDS, streams=["text"], blocks=[0], **call)
    found = made.token_texts().values[0].tolist()
    assert found[0] == cond
    assert found[1] == uncond + [""] * (len(cond) - len(uncond))
    assert "<|image_pad|>" in cond


def test_tokens_of_the_negative_prompt_are_not_those_of_embeddings(opened) -> None:
    dit = opened("flux")
    config = dit.diffusers_pipeline.transformer.config
    length = 8
    guided = {"negative_prompt": "blurry", "true_cfg_scale": 2.0, "max_sequence_length": length}
    arguments = {**call("flux"), "num_inference_steps": 1, **guided}
    embedded = ds.PromptEmbeds(
        "mine",
        prompt_embeds=torch.zeros(1, length, config.joint_attention_dim),
        pooled_prompt_embeds=torch.zeros(1, config.pooled_projection_dim),
    )
    made = ds.capture(dit, embedded, 0, streams=["text"], blocks=[0], channels=[0], **arguments)
    assert set(made.token_texts().values.ravel()) == {""}
