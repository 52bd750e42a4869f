"""auto-dev: works through a backlog of development stories while its owner is away."""

__version__ = "0.1.0"
