"""Broken folders, and folders of strangers: refused in our words, before a library reads them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ditscope as ds
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.pipeline_call import call_defaults
from ditscope.models.pipeline_folder import hidden_prompts, opening

DEEP = "[" * 10_000 + "]" * 10_000


@pytest.fixture
def folder(untrained_folder, tmp_path) -> Path:
    """A copy of the pipeline's folder, to be broken."""
    return Path(shutil.copytree(untrained_folder, tmp_path / "copy"))


def index(**changes: object) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        path = folder / "model_index.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return write


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def cut(name: str, keep: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(keep((folder / name).read_bytes()))


def a_file_instead(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    (folder / "vae").write_text("")


def a_folder_instead(folder: Path) -> None:
    (folder / "vae" / "config.json").unlink()
    (folder / "vae" / "config.json").mkdir()


WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
BROKEN = {
    "a component as text": (index(vae="AutoencoderKL"), "component vae as 'AutoencoderKL'"),
    "a component of one entry": (index(vae=["diffusers"]), r"component vae as \['diffusers'\]"),
    "a component of numbers": (index(vae=[1, 2]), r"component vae as \[1, 2\]"),
    "an empty component": (index(vae=[]), r"component vae as \[\]"),
    "a component as an object": (index(vae={"a": 1}), "component vae as {'a': 1}"),
    "an unknown class": (
        index(vae=["diffusers", "NoSuchVAE"]),
        "component vae of class NoSuchVAE of diffusers",
    ),
    "a module of a stranger": (index(vae=["theirs", "VAE"]), "code of a folder is never run"),
    "an index nested deep": (text("model_index.json", DEEP), "unreadable model_index.json"),
    "an index of a list": (text("model_index.json", "[1]"), r"unreadable model_index.json .*a list"),
    "an index in another encoding": (
        lambda folder: (folder / "model_index.json").write_bytes(b"\xff\xfe{}"),
        "unreadable model_index.json",
    ),
    "a component that is a file": (a_file_instead, "no safetensors weights for vae"),
    "a configuration that is a folder": (a_folder_instead, "unreadable config.json in .*vae"),
    "a configuration cut short": (
        cut("vae/config.json", lambda data: data[:20]),
        "unreadable config.json in .*vae",
    ),
    "a configuration nested deep": (
        text("transformer/config.json", DEEP),
        "unreadable config.json in .*transformer",
    ),
    "a configuration of a list": (text("transformer/config.json", "[]"), "unreadable config.json .*a list"),
    "weights cut short": (cut(WEIGHTS, lambda data: data[:-1]), r"\d+ bytes of weights in .*expected \d+"),
    "weights cut in the header": (cut(WEIGHTS, lambda data: data[:50]), "50 bytes of weights in"),
    "no weights": (cut(WEIGHTS, lambda data: b""), "0 bytes of weights in"),
    "weights of text": (cut(WEIGHTS, lambda data: b"not safetensors at all"), "22 bytes of weights in"),
    "a configuration that a library refuses": (
        text("vae/config.json", json.dumps({"_class_name": "AutoencoderKL", "block_out_channels": "wide"})),
        r"diffusers cannot open \(\w+: ",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_refused_in_our_words(folder, what) -> None:
    alter, message = BROKEN[what]
    alter(folder)
    with pytest.raises(InputError, match=message) as error:
        ds.load(folder)
    assert str(folder) in str(error.value)
    assert error.value.remedy


CALLS = {
    **dict.fromkeys(
        (
            "prompt",
            "return_dict",
            "callback",
            "generator",
            "latents",
            "output_type",
            "sigmas",
            "no_such",
            "image",
        ),
        ("a", "call argument"),
    ),
    "callback_on_step_end": ("print", "call argument 'callback_on_step_end'"),
    "prompt_embeds": ([1.0], "call argument 'prompt_embeds'"),
    "cfg_normalization": (True, "call argument 'cfg_normalization'"),  # another pipeline's
    "height": (10**9, "height=1000000000"),
    "width": (0, "width=0"),
    "num_inference_steps": (True, "num_inference_steps=True"),
    "max_sequence_length": ("24", "max_sequence_length='24'"),
    "true_cfg_scale": (float("nan"), "true_cfg_scale=nan"),
    "guidance_scale": ([1], r"guidance_scale=\[1\]"),
    "negative_prompt": (["a"], r"negative_prompt=\['a'\]"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_folder_may_set_nothing_but_named_and_checked_call_defaults(folder, name) -> None:
    value, message = CALLS[name]
    (folder / "ditscope.json").write_text(json.dumps({"call": {"height": 64, name: value}}))
    with pytest.raises(InputError, match=rf"{message}.* in .*ditscope\.json") as error:
        call_defaults(str(folder))
    assert "the file" in error.value.remedy


@pytest.mark.parametrize("content", ["[]", "{}", '{"call": []}', DEEP, "{"])
def test_a_settings_file_without_a_call_is_refused(folder, content) -> None:
    (folder / "ditscope.json").write_text(content)
    with pytest.raises(InputError, match=r"ditscope\.json"):
        call_defaults(str(folder))


def test_a_hidden_negative_prompt_is_shown_when_the_model_is_opened(folder, caplog) -> None:
    call = {"height": 16, "width": 16, "negative_prompt": "a blue star"}
    (folder / "ditscope.json").write_text(json.dumps({"call": call}))
    with caplog.at_level(logging.WARNING, logger="ditscope"):
        dit = ds.load(folder)
    assert "sets negative_prompt='a blue star' in every call" in caplog.text
    assert "its folder sets negative_prompt='a blue star'" in repr(dit)
    assert len(hidden_prompts({"negative_prompt": "a" * 10_000})) < 250


def test_the_embedded_pipeline_is_opened_quietly(untrained_folder, monkeypatch, caplog) -> None:
    monkeypatch.setattr("ditscope.models.loading.embedded_folder", lambda _: untrained_folder)
    assert "sets" not in repr(ds.load("shapes"))
    assert caplog.text == ""


def test_an_error_of_ours_and_a_lack_of_memory_pass_as_they_are() -> None:
    with pytest.raises(UnsupportedError, match="found one"), opening("somewhere"):
        raise UnsupportedError("one", "two", "Three.")
    with pytest.raises(InputError, match=r"at somewhere that .*\(KeyError: \"'a'\"\)"), opening("somewhere"):
        raise KeyError("a")
