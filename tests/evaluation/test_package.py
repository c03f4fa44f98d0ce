"""What the package shows."""

from __future__ import annotations

import pkgutil
import sys

import decant.evaluation
from fresh_process import loaded_by_import


def test_no_public_name_is_hidden_by_a_module_of_the_same_name() -> None:
    # Importing a module sets its name on the package, over a function that is there.
    modules = {found.name for found in pkgutil.iter_modules(decant.evaluation.__path__)}
    assert modules & set(dir(decant.evaluation)) == set()


def test_importing_the_package_loads_no_library_of_its_extra() -> None:
    loaded = loaded_by_import("decant.evaluation", python=sys.executable)
    assert loaded & {"scipy", "sklearn", "matplotlib", "ir_measures", "numpy"} == set()
