"""The demonstration: ``python -m skrelu``."""

from skrelu._tools.demo import main

if __name__ == "__main__":
    main()
