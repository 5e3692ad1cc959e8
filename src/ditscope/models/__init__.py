"""What a DiT is: families as data, blocks with named streams, visits with steps and branches."""

from ditscope.models.block import Block
from ditscope.models.configuration import ModelConfiguration, read_configuration
from ditscope.models.dit import DiT
from ditscope.models.families import known_families
from ditscope.models.family import BlockList, Family, Guidance
from ditscope.models.loading import load
from ditscope.models.visits import Visit

__all__ = [
    "Block",
    "BlockList",
    "DiT",
    "Family",
    "Guidance",
    "ModelConfiguration",
    "Visit",
    "known_families",
    "load",
    "read_configuration",
]
