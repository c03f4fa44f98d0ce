"""Name and version of the distribution: a file of its own, because every error needs them.

It is called ``decant-qdrant``, because ``decant`` on PyPI is another project; the import is
``decant``. No other module writes the name.
"""

from __future__ import annotations

DISTRIBUTION = "decant-qdrant"


def decant_version() -> str:
    """Return the version of the installed distribution."""
    from importlib.metadata import (
        version,  # imported here, because it takes as long as all other imports together
    )

    return version(DISTRIBUTION)


def install_command(extra: str) -> str:
    """Return the shell command that installs decant with an extra.

    >>> install_command("export")
    "pip install 'decant-qdrant[export]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"
