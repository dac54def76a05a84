"""Who can draw: processes of this machine, actors of a Ray cluster, ComfyUI servers. One file a kind, with its hires."""
