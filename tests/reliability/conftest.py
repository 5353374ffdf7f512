"""What keeps pytest from collecting the programs that these tests run."""

collect_ignore = ["drivers"]
