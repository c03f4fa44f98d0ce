"""Copy a bundle to where sentence-transformers saves: a file of its own, without torch."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from decant.embedders import Bundle
from decant.embedders.bundle import SENTENCE_FILES
from decant.embedders.files import CERTIFICATE, MANIFEST, write_atomically
from decant.embedders.json_records import to_json
from decant.embedders.onnx import CALIBRATION, TUNING

_UNHASHED = (CERTIFICATE, CALIBRATION, TUNING)


def copy_bundle(bundle: Bundle, target: Path) -> None:
    """Write a bundle's files to ``target``, which may be its own folder.

    sentence-transformers writes :data:`SENTENCE_FILES` itself, with the user's changes (prompts,
    modules behind ours), so the copy has no hashes of them.

    Args:
        bundle: The bundle to copy.
        target: A folder that exists.
    """
    manifest = bundle.manifest
    files = {name: sha for name, sha in manifest.files.items() if name not in SENTENCE_FILES}
    if target.resolve() != bundle.folder.resolve():
        others = [name for name in _UNHASHED if (bundle.folder / name).is_file()]
        for name in (*files, *others):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / name, target / name)
    write_atomically(target / MANIFEST, to_json(replace(manifest, files=files)))
