"""Rows: what the store knows, in SQLite through SQLAlchemy Core.

Functions take a connection; one transaction of `engine` spans several calls. Which file answers:
`tables` what is stored, `engine` how transactions begin and fail, `migrate` how schemas change,
`memories` reading and writing memories, `links` entities, `vectors` the hot tier's bytes,
`log` events and settings, `filters` what `where` means.
"""
