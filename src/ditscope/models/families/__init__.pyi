# Written by `python -m ditscope._discovery`.
from ditscope.models.family import Family

from .auraflow import AURAFLOW as AURAFLOW
from .chroma import CHROMA as CHROMA
from .cogview4 import COGVIEW4 as COGVIEW4
from .flux import FLUX as FLUX
from .flux2 import FLUX2_KLEIN as FLUX2_KLEIN
from .flux2_dev import FLUX2_DEV as FLUX2_DEV
from .lumina2 import LUMINA2 as LUMINA2
from .pixart import PIXART_SIGMA as PIXART_SIGMA
from .qwen_image import QWEN_IMAGE as QWEN_IMAGE
from .sana import SANA as SANA
from .sd3 import SD3 as SD3

def known_families() -> tuple[Family, ...]: ...
def supported() -> str: ...
def family_of(pipeline: type | str, transformer: type | str | None = None) -> Family: ...
