"""The valid configs of a space as a table, which the strategies search by row number."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gemmbench.space import Config, Rows, SearchSpace, Value


class Listing:
    """Every valid config of `space`, numbered in the order of iteration."""

    def __init__(self, space: SearchSpace) -> None:
        self.axes = space.axes
        self.rows: Rows = np.ascontiguousarray(space.rows())
        self._space = space
        self._places = [{value: at for at, value in enumerate(a.values)} for a in space.axes]
        self._numbers = {row.tobytes(): number for number, row in enumerate(self.rows)}

    def __len__(self) -> int:
        return len(self.rows)

    def config(self, number: int) -> dict[str, Value]:
        """The config of that number."""
        return self._space.config(self.rows[number])

    def number(self, config: Config) -> int | None:
        """The number of `config`; None if it is not in the table."""
        try:
            row = [
                place[config[axis.name]]
                for axis, place in zip(self.axes, self._places, strict=True)
            ]
        except KeyError:
            return None
        return self.find(row)

    def find(self, row: Sequence[int] | Rows) -> int | None:
        """The number of the config with these value indices; None if it is not valid."""
        return self._numbers.get(np.asarray(row, np.int32).tobytes())

    def neighbours(self, number: int) -> NDArray[np.intp]:
        """Numbers of the configs that differ on exactly one axis."""
        differing = (self.rows != self.rows[number]).sum(axis=1)
        return np.flatnonzero(differing == 1)
