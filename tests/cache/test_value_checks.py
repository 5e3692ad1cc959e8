import numpy as np
import pytest
from store_recording import addresses, hidden_value, statistics_of

from ditscope.cache import Reading
from ditscope.errors import InputError


def test_hidden_states_of_another_type_or_shape_are_refused(writer):
    address = addresses(writer.schema)[0]
    value = hidden_value(writer.schema, 0, address)[None]
    with pytest.raises(InputError, match="float32 of shape"):
        writer.put(Reading(address, [0], value.astype("f4")))
    for wrong in (value[..., :-1], value[:, :-1], value[None], value[0]):
        with pytest.raises(InputError, match="shape"):
            writer.put(Reading(address, [0], wrong))
    with pytest.raises(InputError, match=r"shape \(1, 12, 70\)"):
        writer.put(Reading(address, [0, 1], value))


def test_statistics_of_another_type_or_shape_are_refused(writer):
    address = addresses(writer.schema)[0]
    statistics = statistics_of(hidden_value(writer.schema, 0, address))[None]
    for wrong in (statistics[:, :-1], statistics[..., 1:], statistics[0], statistics.astype("f8")):
        with pytest.raises(
            InputError,
            match="mean, mean_abs, std, abs_max, nonfinite, count, saturated of image/block_output",
        ):
            writer.put(Reading(address, [0], statistics=wrong))


def test_other_masks_and_images_are_refused(writer):
    with pytest.raises(InputError, match="image/token_mask"):
        writer.put_token_masks([0], "image", "cond", np.ones((1, 12), bool))
    for wrong in (np.ones((1, 4), int), np.ones((1, 6), bool), np.ones((2, 4), bool), np.ones(4, bool)):
        with pytest.raises(
            InputError, match=r"for text/token_mask; expected bool \[row, token\] of \(1, 5\)"
        ):
            writer.put_token_masks([0], "text", "cond", wrong)
    with pytest.raises(InputError, match="uint8"):
        writer.put_image(0, np.zeros((8, 6, 3)))
