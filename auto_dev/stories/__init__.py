"""Stories: read from a folder, checked and ordered. Pure but for the walk over the folder in ``reader``."""
