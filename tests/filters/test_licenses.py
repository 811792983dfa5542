"""An allow list lets pass what it names, a deny list stops what it names."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.rows import table_of
from tulu_data.filters.licenses import Licenses
from tulu_data.op import Context

IDS = ["apache-2.0", "CC-BY-NC-4.0", " odc-by ", "", None]


def verdicts_of(**settings: Any) -> list[str | None]:
    op = Licenses(**settings)
    table = table_of("sft", [{"license": license_} for license_ in IDS])
    found = op.apply(table, op.setup(Context()))["verdict"].to_pylist()
    return [v and v.removeprefix("licenses:") for v in found]


def test_deny_stops_what_it_names_in_any_case() -> None:
    assert verdicts_of(deny=["cc-by-nc-4.0", "mit"]) == [None, "cc-by-nc-4.0", None, None, None]
    assert verdicts_of(deny=["ODC-BY"], missing="drop") == [None, None, "odc-by", "missing", "missing"]


def test_allow_lets_pass_what_it_names() -> None:
    assert verdicts_of(allow=["Apache-2.0", "odc-by"]) == [None, "cc-by-nc-4.0", None, "missing", "missing"]
    assert verdicts_of(allow=["Apache-2.0"], missing="keep") == [None, "cc-by-nc-4.0", "odc-by", None, None]


@pytest.mark.parametrize(
    "settings",
    [{}, {"allow": ["mit"], "deny": ["gpl"]}, {"deny": [""]}, {"allow": ["mit"], "missing": "ask"}],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Licenses(**settings)
