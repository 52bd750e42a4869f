"""What a change would do that a person must decide about, read by its context and not by its words."""
