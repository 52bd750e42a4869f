"""The daemon: it schedules, runs and looks after the runs of one project."""
