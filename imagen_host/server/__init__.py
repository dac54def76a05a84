"""`imagen serve`: the real ComfyUI editor in the browser on this host's engine, one file for each group of routes."""
