"""Mirror, worktrees, pushes: the only place of the product that calls git."""
