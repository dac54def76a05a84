"""Does a damaged or hostile picture ever do anything but load or be refused in one line? (A fuzzer, always the same.)

IMAGEN_FUZZ=20000 tries that many instead of a few.
"""

import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_samples import every_kind, with_right_sums

from imagen_host.pictures import pictures
from imagen_pictures import picture_files

pytestmark = pytest.mark.filterwarnings("ignore")
TRIED = int(os.environ.get("IMAGEN_FUZZ", "250"))
KINDS = every_kind()
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "flip", "cut", "insert", "repeat", "large"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


def mutated(data: bytes, edits, near_start: float) -> bytes:
    """`data` with each edit made; headers are small, so half of the files are edited at their start alone."""
    for kind, place, value in edits:
        at = int(place * min(len(data), int(len(data) * near_start) + 64))
        if kind == "set":
            data = data[:at] + bytes([value]) + data[at + 1 :]
        elif kind == "flip":
            data = data[:at] + bytes([data[at] ^ 1 << value % 8] if at < len(data) else b"") + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + value :]
        elif kind == "insert":
            data = data[:at] + bytes([value]) * (value % 9) + data[at:]
        elif kind == "repeat":
            data = data[: at + value] + data[at:]
        else:
            data = data[:at] + (value * 0x01010101 % 2**32).to_bytes(4, "little") + data[at + 4 :]
    return data


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Limits that keep a header's lie cheap, whatever it says."""
    monkeypatch.setattr(picture_files, "MOST_PIXELS", 2**18)


@settings(max_examples=TRIED, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from(sorted(KINDS)), edits=EDITS, near_start=st.sampled_from([0.0, 1.0]), repair=st.booleans())
def test_what_is_not_loaded_is_refused_in_one_line(tmp_path_factory, kind, edits, near_start, repair):
    data = mutated(KINDS[kind], edits, near_start)
    data = with_right_sums(data) if repair else data
    path = tmp_path_factory.getbasetemp() / "fuzzed.png"
    path.write_bytes(data)
    for read in (picture_files.check, pictures.load, lambda path: pictures.shown(io.BytesIO(data), str(path))):
        try:
            read(path)
        except picture_files.PictureError as error:
            assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 500
