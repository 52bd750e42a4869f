"""Finding credentials in text and files: a kept library for what providers issue, and our own for what people set."""
