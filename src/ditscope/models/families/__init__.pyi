# Written by `python -m ditscope._discovery`.
from ditscope.models.family import Family
FAMILIES: tuple[Family, ...]
def supported() -> str:
    ...
def family_of(pipeline_class: str) -> Family:
    ...
