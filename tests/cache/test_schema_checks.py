import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_recording import make_schema

from ditscope.cache import schema_checks
from ditscope.errors import InputError


def test_no_name_that_the_store_uses_itself_is_free(complete_store):
    schema = make_schema()
    own = {*schema.stream_names, *schema.site_names}
    groups = (complete_store, *(complete_store / stream for stream in schema.stream_names))
    used = {path.name for group in groups for path in group.iterdir() if path.is_dir()} - own
    assert used >= {"done", "prompt", "images", "trajectory", "token_mask", "token"}
    # token_id is of streams whose tokens were drawn; call has tensors that calls were passed.
    for name in {*used, "token_id", "call"}:
        for what in ("stream", "site", "branch"):
            with pytest.raises(InputError, match=f"{what} {name!r}"):
                schema_checks.name(what, name)


@pytest.mark.parametrize(
    "name", ["image\n", "../image", "a/b", "Image", "1st", "_a", "", "a b", "größe", "a²", None, 3, b"image"]
)
def test_what_could_leave_its_folder_or_be_taken_for_another_is_no_name(name):
    with pytest.raises(InputError, match="a lower-case name that is no coordinate's"):
        schema_checks.name("site", name)
    schema_checks.name("site", "attn_output_2")


@given(st.lists(st.integers(-2, 6), max_size=5))
def test_indices_are_taken_if_they_are_sorted_whole_and_each_there_once(values):
    if values and values == sorted(set(values)) and values[0] >= 0:
        schema_checks.increasing("step", iter(values))
        schema_checks.increasing("step", np.array(values))
        schema_checks.distinct("step", values)
    else:
        with pytest.raises(InputError, match="step"):
            schema_checks.increasing("step", values)


@pytest.mark.parametrize("values", [[0, True], [0.0, 1.0], ["0"], [0, None], [2**31 + 1], [float("nan")]])
def test_what_only_compares_like_an_index_is_refused(values):
    with pytest.raises(InputError, match="a whole number from 0"):
        schema_checks.increasing("channel", values)


def test_a_long_list_is_refused_in_a_short_message():
    with pytest.raises(InputError, match=r"channel indices \[0, .*, 19, \.\.\.\]") as error:
        schema_checks.increasing("channel", [*range(100_000), 5])
    assert len(str(error.value)) < 500
