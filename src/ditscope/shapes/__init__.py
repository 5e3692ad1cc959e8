"""The embedded world: captioned scenes with known masks, and the pipeline trained on them."""

from ditscope.shapes.captions import Attributes, ObjectWords, parse_caption
from ditscope.shapes.oracle import ATTRIBUTE_VALUES, load_oracle
from ditscope.shapes.prompt_sets import prompts
from ditscope.shapes.reference import reference_mask
from ditscope.shapes.scenes import Scene, draw_scene, make_scene, make_scenes

__all__ = [
    "ATTRIBUTE_VALUES",
    "Attributes",
    "ObjectWords",
    "Scene",
    "draw_scene",
    "load_oracle",
    "make_scene",
    "make_scenes",
    "parse_caption",
    "prompts",
    "reference_mask",
]
