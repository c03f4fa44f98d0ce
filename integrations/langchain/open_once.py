"""Objects that are open once, in one process: a mixin of its own, for what cannot be duplicated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, Self


class OpenOnce:
    """A copy, deep or not, is the object itself, and pickling is refused."""

    def __copy__(self) -> Self:
        """Return the object itself."""
        return self

    def __deepcopy__(self, memo: Mapping[int, object] | None = None) -> Self:
        """Return the object itself."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a collection is open in one process.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled, because its collection is open in this "
            "process; open the collection where it is needed"
        )
