"""The box: what agents, gate commands and setup commands may see, write and reach."""
