"""Gates: checks that judge a run from evidence that auto-dev itself observed. See docs/gates.md."""
