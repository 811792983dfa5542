"""The positive control of a run: a sample of its suite's items, planted into copies of its own rows."""

from tulu_data.decontam.planting.hosts import HOSTS, Hosts, row_keys
from tulu_data.decontam.planting.kinds import WAYS, DecoyKind, PlantKind
from tulu_data.decontam.planting.measure import PLANTS, Cell, Measured, Odd, measure

__all__ = [
    "HOSTS",
    "PLANTS",
    "WAYS",
    "Cell",
    "DecoyKind",
    "Hosts",
    "Measured",
    "Odd",
    "PlantKind",
    "measure",
    "row_keys",
]
