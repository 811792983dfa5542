"""Running a plan: a local engine of threads over Arrow batches."""

from tulu_data.engine.batches import BATCH_BYTES, ahead, ordered_map, rebatch
from tulu_data.engine.layers import Layers
from tulu_data.engine.local import Count, LocalEngine
from tulu_data.engine.sort import SortedRows
from tulu_data.engine.spill import Spill

__all__ = [
    "BATCH_BYTES",
    "Count",
    "Layers",
    "LocalEngine",
    "SortedRows",
    "Spill",
    "ahead",
    "ordered_map",
    "rebatch",
]
