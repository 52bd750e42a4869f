"""Reading tests out of source code: which there are, what they assert, what skips them. Pure."""
