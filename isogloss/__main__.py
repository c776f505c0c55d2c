"""``python -m isogloss``, the same as ``isogloss``."""

from isogloss.cli import main

if __name__ == "__main__":
    main()
