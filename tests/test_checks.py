"""Which blocks ``blocks=`` stands for: the same for what is recorded and for where an edit acts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ditscope as ds
from ditscope import checks
from ditscope.checks import find_blocks
from ditscope.edits import EditedVisit
from ditscope.errors import InputError, UnsupportedError

PROMPT = "a small red circle at the left on a plain blue background"
CALL = {"num_inference_steps": 1, "height": 32, "width": 48}


@dataclass(frozen=True)
class Entry:
    """A block in a list: its index in the model, its name and its kind."""

    index: int
    name: str
    kind: str


Addresses = list[int | str | np.integer]


@st.composite
def wishes(draw: st.DrawFn) -> tuple[list[Entry], Addresses]:
    """Blocks, all of a model's or some that were recorded, and addresses of some of these."""
    kinds = draw(st.lists(st.sampled_from(["double", "single", "joint", "cross"]), min_size=1, unique=True))
    names = [(f"{kind}.{number}", kind) for kind in kinds for number in range(draw(st.integers(1, 5)))]
    model = [Entry(index, *names) for index, names in enumerate(names)]
    kept = draw(st.sets(st.sampled_from(range(len(model))), min_size=1) | st.just(range(len(model))))
    blocks = [model[index] for index in sorted(kept)]
    number = st.sampled_from([block.index for block in blocks]) | st.integers(-len(blocks), -1)
    word = st.sampled_from([word for block in blocks for word in (block.name, block.kind)])
    return blocks, draw(st.lists(number | number.map(np.int64) | word, min_size=1, max_size=6))


def meant(blocks: list[Entry], address: int | str | np.integer) -> set[Entry]:
    """What one address stands for, by looking at every block."""
    if isinstance(address, str):
        return {block for block in blocks if address in (block.name, block.kind)}
    return {blocks[address]} if address < 0 else {block for block in blocks if block.index == address}


@given(wishes())
def test_the_choice_is_what_each_address_means_once_and_in_order(wish) -> None:
    blocks, wanted = wish
    chosen = find_blocks(blocks, wanted)
    assert set(chosen) == set().union(*(meant(blocks, address) for address in wanted))
    positions = [blocks.index(block) for block in chosen]
    assert positions == sorted(set(positions))
    assert find_blocks(blocks, reversed(wanted)) == find_blocks(blocks, iter(wanted * 2)) == chosen
    assert find_blocks(blocks, chosen[0].name) == [chosen[0]]
    assert find_blocks(blocks, wanted[0]) == find_blocks(blocks, wanted[:1])


@given(wishes())
def test_every_address_of_a_block_means_that_block(wish) -> None:
    blocks, _ = wish
    for position, block in enumerate(blocks):
        for address in (block.index, position - len(blocks), np.int32(block.index), block.name):
            assert find_blocks(blocks, address) == [block]
    kinds = {block.kind for block in blocks}
    assert find_blocks(blocks, kinds) == find_blocks(blocks) == find_blocks(blocks, None) == blocks


def test_a_block_that_is_not_there_is_refused_though_another_stands_at_its_position() -> None:
    blocks = [Entry(10, "double.10", "double"), Entry(20, "single.0", "single")]
    assert find_blocks(blocks, 20) == blocks[1:]
    with pytest.raises(InputError, match="found block 1; expected an index from 10 to 20"):
        find_blocks(blocks, 1)


@given(
    wishes(),
    st.one_of(
        st.integers().filter(lambda number: not -1 <= number <= 1),
        st.text(),
        st.floats(),
        st.booleans(),
        st.none(),
    ),
)
def test_what_stands_for_no_block_is_refused_by_name_wherever_it_comes(wish, wrong) -> None:
    blocks, wanted = wish
    known = {name for block in blocks for name in (block.name, block.kind)}
    if isinstance(wrong, str) and wrong in known:
        return
    if isinstance(wrong, int) and not isinstance(wrong, bool):
        wrong = wrong * 25 if wrong > 0 else wrong * len(blocks) - 1
    for wish_list in ([wrong, *wanted], [*wanted, wrong]):
        with pytest.raises(InputError) as error:
            find_blocks(blocks, wish_list)
        assert str(error.value).startswith(f"found block {wrong!r}; expected an index")
        assert "a kind" in str(error.value)


def recorded(dit, path, blocks, **keep) -> list[str]:
    with ds.record(dit, path, blocks=blocks, **{"tensors": False, **keep}) as rec:
        stats = rec.generate(PROMPT, 0, **CALL).stats("image", keep.get("sites", ["block_output"])[0])
    return stats.block_name.values.tolist()


def fired(dit, blocks) -> list[str]:
    visitor = EditedVisit(dit, [ds.edits.scale([0], 0.5, blocks=blocks)], range(1))
    ds.tracing.run_traced(dit, [(PROMPT, 0)], visitor, **CALL)
    return visitor.firings.table()["block_name"].unique().tolist()


DOUBLE, SINGLE = [f"double.{i}" for i in range(4)], [f"single.{i}" for i in range(6)]


