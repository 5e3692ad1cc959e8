"""The embedded world: captioned scenes with known masks, and the pipeline trained on them."""

from ditscope._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ATTRIBUTE_VALUES": "oracle",
        "Attributes": "captions",
        "ObjectWords": "captions",
        "Scene": "scenes",
        "draw_scene": "scenes",
        "load_oracle": "oracle",
        "make_scene": "scenes",
        "make_scenes": "scenes",
        "parse_caption": "captions",
        "prompts": "prompt_sets",
        "reference_mask": "reference",
    },
)
