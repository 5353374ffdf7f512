"""`python -m memstore` is the `memstore` command."""

from memstore.cli import main

if __name__ == "__main__":
    main()
