"""How are imagen-mini's weights made? Scenes, data, losses, the training loop, metrics (nothing is imported here)."""
