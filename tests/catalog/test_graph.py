"""What is counted of a period."""

from __future__ import annotations
