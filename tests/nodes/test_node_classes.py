"""Classes by number, from the node to the core."""

import pytest
from pack import CORE, NODES


def test_numbers_become_classes():
    make = NODES["ImagenClassLabel"]().make
    assert make("207")[0] == CORE.Classes(labels=(207,))
    assert make(" 207, 88 ")[0] == CORE.Classes(labels=(207, 88))
    for wrong in ("", "dog", "1,,2", "-1", "1.5"):
        with pytest.raises(ValueError, match="expected the number of a class"):
            make(wrong)