@pytest.mark.parametrize(
    ("blocks", "names"),
    [
        (-1, ["single.5"]),
        ([-1, "double.1", 0], ["double.0", "double.1", "single.5"]),
        ("double", DOUBLE),
        (["single", -10, "double.0"], ["double.0", *SINGLE]),
        (np.array([-1, 2]), ["double.2", "single.5"]),
    ],
)
def test_recordings_and_edits_mean_the_same_blocks(dit, tmp_path, blocks, names) -> None:
    assert recorded(dit, tmp_path / "a.zarr", blocks) == names
    assert fired(dit, blocks) == names


@pytest.mark.parametrize("blocks", ["treble", "single.6", 10, -11, [0, "double."], 1.5, True, [None], []])
def test_recordings_and_edits_refuse_the_same_in_the_same_words(dit, tmp_path, blocks) -> None:
    messages = []
    for action in (
        lambda: ds.record(dit, tmp_path / "a.zarr", blocks=blocks),
        lambda: EditedVisit(dit, [ds.edits.zero([0], blocks=blocks)], range(1)),
    ):
        with pytest.raises(InputError, match="expected") as error:
            action()
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_a_kind_takes_the_blocks_that_have_a_site(dit, tmp_path) -> None:
    """FLUX.1's single blocks have no attention output of their own."""
    with pytest.raises(UnsupportedError, match="asked of a single block"):
        ds.record(dit, tmp_path / "a.zarr", sites=["attn_output"], blocks=["double", "single"])
    assert recorded(dit, tmp_path / "a.zarr", "double", sites=["attn_output"], tensors=True) == DOUBLE
    edit = ds.edits.scale([0], 0.5, site="attn_output", blocks="double")
    visitor = EditedVisit(dit, [edit], range(1))
    ds.tracing.run_traced(dit, [(PROMPT, 0)], visitor, **CALL)
    assert visitor.firings.table()["block_name"].unique().tolist() == DOUBLE


def test_a_kind_and_its_names_record_the_same_values(dit, tmp_path) -> None:
    caches = []
    for name, blocks in (("a", "double"), ("b", DOUBLE)):
        with ds.record(dit, tmp_path / name, sites=["attn_output"], blocks=blocks) as rec:
            caches.append(rec.generate(PROMPT, 0, **CALL))
    assert caches[0].manifest["config_hash"] == caches[1].manifest["config_hash"]
    first, second = (cache.hidden("image", "attn_output").values for cache in caches)
    assert np.array_equal(first, second)


def test_single_prompts_and_seeds_become_lists() -> None:
    assert checks.prompts("a") == ["a"]
    assert checks.prompts(np.array(["a", "b"])) == ["a", "b"]
    assert checks.seeds(3) == checks.seeds(np.int64(3)) == [3]
    assert checks.seeds(range(2)) == checks.seeds(np.arange(2)) == [0, 1]
    assert all(type(seed) is int for seed in checks.seeds(np.arange(2)))


@pytest.mark.parametrize("prompts", [[], "", "  ", None, 5, b"circle", ["circle", ""], ["circle", None]])
def test_unusable_prompts_are_refused(prompts) -> None:
    with pytest.raises(InputError, match="expected one or more non-empty strings"):
        checks.prompts(prompts)


@pytest.mark.parametrize("seeds", [[], None, 1.5, "3", True, [1, 1], [0, None], [2**63], [0, 1.0]])
def test_unusable_seeds_are_refused(seeds) -> None:
    with pytest.raises(InputError, match="expected one or more different integers"):
        checks.seeds(seeds)


@pytest.mark.parametrize("batch_size", [0, -1, 1.0, True, None, "2"])
def test_unusable_batch_sizes_are_refused(batch_size) -> None:
    with pytest.raises(InputError, match="expected a whole number from 1"):
        checks.whole_number("batch_size", batch_size)


@pytest.mark.parametrize("check", [checks.streams, checks.sites, checks.branches])
@pytest.mark.parametrize("names", [[], ["sideways"], None, 3])
def test_unknown_names_are_refused_with_the_known_ones(check, names) -> None:
    with pytest.raises(InputError, match=r"expected (one of|at least one of) "):
        check(names)


def test_names_are_put_in_the_order_of_the_vocabulary() -> None:
    assert checks.streams("text") == ("text",)
    assert checks.streams(["text", "image", "text"]) == ("image", "text")
    assert checks.sites(["block_output", "block_input"]) == ("block_input", "block_output")


@given(st.lists(st.integers(0, 40), min_size=1, max_size=9, unique=True).map(sorted), st.data())
def test_steps_are_found_by_index_and_from_the_end(steps, data) -> None:
    positions = data.draw(st.lists(st.integers(-len(steps), len(steps) - 1), min_size=1))
    wanted = [position if position < 0 else steps[position] for position in positions]
    assert checks.find_steps(steps, wanted) == sorted({steps[position] for position in positions})
    assert checks.find_steps(steps) == steps


@pytest.mark.parametrize("step", [0, 20, -11])
def test_a_step_that_is_not_there_is_refused(step) -> None:
    with pytest.raises(InputError, match=f"step {step}; expected steps 10 to 19, or -10 to -1"):
        checks.find_steps(range(10, 20), step)
