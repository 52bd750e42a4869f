"""``python -m auto_dev``: the command line."""

from auto_dev.cli import main

if __name__ == "__main__":
    main()
