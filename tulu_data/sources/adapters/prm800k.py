"""PRM800K: worked solutions whose steps people have rated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import alternate_lists, dig, is_text, keys, owners, pieces, texts, turn
from tulu_data.sources.adapters._base import Rows, column_type
from tulu_data.sources.adapters._completions import Completed, Judged, answered, completions, ratings, unnoted
from tulu_data.sources.json_text import is_json_text
