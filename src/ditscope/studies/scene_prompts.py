"""Prompts for models of the open world: plain scenes, each of one subject, spread evenly over what they are made of."""

from __future__ import annotations

from ditscope import checks

SUBJECTS = (
    *("a red fox", "a glass teapot", "a lighthouse", "a child's bicycle", "an astronaut with a cello"),
    *("a bowl of ramen", "a hot air balloon", "an old fisherman", "a brass telescope", "a white horse"),
    *(
        "a stack of books",
        "a green parrot",
        "a steam locomotive",
        "a wooden chair",
        "a snowman",
        "a street musician",
    ),
)
PLACES = (
    *(
        "in fresh snow",
        "on a wooden table by a window",
        "under storm clouds",
        "against a yellow wall",
        "on a beach",
    ),
    *(
        "in a field of lavender",
        "at dawn in the mountains",
        "in a dim library",
        "beside a canal",
        "in a desert",
    ),
    *("on a rooftop at night", "in a bamboo forest", "in front of a shop window", "on a foggy pier"),
    *("in a greenhouse", "on a cobbled square after rain"),
)
STYLES = ("photograph", "oil painting", "watercolour", "pencil drawing")
_MOST = len(SUBJECTS) * len(PLACES)


def scene_prompts(count: int) -> list[str]:
    """Different prompts, in which every subject, place and style comes about equally often.

    Args:
        count: how many; at most 256.

    Raises:
        InputError: another number.
    """
    checks.whole_number("count", count, 1, _MOST)
    return [
        f"{SUBJECTS[row % 16]} {PLACES[(row * 5 + row // 16) % 16]}, {STYLES[(row + row // 16) % 4]}"
        for row in range(count)
    ]
