import importlib.util
import shutil
import tarfile
from pathlib import Path

import pytest
import run_pages
from shown_code import of_page

from ditscope.metrics.metric import _registered

FOLDER = Path(__file__).parents[1] / "data" / "golden"


@pytest.fixture(scope="session")
def golden_module():
    """The script that made the golden stores."""
    spec = importlib.util.spec_from_file_location("golden_stores", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden(tmp_path_factory, golden_module):
    """``golden(name)``: the path of a golden store, to be left as it is; ``copy=path`` makes one to be changed.

    ``golden(f"{name} now")`` is the same as it is recorded today.
    """
    folder = tmp_path_factory.mktemp("golden")
    for archive in FOLDER.glob("*.tar.xz"):
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    for name in golden_module.STORES:
        golden_module.make(name, folder / f"{name} now.zarr")

    def path(name, copy=None):
        store = folder / f"{name}.zarr"
        return store if copy is None else shutil.copytree(store, copy)

    return path


@pytest.fixture(autouse=True)
def registered_metrics():
    """Metrics that an example registers are gone after it: another one may have the name."""
    before = dict(_registered)
    yield
    _registered.clear()
    _registered.update(before)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where the pages run, one after the other."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="session")
def started(folder):
    """The names that *start here* leaves, and in ``folder`` its store."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        return run_pages.run(run_pages.START, folder, {}, of_page)
