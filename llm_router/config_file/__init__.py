"""Configuration from a file, a text, a mapping or the environment alone, checked as a whole.

Every problem of a file comes at once, each as `file:line: key.path: what is wrong`.
"""

from __future__ import annotations

from typing import Any

from llm_router.config_file.loading import (
    builtin_folder,
    check_file,
    check_text,
    from_dict,
    from_environment,
    from_text,
    load,
    starter_text,
)
from llm_router.config_file.report import Finding, Report

__all__ = [
    "Finding",
    "Report",
    "builtin_folder",
    "check_file",
    "check_text",
    "from_dict",
    "from_environment",
    "from_text",
    "json_schema",
    "load",
    "starter_text",
]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file, for editors."""
    from llm_router.config_file import schema

    return schema.json_schema()
