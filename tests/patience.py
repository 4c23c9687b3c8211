"""How long a test waits for what must come: so long that only what never comes is missed, however busy the machine."""

PATIENCE_S = 240.0
