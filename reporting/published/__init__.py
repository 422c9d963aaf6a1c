"""Published numbers, and how an attack differs from the published one."""
