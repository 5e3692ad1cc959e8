from __future__ import annotations

import copy
import pickle

import pytest

from ditscope import errors
from ditscope.errors import DitscopeError, InputError, unknown_name


def kinds(base: type = DitscopeError) -> list[type]:
    return [base, *(kind for each in base.__subclasses__() for kind in kinds(each))]


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_parts_and_notes_survive_a_copy(kind, copied):
    error = kind(ValueError("what a library said"), 3, "Pass another.")
    error.add_note("while recording")
    again = copied(error)
    assert type(again) is kind
    assert (again.found, again.expected, again.remedy) == ("what a library said", "3", "Pass another.")
    assert str(again) == str(error) == "found what a library said; expected 3. Pass another."
    assert again.__notes__ == ["while recording"]


def test_an_error_does_not_keep_alive_what_was_found():
    unpicklable = (lambda: None, object())
    assert pickle.loads(pickle.dumps(InputError(unpicklable, "less", "Go on."))).found == str(unpicklable)


def test_every_kind_is_public_and_also_a_built_in_error():
    for kind in kinds()[1:]:
        assert getattr(errors, kind.__name__) is kind
        assert issubclass(kind, ValueError | RuntimeError)


def test_an_unknown_name_lists_the_known_ones():
    error = unknown_name("metric", "fid", ["psnr", "ssim"])
    assert str(error) == "found metric 'fid'; expected one of 'psnr', 'ssim'. Pass a known metric."
