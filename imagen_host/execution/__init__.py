"""How does a validated prompt run? Order, cache, calls, awaited nodes, expansion: `engine.Engine` is the way in."""
