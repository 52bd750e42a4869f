"""Messages to people: an outbox, its channels, and what the messages say."""
