"""Fuzzing of everything that reads what memstore did not write itself; see README.md."""
