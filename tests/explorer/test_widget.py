"""The widget in a real kernel, and its front end asked through messages."""

from __future__ import annotations

import sys

import pytest

from patience import KERNEL

pytest.importorskip("anywidget")

CELLS = (
    "import ditscope as ds\nwidget = ds.open_cache(PATH).view(step=3, block=4)\nwidget",
    # What the front end sends, and what it is sent.
    """
sent = []
widget.send = lambda content, buffers=None: sent.append((content, buffers))
at = dict(stream="image", site="block_output", sample="1", step="3", branch="cond", block="4")
asked = dict(store="0", channel="70", **at)
widget._handle_custom_msg({"number": 1, "view": "channel_map", "asked": asked}, [])
widget._handle_custom_msg({"number": 2, "view": "channel_map", "asked": asked | {"channel": "2"}}, [])
(said, buffers), (refused, none) = sent
assert said == {"number": 1} and none is None
assert refused["number"] == 2 and refused["refused"]["found"] == "channel 2"
values = ds.open_cache(PATH).hidden(channels=[70]).sel(sample=1, step=3, branch="cond", block=4, channel=70)
assert values.values.tobytes() in buffers[0]
print("as stored", widget.state)
""",
)


@pytest.fixture(scope="module")
def notebook(cache):
    """The cells, executed."""
    import nbformat  # here, since it takes seconds
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(cell.replace("PATH", repr(str(cache.path)))) for cell in CELLS]
    book = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(book, **KERNEL).execute()
    return book


def test_it_is_shown_and_answers_in_a_kernel(notebook) -> None:
    shown, checked = notebook.cells
    (view,) = [each for each in shown.outputs if each.output_type != "stream"]
    model = view.data["application/vnd.jupyter.widget-view+json"]["model_id"]
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert states[model]["state"]["state"] == "step=3&block=4"
    assert "export default" in states[model]["state"]["_esm"]
    assert ".ditscope-explorer" in states[model]["state"]["_css"]
    assert checked.outputs[0].text == "as stored step=3&block=4\n"


def test_without_anywidget_the_remedy_is_said(cache, monkeypatch) -> None:
    from ditscope.errors import UnsupportedError

    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "ditscope.explorer.widget", raising=False)
    with pytest.raises(UnsupportedError, match=r'pip install "ditscope\[notebooks\]"'):
        cache.view()
